"""Words that take each value by itself: GELU, Dropout."""

from math import pi, sqrt
from typing import Any

import tensorflow as tf

from bench.backends.tensorflow.target import Operation, Target


def gelu(*, tanh: bool) -> Operation:
    """Formulas of our own: tf.nn.gelu is by erfc and pow, both slower on a CPU, and rounds 0.044715 to fp32 in fp64.

    As they are written for inference, Grappler fuses them into the product before them.
    """
    if not tanh:
        return lambda x, training: 0.5 * x * (1 + tf.math.erf(x * sqrt(0.5)))
    slope = sqrt(2 / pi)

    def by_tanh(x: Any, training: bool) -> Any:
        if training:
            # (1 + tanh u) / 2 is sigmoid(2 u): the same in fewer operations, whose gradients are not fused.
            return x * tf.sigmoid(x * (2 * slope + 2 * slope * 0.044715 * tf.square(x)))
        return 0.5 * x * (1 + tf.tanh(slope * (x + 0.044715 * x * x * x)))

    return by_tanh


def dropout(rate: float, target: Target) -> Operation:
    """Drawn and scaled in fp32 at the least: of bf16's 128 steps between 0 and 1 no share but theirs can be drawn."""
    return lambda x, training: target.operand(tf.nn.dropout(target.exact(x), rate)) if training else x
