"""A plain function, in no framework at all: what it returns is what Stepwatch waits for."""

import numpy as np

BATCH = 64


def make_step():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((BATCH, 784), np.float32)
    weights = draw.standard_normal((784, 128), np.float32)

    def step():
        return np.maximum(x @ weights, 0).sum()

    return step
