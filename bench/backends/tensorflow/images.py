"""Words that look at an image's positions: pooling and Flatten."""

from math import inf, prod
from typing import Any

import tensorflow as tf

from bench.backends.tensorflow.sequences import by_position, by_sample
from bench.backends.tensorflow.target import Operation, Target
from bench.layers import AveragePool, MaxPool, Shape


def max_pool(layer: MaxPool, target: Target) -> Operation:
    size, stride, padding, data_format = layer.size, layer.stride, layer.padding, target.data_format
    if not padding:
        return lambda x, training: tf.nn.max_pool2d(x, size, stride, "VALID", data_format=data_format)
    pads = target.sides(padding, padding)

    def pool(x: Any, training: bool) -> Any:
        if training or target.xla:
            # XLA takes no list of pads, and outside it the gradient of one is nine times as slow on a CPU.
            padded = tf.pad(x, pads, constant_values=-inf)
            return tf.nn.max_pool2d(padded, size, stride, "VALID", data_format=data_format)
        return tf.nn.max_pool2d(x, size, stride, pads, data_format=data_format)

    return pool


def average_pool(layer: AveragePool, target: Target) -> Operation:
    size, stride = layer.size, layer.stride
    return lambda x, training: tf.nn.avg_pool2d(x, size, stride, "VALID", data_format=target.data_format)


def global_average_pool(enters: Shape, target: Target) -> Operation:
    """Of an image, or of a sequence's matrix."""
    if len(enters) == 3:
        axes = (2, 3) if target.channels_first else (1, 2)
        return lambda x, training: tf.reduce_mean(x, axes)
    positions, _ = enters
    if target.time_first:
        return lambda x, training: tf.reduce_mean(by_position(x, positions), 0)
    return lambda x, training: tf.reduce_mean(by_sample(x, positions, target), 1)


def flatten(enters: Shape, target: Target, *, turned: bool) -> Operation:
    """`turned`: the Dense behind it has turned its kernel, so that a channels-first image is left as it lies."""
    if len(enters) == 2:
        return lambda x, training: tf.reshape(by_sample(x, enters[0], target), (-1, prod(enters)))
    if len(enters) == 3 and target.channels_first and not turned:
        return lambda x, training: tf.reshape(tf.transpose(x, (0, 2, 3, 1)), (-1, prod(enters)))
    return lambda x, training: tf.reshape(x, (x.shape[0], -1))
