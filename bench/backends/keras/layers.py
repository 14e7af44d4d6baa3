"""Each word of the vocabulary as Keras's own layer. It knows no weights and no order of layers."""

import zlib
from functools import partial
from typing import Any, assert_never

import keras
import numpy as np

from bench.backends.keras.custom import (
    ChannelsFirstLayerNormalization,
    InfinitePadding2D,
    PositionalEmbeddings,
    UnbiasedBatchNormalization,
    gelu64,
    tanh_gelu64,
)
from bench.layers import (
    GELU,
    GRU,
    LSTM,
    AveragePool,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    MaxPool,
    PositionalEmbedding,
    ReLU,
    Residual,
    SelfAttention,
)
from bench.program import Settings
from bench.workload import Placed


def layers(place: Placed, settings: Settings, engine: str, activation: Layer | None = None) -> list[Any]:
    """What a word becomes, one layer behind the other; the last holds its parameters, and takes the activation.

    Keras keeps kernels as we do, and its Flatten reads channels last in both layouts: nothing is turned.
    """
    enters = place.enters
    image = len(enters) == 3
    first = settings.layout == "nchw"
    then = {"activation": _activation(activation, engine, settings.precision)}
    order = {"data_format": "channels_first" if first else "channels_last"}
    channels = 1 if first and image else -1
    match place.layer:
        case Dense(units, bias):
            return [keras.layers.Dense(units, use_bias=bias, **then)]
        case Conv2D(filters, kernel, stride, padding, bias):
            same = _same(kernel, stride, padding)
            zeros = [keras.layers.ZeroPadding2D(padding, **order)] if padding and not same else []
            told = then | order | {"use_bias": bias}
            return [*zeros, keras.layers.Conv2D(filters, kernel, stride, _word(same), **told)]
        case Conv1D(filters, kernel, stride, padding, bias):
            same = _same(kernel, stride, padding)
            zeros = [keras.layers.ZeroPadding1D(padding)] if padding and not same else []
            return [*zeros, keras.layers.Conv1D(filters, kernel, stride, _word(same), use_bias=bias, **then)]
        case MaxPool(size, stride, padding):
            edges = [InfinitePadding2D(padding, **order)] if padding else []
            return [*edges, keras.layers.MaxPooling2D(size, stride, "valid", **order)]
        case AveragePool(size, stride):
            return [keras.layers.AveragePooling2D(size, stride, "valid", **order)]
        case GlobalAveragePool():
            return [keras.layers.GlobalAveragePooling2D(**order) if image else keras.layers.GlobalAveragePooling1D()]
        case Flatten():
            return [keras.layers.Flatten(**order)]
        case ReLU() | GELU():
            return [keras.layers.Activation(_activation(place.layer, engine, settings.precision))]
        case Dropout(rate):
            # In 31 bits, and far from every other layer's: on PyTorch Keras adds the number of the step to it.
            seed = zlib.crc32(f"{settings.seed}/{place.path}".encode()) >> 1
            return [keras.layers.Dropout(rate, seed=seed)]
        case BatchNorm(momentum, epsilon, unbiased):
            kind = UnbiasedBatchNormalization if unbiased else keras.layers.BatchNormalization
            return [kind(channels, momentum, epsilon)]
        case LayerNorm(epsilon):
            if channels == 1:
                return [ChannelsFirstLayerNormalization(epsilon=epsilon)]
            return [keras.layers.LayerNormalization(epsilon=epsilon)]
        case Embedding(vocabulary, units):
            return [keras.layers.Embedding(vocabulary, units)]
        case PositionalEmbedding():
            return [PositionalEmbeddings()]
        case SelfAttention(heads):
            attention = keras.layers.MultiHeadAttention(heads, enters[-1] // heads)
            if settings.precision == "fp64":
                # A NumPy number, for TensorFlow rounds Python's to fp32 on its way, in fp64 models too.
                attention._inverse_sqrt_key_dim = np.float64(attention._inverse_sqrt_key_dim)
            return [attention]
        case LSTM(units, sequences):
            return [keras.layers.LSTM(units, return_sequences=sequences, use_cudnn=_cudnn(settings, engine))]
        case GRU(units, sequences):
            fused = _cudnn(settings, engine)
            return [keras.layers.GRU(units, return_sequences=sequences, reset_after=True, use_cudnn=fused)]
        case Residual():
            return [keras.layers.Add()]
        case _:
            assert_never(place.layer)


def _same(kernel: int, stride: int, padding: int) -> bool:
    """Whether Keras's word means our number of zeros in every framework below it."""
    return padding > 0 and stride == 1 and kernel == 2 * padding + 1


def _word(same: bool) -> str:
    return "same" if same else "valid"


def _activation(word: Layer | None, engine: str, precision: str) -> Any:
    if not isinstance(word, GELU):
        return "relu" if word else None
    if engine == "tensorflow" and precision == "fp64":
        return tanh_gelu64 if word.tanh else gelu64
    return partial(keras.activations.gelu, approximate=word.tanh)


def _cudnn(settings: Settings, engine: str) -> str | bool:
    """Where Keras would take cuDNN's fused kernel and the engine cannot run it: XLA has none, JAX's is for fp32."""
    lacks = {"tensorflow": settings.mode == "compiled", "jax": settings.precision not in ("fp32", "tf32")}
    return False if lacks.get(engine) else "auto"
