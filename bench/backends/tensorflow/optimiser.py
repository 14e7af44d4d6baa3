"""The two optimisers through TensorFlow's own fused update operations."""

from collections.abc import Callable
from typing import Any, assert_never

import tensorflow as tf

from bench.workload import SGD, Adam, Optimiser

Update = Callable[[list[Any]], None]  # gradients, in the variables' order


def optimiser(declared: Optimiser, variables: list[Any]) -> Update:
    """A function that updates `variables` in place from their gradients."""
    match declared:
        case SGD(rate, momentum) if momentum == 0:

            def descend(gradients: list[Any]) -> None:
                for variable, gradient in zip(variables, gradients, strict=True):
                    tf.raw_ops.ResourceApplyGradientDescent(
                        var=variable.handle, alpha=tf.constant(rate, variable.dtype), delta=gradient
                    )

            return descend
        case SGD(rate, momentum):
            velocities = _zeros(variables)

            def roll(gradients: list[Any]) -> None:
                for variable, velocity, gradient in zip(variables, velocities, gradients, strict=True):
                    tf.raw_ops.ResourceApplyMomentum(
                        var=variable.handle,
                        accum=velocity.handle,
                        lr=tf.constant(rate, variable.dtype),
                        grad=gradient,
                        momentum=tf.constant(momentum, variable.dtype),
                    )

            return roll
        case Adam(rate, b1, b2, epsilon):
            return _adam(variables, rate, b1, b2, epsilon)
        case _:
            assert_never(declared)


def _adam(variables: list[Any], rate: float, b1: float, b2: float, epsilon: float) -> Update:
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
                lr=tf.constant(rate, dtype),
                beta1=betas[0],
                beta2=betas[1],
                epsilon=scaled,
                grad=gradient,
            )

    return adapt


def _zeros(variables: list[Any]) -> list[Any]:
    return [tf.Variable(tf.zeros_like(variable)) for variable in variables]
