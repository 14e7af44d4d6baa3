"""Every word of the vocabulary in plain NumPy, written from the docstrings of `bench.layers` alone; forward only."""

import math
from collections.abc import Iterable

import numpy as np

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

Arrays = dict[str, np.ndarray]


def forward(workload: Workload, weights: Arrays, x: np.ndarray, *, training: bool = False) -> tuple[np.ndarray, Arrays]:
    """Logits of one batch, and the state after it: moved where `training`, which also takes the batch's moments."""
    state = {path: weights[path] for path in workload.state()}
    return _through(workload.placed(), weights, x, state, training), state


def _through(places: Iterable[Placed], weights: Arrays, x: np.ndarray, state: Arrays, training: bool) -> np.ndarray:
    for place in places:
        own = {path.removeprefix(f"{place.path}."): array for path, array in weights.items()}
        match place.layer:
            case Residual():
                x = _through(place.body, weights, x, state, training) + _through(
                    place.shortcut, weights, x, state, training
                )
            case BatchNorm() as layer:
                mean, variance = own["mean"], own["variance"]
                if training:
                    over = tuple(range(x.ndim - 1))
                    mean, variance = x.mean(over), x.var(over)
                    n = x.size / x.shape[-1]
                    fed = {"mean": mean, "variance": variance * (n / max(n - 1, 1) if layer.unbiased else 1)}
                    for name, array in fed.items():
                        state[f"{place.path}.{name}"] = layer.momentum * own[name] + (1 - layer.momentum) * array
                x = (x - mean) / np.sqrt(variance + layer.epsilon) * own["scale"] + own["bias"]
            case layer:
                x = _word(layer, own, x)
    return x


def _word(layer: object, own: Arrays, x: np.ndarray) -> np.ndarray:
    match layer:
        case Dense():
            return x @ own["kernel"] + own.get("bias", 0.0)
        case Conv2D(_, size, stride, p):
            x = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
            return np.einsum("nhwcij,ijcf->nhwf", _windows(x, size, stride), own["kernel"], optimize=True) + own.get(
                "bias", 0.0
            )
        case Conv1D(_, size, stride, p):
            x = np.pad(x, ((0, 0), (p, p), (0, 0)))
            seen = np.lib.stride_tricks.sliding_window_view(x, size, 1)[:, ::stride]
            return np.einsum("npci,icf->npf", seen, own["kernel"], optimize=True) + own.get("bias", 0.0)
        case MaxPool(size, stride, p):
            x = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), constant_values=-np.inf)
            return _windows(x, size, stride).max((-2, -1))
        case AveragePool(size, stride):
            return _windows(x, size, stride).mean((-2, -1))
        case GlobalAveragePool():
            return x.mean(tuple(range(1, x.ndim - 1)))
        case Flatten():
            return x.reshape(len(x), -1)
        case ReLU():
            return np.maximum(x, 0)
        case GELU(tanh):
            if tanh:
                return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
            return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
        case LayerNorm(epsilon):
            centred = x - x.mean(-1, keepdims=True)
            return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * own["scale"] + own["bias"]
        case Embedding():
            return own["table"][x]
        case PositionalEmbedding():
            return x + own["table"]
        case SelfAttention(heads, causal):
            return _attention(own, x, heads, causal)
        case LSTM(units, sequences):
            return _lstm(own, x, units, sequences)
        case GRU(units, sequences):
            return _gru(own, x, units, sequences)
        case Dropout():
            raise AssertionError("no two generators draw alike; take the workload's deterministic()")
        case _:
            raise AssertionError(f"write {layer} in NumPy here")


def _windows(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _attention(own: Arrays, x: np.ndarray, heads: int, causal: bool) -> np.ndarray:
    n, t, f = x.shape
    q, k, v = (
        part.reshape(n, t, heads, f // heads) for part in np.split(x @ own["qkv_kernel"] + own["qkv_bias"], 3, -1)
    )
    scores = np.einsum("nqhd,nkhd->nhqk", q, k) / math.sqrt(f // heads)
    if causal:
        scores = np.where(np.tril(np.ones((t, t), bool)), scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    mixed = np.einsum("nhqk,nkhd->nqhd", shares, v).reshape(n, t, f)
    return mixed @ own["out_kernel"] + own["out_bias"]


def _lstm(own: Arrays, x: np.ndarray, units: int, sequences: bool) -> np.ndarray:
    h = c = np.zeros((len(x), units))
    every = []
    for position in range(x.shape[1]):
        i, f, g, o = np.split(x[:, position] @ own["kernel"] + h @ own["recurrent"] + own["bias"], 4, -1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        every.append(h)
    return np.stack(every, 1) if sequences else h


def _gru(own: Arrays, x: np.ndarray, units: int, sequences: bool) -> np.ndarray:
    h = np.zeros((len(x), units))
    every = []
    for position in range(x.shape[1]):
        outer = np.split(x[:, position] @ own["kernel"] + own["bias"], 3, -1)
        inner = np.split(h @ own["recurrent"] + own["recurrent_bias"], 3, -1)
        r, z = (_sigmoid(a + b) for a, b in zip(outer[:2], inner[:2], strict=True))
        n = np.tanh(outer[2] + r * inner[2])
        h = (1 - z) * n + z * h
        every.append(h)
    return np.stack(every, 1) if sequences else h
