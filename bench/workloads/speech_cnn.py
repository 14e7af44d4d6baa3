"""Keyword spotting on one second of sound: 98 frames of 40 log-mel features, convolutions along time."""

from bench.layers import BatchNorm, Conv1D, Dense, Dropout, GlobalAveragePool, Layer, ReLU
from bench.workload import SGD, Adam, Proof, Workload


def block(filters: int, kernel: int, stride: int) -> tuple[Layer, ...]:
    return (Conv1D(filters, kernel, stride, padding=kernel // 2, bias=False), BatchNorm(), ReLU())


WORKLOAD = Workload(
    name="speech_cnn",
    description="5 convolutions along 98 frames of 40 features, up to 256 filters, 35 words, dropout 0.2, Adam",
    input=(98, 40),
    classes=35,
    layers=(
        *(*block(128, 5, 1), *block(128, 5, 2), *block(256, 5, 1), *block(256, 5, 2), *block(256, 3, 1)),
        *(GlobalAveragePool(), Dropout(0.2), Dense(35)),
    ),
    optimiser=Adam(rate=1e-3),
    # One of its 700,000 ReLUs turned over by rounding moves all gradients by 0.002 to 0.02, and Adam the weights.
    proof=Proof(batch=16, steps=5, rounding=300),
    epoch=84_843,  # the training split of Speech Commands v2
)
TINY = Workload(
    name="speech_cnn_tiny",
    description="2 convolutions along 32 frames of 8 features, 10 words, SGD with momentum",
    input=(32, 8),
    classes=10,
    layers=(*block(16, 5, 1), *block(16, 3, 2), GlobalAveragePool(), Dense(10)),
    optimiser=SGD(rate=0.05, momentum=0.9),
    proof=Proof(batch=16, steps=20),
)
