"""BatchNorm and LayerNorm: statistics in fp32 at the least.

Outside XLA, BatchNorm is TensorFlow's fused operation, three times as fast as a formula on a CPU; XLA makes the formula
four times as fast as its own form of that operation. It has no fp64, so that the fp64 proof of `graph` and `eager` is
the formula's alone: there what is timed is proved as measured, in fp32, and held against the formula by both.
"""

from typing import Any

import tensorflow as tf

from bench.backends.tensorflow.target import Operation, Target
from bench.layers import BatchNorm, LayerNorm, Shape


def batch_norm(layer: BatchNorm, enters: Shape, found: dict[str, Any], target: Target) -> Operation:
    channels_first = target.channels_first and len(enters) == 3
    if target.xla or target.kept is tf.float64:
        return _by_formula(layer, channels_first, found, target)
    return _fused(layer, channels_first, found)


def _fused(layer: BatchNorm, channels_first: bool, found: dict[str, Any]) -> Operation:
    def normalise(x: Any, training: bool) -> Any:
        image = x if x.shape.rank == 4 else x[:, tf.newaxis, tf.newaxis]
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=image,
            scale=found["scale"],
            offset=found["bias"],
            mean=[] if training else found["mean"],
            variance=[] if training else found["variance"],
            epsilon=layer.epsilon,
            data_format="NCHW" if channels_first else "NHWC",
            is_training=training,
        )
        if training:
            n = image.shape.num_elements() // mean.shape[0]
            # It gives n/(n-1) times the batch's variance, and one sample's as it is.
            _move(layer, found, mean, variance if layer.unbiased else variance * (max(n - 1, 1) / n))
        return y if x.shape.rank == 4 else y[:, 0, 0]

    return normalise


def _by_formula(layer: BatchNorm, channels_first: bool, found: dict[str, Any], target: Target) -> Operation:
    def normalise(x: Any, training: bool) -> Any:
        # XLA sums the columns of a matrix far faster than an image's three axes.
        whole = target.exact(x if channels_first else tf.reshape(x, (-1, x.shape[-1])))
        over = (0, 2, 3) if channels_first else (0,)
        mean, variance = found["mean"], found["variance"]
        if training:
            mean = tf.reduce_mean(whole, over)
        centred = whole - _along(mean, channels_first)
        if training:
            variance = tf.reduce_mean(tf.square(centred), over)
            n = whole.shape.num_elements() // mean.shape[0]
            _move(layer, found, mean, variance * (n / max(n - 1, 1)) if layer.unbiased else variance)
        factor = tf.math.rsqrt(variance + layer.epsilon) * found["scale"]
        y = centred * _along(factor, channels_first) + _along(found["bias"], channels_first)
        return target.operand(tf.reshape(y, x.shape))

    return normalise


def _move(layer: BatchNorm, found: dict[str, Any], mean: Any, variance: Any) -> None:
    for name, batch in (("mean", mean), ("variance", variance)):
        found[name].assign(layer.momentum * found[name] + (1 - layer.momentum) * batch)


def layer_norm(layer: LayerNorm, enters: Shape, found: dict[str, Any], target: Target) -> Operation:
    """A formula in every mode: tf.nn.moments and a fused BatchNorm turned on its side are both slower on a CPU."""
    channels_first = target.channels_first and len(enters) == 3
    axis = 1 if channels_first else -1

    def normalise(x: Any, training: bool) -> Any:
        whole = target.exact(x)
        centred = whole - tf.reduce_mean(whole, axis, keepdims=True)
        deviation = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis, keepdims=True) + layer.epsilon)
        scale, bias = (_along(found[name], channels_first) for name in ("scale", "bias"))
        return target.operand(centred * deviation * scale + bias)

    return normalise


def _along(vector: Any, channels_first: bool) -> Any:
    """One value a channel, as it meets an image or a matrix."""
    return tf.reshape(vector, (-1, 1, 1)) if channels_first else vector
