"""How sequences lie between layers, and the words for which that matters: tokens, positions.

Between layers a sequence is a matrix with a row for each position of each sample: a product takes it as it is, and
Grappler fuses the bias and the GELU behind it. Sample after sample, or in a model with recurrent layers position after
position, so that none of them transposes.
"""

from typing import Any

import tensorflow as tf

from bench.backends.tensorflow.target import Operation, Target
from bench.workload import Placed


def rows(x: Any) -> Any:
    """Any sequence, by sample or by position, to its matrix in the same order."""
    return tf.reshape(x, (-1, x.shape[-1]))


def by_sample(x: Any, positions: int, target: Target) -> Any:
    """A matrix to `(n, positions, features)`."""
    if target.time_first:
        return tf.transpose(tf.reshape(x, (positions, -1, x.shape[-1])), (1, 0, 2))
    return tf.reshape(x, (-1, positions, x.shape[-1]))


def from_samples(x: Any, target: Target) -> Any:
    """`(n, positions, features)` to its matrix."""
    return rows(tf.transpose(x, (1, 0, 2)) if target.time_first else x)


def by_position(x: Any, positions: int) -> Any:
    """The matrix of a model with recurrent layers to `(positions, n, features)`."""
    return tf.reshape(x, (positions, -1, x.shape[-1]))


def enter_tokens(target: Target) -> Operation:
    """`(n, positions)` to one vector of tokens."""
    return lambda x, training: tf.reshape(tf.transpose(x) if target.time_first else x, (-1,))


def embedding(found: dict[str, Any], target: Target) -> Operation:
    """A vector of tokens to their rows. The gradient is made dense where the optimiser gets it."""
    return lambda x, training: target.operand(tf.gather(found["table"], x))


def positional_embedding(place: Placed, found: dict[str, Any], target: Target) -> Operation:
    positions, _ = place.enters

    def add(x: Any, training: bool) -> Any:
        table = target.operand(found["table"])
        if target.time_first:
            return rows(by_position(x, positions) + table[:, tf.newaxis])
        return rows(tf.reshape(x, (-1, *place.enters)) + table)

    return add
