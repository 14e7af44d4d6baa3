"""What Keras has no layer for, written as a Keras user writes a custom layer: in `keras.ops`, for every engine."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops


class UnbiasedBatchNormalization(keras.layers.BatchNormalization):
    """Keras feeds the running variance the batch's biased one; here it is n/(n-1) times that, one value's as it is."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return super().call(inputs, training=training)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        axes = [axis for axis in range(x.ndim) if axis != self.axis % x.ndim]
        mean, variance = ops.moments(x, axes)
        count: Any = math.prod(ops.shape(x)[axis] for axis in axes)
        if isinstance(count, int):
            fewer: Any = max(count - 1, 1)
        else:
            count = ops.cast(count, x.dtype)  # TensorFlow leaves open what changed from batch to batch
            fewer = ops.maximum(count - 1, 1)
        share = 1 - self.momentum
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * share)
        self.moving_variance.assign(self.moving_variance * self.momentum + variance * (share * count / fewer))
        y = ops.batch_normalization(x, mean, variance, self.axis, self.beta, self.gamma, self.epsilon)
        return ops.cast(y, self.compute_dtype)


class ChannelsFirstLayerNormalization(keras.layers.LayerNormalization):
    """Over an image's channels. Keras 3.15 on PyTorch normalises the last axis, whatever its `axis` says."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build((input_shape[0], *input_shape[2:], input_shape[1]))

    def call(self, inputs: Any) -> Any:
        return ops.moveaxis(super().call(ops.moveaxis(inputs, 1, -1)), -1, 1)


class InfinitePadding2D(keras.layers.Layer):
    """`padding` pixels of -inf on each side, which no maximum chooses; ZeroPadding2D is right only behind a ReLU."""

    def __init__(self, padding: int, data_format: str) -> None:
        super().__init__()
        rows = columns = (padding, padding)
        kept = (0, 0)
        last = data_format == "channels_last"
        self.sides = (kept, rows, columns, kept) if last else (kept, kept, rows, columns)

    def call(self, inputs: Any) -> Any:
        return ops.pad(inputs, self.sides, constant_values=-math.inf)


class PositionalEmbeddings(keras.layers.Layer):
    """`x + table`, a learned row for each position of a sequence of one length."""

    table: Any

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.table = self.add_weight(shape=input_shape[1:], name="table")

    def call(self, inputs: Any) -> Any:
        return inputs + self.table


def gelu64(x: Any) -> Any:
    """`keras.activations.gelu` with its constants in fp64: TensorFlow's own rounds them to fp32, in fp64 too."""
    return x * 0.5 * (1 + ops.erf(x * np.float64(math.sqrt(0.5))))


def tanh_gelu64(x: Any) -> Any:
    """The same of `gelu(x, approximate=True)`."""
    cubic = x + np.float64(0.044715) * (x * x * x)
    return x * 0.5 * (1 + ops.tanh(np.float64(math.sqrt(2 / math.pi)) * cubic))
