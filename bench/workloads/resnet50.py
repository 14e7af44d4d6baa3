"""ResNet-50 (He et al. 2016) as torchvision and most benchmarks have it: the stride in the 3x3 convolution.

A block's last scales begin at 0.1 in the whole size. With 1 the gradients explode from block to block, and in bf16
those of the first layers are rounding alone; at 0 (Goyal et al. 2017) those within the block are 0: they prove nothing.
"""

from bench.layers import BatchNorm, Conv2D, Dense, GlobalAveragePool, Layer, MaxPool, ReLU, Residual
from bench.workload import SGD, Proof, Workload

SCALE = 0.1


def bottleneck(width: int, stride: int = 1, *, scale: float, project: bool = False) -> tuple[Layer, ...]:
    """1x1, 3x3 and 1x1 convolutions, four times as many channels at the end; `project`: the shortcut has a 1x1 too."""
    body = (
        *(Conv2D(width, kernel=1, bias=False), BatchNorm(), ReLU()),
        *(Conv2D(width, kernel=3, stride=stride, padding=1, bias=False), BatchNorm(), ReLU()),
        *(Conv2D(4 * width, kernel=1, bias=False), BatchNorm(initial_scale=scale)),
    )
    shortcut = (Conv2D(4 * width, kernel=1, stride=stride, bias=False), BatchNorm()) if project else ()
    return (Residual(body, shortcut), ReLU())


def stage(width: int, blocks: int, stride: int, scale: float = 1.0) -> tuple[Layer, ...]:
    rest = (layer for _ in range(blocks - 1) for layer in bottleneck(width, scale=scale))
    return (*bottleneck(width, stride, scale=scale, project=True), *rest)


WORKLOAD = Workload(
    name="resnet50",
    description="ResNet-50, 224x224x3, 1000 classes, SGD with momentum",
    input=(224, 224, 3),
    classes=1000,
    layers=(
        *(Conv2D(64, kernel=7, stride=2, padding=3, bias=False), BatchNorm(), ReLU(), MaxPool(3, 2, padding=1)),
        *stage(64, 3, 1, SCALE),
        *stage(128, 4, 2, SCALE),
        *stage(256, 6, 2, SCALE),
        *stage(512, 3, 2, SCALE),
        *(GlobalAveragePool(), Dense(1000)),
    ),
    optimiser=SGD(rate=0.01, momentum=0.9),
    proof=Proof(batch=4, steps=3, rounding=300),
    epoch=1_281_167,  # ImageNet's training set of 2012
)
TINY = Workload(
    name="resnet50_tiny",
    description="ResNet-50's blocks, one a stage and an eighth as wide, 64x64x3, 10 classes",
    input=(64, 64, 3),
    classes=10,
    layers=(
        *(Conv2D(8, kernel=7, stride=2, padding=3, bias=False), BatchNorm(), ReLU(), MaxPool(3, 2, padding=1)),
        *stage(8, 1, 1),
        *stage(16, 1, 2),
        *stage(32, 1, 2),
        *stage(64, 1, 2),
        *(GlobalAveragePool(), Dense(10)),
    ),
    optimiser=SGD(rate=0.0001, momentum=0.9),
    proof=Proof(batch=16, steps=5),  # normalised by a few values, rounding grows with every step
)
