"""Products and convolutions with their biases: Dense, Conv2D, Conv1D."""

from typing import Any

import tensorflow as tf

from bench.backends.tensorflow.sequences import by_sample, from_samples
from bench.backends.tensorflow.target import Operation, Target
from bench.layers import Conv1D, Conv2D


def product(x: Any, kernel: Any, bias: Any, target: Target, *, training: bool) -> Any:
    """`x @ kernel + bias` of a matrix; `bias` may be None."""
    return add_bias(tf.matmul(x, target.operand(kernel)), bias, target, training=training)


def add_bias(x: Any, bias: Any, target: Target, *, training: bool) -> Any:
    """Grappler fuses BiasAdd into the product before it, which wins in inference; in training the gradient of a plain
    sum is faster than BiasAddGrad on a CPU."""
    if bias is None:
        return x
    bias = target.operand(bias)
    channels_first = target.channels_first and x.shape.rank == 4
    if training and not channels_first:
        return x + bias
    return tf.nn.bias_add(x, bias, data_format="NCHW" if channels_first else "NHWC")


def dense(found: dict[str, Any], target: Target) -> Operation:
    """On `(n, features)` and on the matrix of a sequence alike."""
    kernel, bias = found["kernel"], found.get("bias")
    return lambda x, training: product(x, kernel, bias, target, training=training)


def conv2d(layer: Conv2D, found: dict[str, Any], target: Target) -> Operation:
    strides = (layer.stride, layer.stride)
    pads = (layer.padding, layer.padding)
    return lambda x, training: add_bias(
        _convolve(x, target.operand(found["kernel"]), strides, pads, target),
        found.get("bias"),
        target,
        training=training,
    )


def conv1d(layer: Conv1D, positions: int, found: dict[str, Any], target: Target) -> Operation:
    """As an image one pixel high, which is what tf.nn.conv1d makes of it: that takes no number as its padding."""

    def convolve(x: Any, training: bool) -> Any:
        image = by_sample(x, positions, target)[:, tf.newaxis]
        kernel = target.operand(found["kernel"])[tf.newaxis]
        image = _convolve(image, kernel, (1, layer.stride), (0, layer.padding), target)
        return add_bias(from_samples(image[:, 0], target), found.get("bias"), target, training=training)

    return convolve


def _convolve(x: Any, kernel: Any, strides: tuple[int, int], pads: tuple[int, int], target: Target) -> Any:
    """Our numbers of zeros a side as TensorFlow's word where the two mean the same."""
    size = kernel.shape[:2]
    if not any(pads):
        word: Any = "VALID"
    elif strides == (1, 1) and all(k == 2 * p + 1 for k, p in zip(size, pads, strict=True)):
        word = "SAME"
    elif target.xla or target.device == "gpu":
        word = target.sides(*pads)
    else:
        # oneDNN's gradients of an image padded beforehand are up to three times as fast as those by a list.
        x, word = tf.pad(x, target.sides(*pads)), "VALID"
    return tf.nn.conv2d(x, kernel, strides, word, data_format=target.data_format)
