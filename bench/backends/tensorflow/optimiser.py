"""The two optimisers through TensorFlow's own fused update operations, and what a recipe puts around them."""

from collections.abc import Callable
from math import pi
from typing import Any, assert_never

import tensorflow as tf

from bench.recipe import Recipe
from bench.workload import SGD, Adam, Optimiser

Update = Callable[[list[Any]], None]  # gradients, in the variables' order
Rate = Callable[[Any], Any]  # of a dtype


def optimiser(declared: Optimiser, variables: list[Any], recipe: Recipe) -> Update:
    """A function that updates `variables` in place from their gradients."""
    if recipe == Recipe() or not variables:
        return _plain(declared, variables, lambda dtype: tf.constant(declared.rate, dtype))
    taken = tf.Variable(0.0, dtype=variables[0].dtype)  # steps

    def rate(dtype: Any) -> Any:
        if not recipe.schedule:
            return tf.constant(declared.rate, dtype)
        share = tf.minimum(taken / recipe.schedule, tf.constant(1.0, dtype))
        return tf.constant(declared.rate, dtype) * (1 + tf.cos(tf.constant(pi, dtype) * share)) / 2

    plain = _plain(declared, variables, rate)

    def update(gradients: list[Any]) -> None:
        if recipe.clip:
            gradients, _ = tf.clip_by_global_norm(gradients, recipe.clip)
        if recipe.l2:
            pairs = zip(gradients, variables, strict=True)
            gradients = [g + tf.constant(recipe.l2, v.dtype) * v for g, v in pairs]
        if recipe.decay:
            for variable in variables:
                variable.assign(variable * (1 - tf.constant(recipe.decay, variable.dtype) * rate(variable.dtype)))
        plain(gradients)
        if recipe.schedule:
            taken.assign_add(1.0)

    return update


def _plain(declared: Optimiser, variables: list[Any], rate: Rate) -> Update:
    match declared:
        case SGD(momentum=momentum) if momentum == 0:

            def descend(gradients: list[Any]) -> None:
                for variable, gradient in zip(variables, gradients, strict=True):
                    tf.raw_ops.ResourceApplyGradientDescent(
                        var=variable.handle, alpha=rate(variable.dtype), delta=gradient
                    )

            return descend
        case SGD(momentum=momentum):
            velocities = _zeros(variables)

            def roll(gradients: list[Any]) -> None:
                for variable, velocity, gradient in zip(variables, velocities, gradients, strict=True):
                    tf.raw_ops.ResourceApplyMomentum(
                        var=variable.handle,
                        accum=velocity.handle,
                        lr=rate(variable.dtype),
                        grad=gradient,
                        momentum=tf.constant(momentum, variable.dtype),
                    )

            return roll
        case Adam(_, b1, b2, epsilon):
            return _adam(variables, rate, b1, b2, epsilon)
        case _:
            assert_never(declared)


def _adam(variables: list[Any], rate: Rate, b1: float, b2: float, epsilon: float) -> Update:
    dtype = variables[0].dtype
    first, second = _zeros(variables), _zeros(variables)
    powers = tf.Variable([1.0, 1.0], dtype=dtype)  # b1^t and b2^t
    betas = tf.constant([b1, b2], dtype)

    def adapt(gradients: list[Any]) -> None:
        reached = powers * betas
        powers.assign(reached)
        # The operation adds its epsilon before the bias correction. Multiplied by sqrt(1 - b2^t) it is ours, after it.
        scaled = tf.constant(epsilon, dtype) * tf.sqrt(1 - reached[1])
        for variable, m, v, gradient in zip(variables, first, second, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=reached[0],
                beta2_power=reached[1],
                lr=rate(dtype),
                beta1=betas[0],
                beta2=betas[1],
                epsilon=scaled,
                grad=gradient,
            )

    return adapt


def _zeros(variables: list[Any]) -> list[Any]:
    return [tf.Variable(tf.zeros_like(variable)) for variable in variables]
