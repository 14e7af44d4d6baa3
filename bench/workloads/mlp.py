"""784-128-10: one hidden layer, plain SGD. On a CPU it shows what a framework's dispatch costs."""

from bench.layers import Dense, ReLU
from bench.workload import SGD, Workload

WORKLOAD = Workload(
    name="mlp",
    description="784-128-10, ReLU, SGD",
    input=(784,),
    classes=10,
    layers=(Dense(128), ReLU(), Dense(10)),
    optimiser=SGD(rate=0.01),
)
