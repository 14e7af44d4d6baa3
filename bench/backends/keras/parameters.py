"""Where each of our parameters and states lies in Keras's variables: whole, split over several, or with its gates in
another order. It knows no engine.
"""

from collections.abc import Callable
from types import EllipsisType
from typing import Any

import numpy as np
from msgspec import Struct

from bench.layers import GRU, LSTM, BatchNorm, Embedding, LayerNorm, SelfAttention
from bench.placement import Array
from bench.workload import Placed

Index = tuple[EllipsisType | int | slice, ...]

NORMALISATION = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "variance": "moving_variance"}
RECURRENT = {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias", "recurrent_bias": "bias"}


class Piece(Struct, frozen=True):
    """`columns` of our array lie at `at` in a variable of Keras's, reshaped where that keeps the heads apart."""

    variable: Any
    columns: slice = slice(None)
    at: Index = (...,)


Pieces = tuple[Piece, ...]


def pieces(place: Placed, layer: Any) -> dict[str, Pieces]:
    """Of a built layer: the path of each of our parameters and states to where it lies."""
    names = place.layer.params(place.enters) | place.layer.state(place.enters)
    return {f"{place.path}.{name}": _pieces(place, layer, name) for name in names}


def _pieces(place: Placed, layer: Any, name: str) -> Pieces:
    match place.layer:
        case SelfAttention():
            part, kind = name.split("_")
            if part == "out":
                return (Piece(getattr(layer.output_dense, kind)),)
            denses = (layer.query_dense, layer.key_dense, layer.value_dense)
            columns = _blocks(3, place.enters[-1])
            return tuple(Piece(getattr(d, kind), c) for d, c in zip(denses, columns, strict=True))
        case GRU(units):
            # Keras's gates are z, r, n where ours are r, z, n; its one bias holds ours and the recurrent one as rows.
            row: Index = {"bias": (0,), "recurrent_bias": (1,)}.get(name, (...,))
            variable = getattr(layer.cell, RECURRENT[name])
            r, z, n = _blocks(3, units)
            return tuple(Piece(variable, ours, (*row, theirs)) for ours, theirs in ((r, z), (z, r), (n, n)))
        case LSTM():
            return (Piece(getattr(layer.cell, RECURRENT[name])),)
        case BatchNorm() | LayerNorm():
            return (Piece(getattr(layer, NORMALISATION[name])),)
        case Embedding():
            return (Piece(layer.embeddings),)
        case _:
            return (Piece(getattr(layer, name)),)


def _blocks(count: int, size: int) -> tuple[slice, ...]:
    return tuple(slice(i * size, (i + 1) * size) for i in range(count))


def load(places: dict[str, Pieces], weights: dict[str, Array]) -> None:
    """Assigns every variable, put together from our arrays."""
    whole: dict[int, tuple[Any, Array]] = {}
    for path, found in places.items():
        for piece in found:
            _, array = whole.setdefault(id(piece.variable), (piece.variable, np.empty(piece.variable.shape)))
            array[piece.at] = weights[path][..., piece.columns].reshape(array[piece.at].shape)
    for variable, array in whole.values():
        variable.assign(array)


def read(found: Pieces, shape: tuple[int, ...], values: Callable[[Any], Array]) -> Array:
    """One of our arrays, of `shape`, from what `values` says of each of Keras's variables."""
    ours = np.empty(shape)
    for piece in found:
        part = ours[..., piece.columns]
        part[...] = values(piece.variable)[piece.at].reshape(part.shape)
    return ours
