"""What the entry points name. Stepwatch imports this in its parent process: no framework is imported here."""

from bench.backends import Backend
from bench.layers import Dense, ReLU
from bench.workload import SGD, Workload

WORKLOAD = Workload(
    name="narrow",
    description="784-32-32-10, ReLU, SGD with momentum",
    input=(784,),
    classes=10,
    layers=(Dense(32), ReLU(), Dense(32), ReLU(), Dense(10)),
    optimiser=SGD(rate=0.05, momentum=0.9),
)

BACKEND = Backend(
    "by-hand",
    adapter="by_hand.adapter",
    modes=("eager",),
    layouts=("flat",),
    devices=("cpu",),
    packages=("numpy", "threadpoolctl"),
    distributions=("numpy", "threadpoolctl"),
    extra="",
    lacks={
        "graph": "NumPy knows no graphs",
        "compiled": "NumPy compiles nothing",
        **dict.fromkeys(("nchw", "nhwc"), "there are no images here, only rows of numbers"),
        "gpu": "NumPy is at home on the CPU",
    },
)
