"""784-64-10 with dropout and Adam: random numbers and a heavier optimiser on a small model."""

from bench.layers import Dense, Dropout, ReLU
from bench.workload import Adam, Workload

WORKLOAD = Workload(
    name="mlp_dropout",
    description="784-64-10, ReLU, dropout 0.5, Adam",
    input=(784,),
    classes=10,
    layers=(Dense(64), ReLU(), Dropout(0.5), Dense(10)),
    optimiser=Adam(rate=1e-3),
)
