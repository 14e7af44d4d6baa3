"""The two optimisers as Optax has them: its sgd and its adam are exactly the algorithms that we state. And recipes."""

from typing import assert_never

import optax

from bench.recipe import Recipe
from bench.workload import SGD, Adam, Optimiser


def optimiser(declared: Optimiser, recipe: Recipe) -> optax.GradientTransformation:
    """Clipping, coupled decay, the algorithm, decoupled decay, the rate: in this order, what is off left out."""
    rate: optax.ScalarOrSchedule = declared.rate
    if recipe.schedule:
        rate = optax.cosine_decay_schedule(declared.rate, recipe.schedule)
    parts = [optax.clip_by_global_norm(recipe.clip)] if recipe.clip else []
    parts += [optax.add_decayed_weights(recipe.l2)] if recipe.l2 else []
    if not recipe.decay:
        return _chained([*parts, _whole(declared, rate)])
    match declared:
        case SGD(_, momentum):
            parts += [optax.trace(momentum)] if momentum else []
        case Adam(_, b1, b2, epsilon):
            parts += [optax.scale_by_adam(b1, b2, epsilon)]
        case _:
            assert_never(declared)
    return _chained([*parts, optax.add_decayed_weights(recipe.decay), optax.scale_by_learning_rate(rate)])


def _whole(declared: Optimiser, rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    match declared:
        case SGD(_, momentum):
            return optax.sgd(rate, momentum=momentum or None)
        case Adam(_, b1, b2, epsilon):
            return optax.adam(rate, b1=b1, b2=b2, eps=epsilon)
        case _:
            assert_never(declared)


def _chained(parts: list[optax.GradientTransformation]) -> optax.GradientTransformation:
    return parts[0] if len(parts) == 1 else optax.chain(*parts)
