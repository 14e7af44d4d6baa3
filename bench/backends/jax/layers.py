"""Each word of the vocabulary as Flax's own module, and where its parameters and state lie.

Flax and we both keep images and sequences channels-last, so that nothing is turned.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, assert_never

import jax.numpy as jnp
from flax import nnx

from bench.backends.jax.attention import Attention, Positions
from bench.backends.jax.normalisation import BatchNormalisation
from bench.backends.jax.products import Linear, PixelConv
from bench.backends.jax.recurrent import GatedRecurrent, LongShortTerm
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
    LayerNorm,
    MaxPool,
    PositionalEmbedding,
    ReLU,
    Residual,
    SelfAttention,
)
from bench.workload import Placed, Workload

Path = tuple[Any, ...]

# Where a module's name of a parameter is not ours.
THEIRS: dict[type, dict[str, Path]] = {
    BatchNorm: {"variance": ("var",)},
    Embedding: {"table": ("embedding",)},
    SelfAttention: {
        "qkv_kernel": ("qkv", "kernel"),
        "qkv_bias": ("qkv", "bias"),
        "out_kernel": ("out", "kernel"),
        "out_bias": ("out", "bias"),
    },
    LSTM: {"kernel": ("outer", "kernel"), "bias": ("outer", "bias"), "recurrent": ("inner", "kernel")},
    GRU: {
        "kernel": ("outer", "kernel"),
        "bias": ("outer", "bias"),
        "recurrent": ("inner", "kernel"),
        "recurrent_bias": ("inner", "bias"),
    },
}


def modules(workload: Workload, dtype: Any, stored: Any = None) -> tuple[nnx.Sequential, dict[str, Path]]:
    """The abstract model (shapes, no arrays), and for each parameter's and state's path Flax's own path.

    `dtype` is that of the arithmetic; `stored` that of the parameters, where it is another.
    """
    places, kinds = workload.placed(), {"dtype": dtype, "param_dtype": stored or dtype}
    abstract = nnx.eval_shape(lambda: _sequential(places, kinds | {"rngs": nnx.Rngs(0)}))
    return abstract, _paths(places, ("layers",))


def _paths(places: Iterable[Placed], under: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for index, place in enumerate(places):
        here, theirs = (*under, index), THEIRS.get(type(place.layer), {})
        names = place.layer.params(place.enters) | place.layer.state(place.enters)
        found |= {f"{place.path}.{name}": (*here, *theirs.get(name, (name,))) for name in names}
        found |= _paths(place.body, (*here, "body", "layers")) | _paths(place.shortcut, (*here, "shortcut", "layers"))
    return found


def _sequential(places: Iterable[Placed], kinds: dict[str, Any]) -> nnx.Sequential:
    return nnx.Sequential(*(_built(place, kinds) for place in places))


def _built(place: Placed, kinds: dict[str, Any]) -> Callable[..., Any]:
    inputs = place.enters[-1]
    match place.layer:
        case Dense(units, bias):
            return (nnx.Linear if len(place.enters) == 1 else Linear)(inputs, units, use_bias=bias, **kinds)
        case Conv2D(filters, kernel, stride, padding, bias):
            pads: Any = ((padding, padding), (padding, padding))
            told: dict[str, Any] = {"strides": (stride, stride), "padding": pads, "use_bias": bias}
            one = kernel == 1 and not padding
            return (PixelConv if one else nnx.Conv)(inputs, filters, (kernel, kernel), **told, **kinds)
        case Conv1D(filters, kernel, stride, padding, bias):
            told = {"strides": (stride,), "padding": ((padding, padding),), "use_bias": bias}
            one = kernel == 1 and not padding
            return (PixelConv if one else nnx.Conv)(inputs, filters, (kernel,), **told, **kinds)
        case MaxPool(size, stride, padding):
            pads = ((padding, padding), (padding, padding))
            return partial(nnx.max_pool, window_shape=(size, size), strides=(stride, stride), padding=pads)
        case AveragePool(size, stride):
            return partial(nnx.avg_pool, window_shape=(size, size), strides=(stride, stride), padding="VALID")
        case GlobalAveragePool():
            return mean_of_positions
        case Flatten():
            return flatten
        case ReLU():
            return nnx.relu
        case GELU(tanh):
            return partial(nnx.gelu, approximate=tanh)
        case Dropout(rate):
            return nnx.Dropout(rate)
        case BatchNorm(momentum, epsilon, unbiased):
            return BatchNormalisation(inputs, momentum=momentum, epsilon=epsilon, unbiased=unbiased, **kinds)
        case LayerNorm(epsilon):
            return nnx.LayerNorm(inputs, epsilon=epsilon, **kinds)
        case Embedding(vocabulary, units):
            return nnx.Embed(vocabulary, units, **kinds)
        case PositionalEmbedding():
            return Positions(place.enters, **kinds)
        case SelfAttention(heads, causal):
            return Attention(inputs, heads, causal=causal, **kinds)
        case LSTM(units, sequences):
            return LongShortTerm(inputs, units, sequences=sequences, **kinds)
        case GRU(units, sequences):
            return GatedRecurrent(inputs, units, sequences=sequences, **kinds)
        case Residual():
            return Sum(_sequential(place.body, kinds), _sequential(place.shortcut, kinds))
        case _:
            assert_never(place.layer)


class Sum(nnx.Module):
    """What two branches make of the same input, added; an empty Sequential is the identity."""

    def __init__(self, body: nnx.Sequential, shortcut: nnx.Sequential) -> None:
        self.body, self.shortcut = body, shortcut

    def __call__(self, x: Any, *, rngs: nnx.Rngs | None = None) -> Any:
        return self.body(x, rngs=rngs) + self.shortcut(x, rngs=rngs)


def mean_of_positions(x: Any) -> Any:
    return jnp.mean(x, tuple(range(1, x.ndim - 1)))


def flatten(x: Any) -> Any:
    return x.reshape(x.shape[0], -1)
