"""The two optimisers as Optax has them: its sgd and its adam are exactly the algorithms that we state."""

from typing import assert_never

import optax

from bench.workload import SGD, Adam, Optimiser


def optimiser(declared: Optimiser) -> optax.GradientTransformation:
    match declared:
        case SGD(rate, momentum):
            return optax.sgd(rate, momentum=momentum or None)
        case Adam(rate, b1, b2, epsilon):
            return optax.adam(rate, b1=b1, b2=b2, eps=epsilon)
        case _:
            assert_never(declared)
