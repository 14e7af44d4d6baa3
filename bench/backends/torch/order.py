"""Pure: in which order a sequence lies, and which words are built as one. It knows no tensor.

torch's convolutions along a sequence and its nn.BatchNorm1d want `(n, channels, positions)`, every other word that is
not indifferent wants `(n, positions, features)`: a model turns its sequence only where two of them meet.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

from bench.layers import GELU, GRU, LSTM, Conv1D, Dense, Dropout, LayerNorm, ReLU, Residual, SelfAttention
from bench.workload import Placed

Stack = tuple[Placed, ...]


def channels_first(places: Iterable[Placed]) -> bool | None:
    """How the first word that is not indifferent wants a sequence to lie; None where all are."""
    for place in places:
        match place.layer:
            case Conv1D():
                return True
            case Dense() | LayerNorm() | LSTM() | GRU() | SelfAttention():
                return False
            case Residual() if (inner := channels_first(chain(place.body, place.shortcut))) is not None:
                return inner
    return None


def meets_dense(places: Sequence[Placed]) -> bool:
    """Whether a Dense comes before any word for which the order of its input's features matters."""
    for place in places:
        if not isinstance(place.layer, ReLU | GELU | Dropout):
            return isinstance(place.layer, Dense)
    return False


def stacks(places: Iterable[Placed]) -> list[Stack]:
    """Each word by itself, but recurrent layers of one kind and width on each other together: torch's `num_layers`."""
    found: list[Stack] = []
    for place in places:
        below = found[-1][-1].layer if found else None
        match below, place.layer:
            case (LSTM(a, sequences=True), LSTM(b)) | (GRU(a, sequences=True), GRU(b)) if a == b:
                found[-1] = (*found[-1], place)
            case _:
                found.append((place,))
    return found
