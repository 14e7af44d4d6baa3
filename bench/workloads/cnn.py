"""Two convolutions and two dense layers on 28x28 images: the small image classifier of every tutorial."""

from bench.layers import Conv2D, Dense, Flatten, MaxPool, ReLU
from bench.workload import SGD, Workload

WORKLOAD = Workload(
    name="cnn",
    description="conv 32, conv 64, dense 128, dense 10, SGD with momentum",
    input=(28, 28, 1),
    classes=10,
    layers=(
        Conv2D(32, kernel=3, padding=1),
        ReLU(),
        MaxPool(2, 2),
        Conv2D(64, kernel=3, padding=1),
        ReLU(),
        MaxPool(2, 2),
        Flatten(),
        Dense(128),
        ReLU(),
        Dense(10),
    ),
    optimiser=SGD(rate=0.01, momentum=0.9),
)
