"""`batch = "auto"` of a suite: the batches that a search tries, each twice the one before. It knows no case."""

from collections.abc import Sequence

from bench.errors import BenchError

AUTO = "auto"
# Twice the last is more than the 60,000 images of the largest data set here: a batch would repeat samples.
FIRST, LAST = 16, 2**15
SIZES = tuple(FIRST << i for i in range((LAST // FIRST).bit_length()))


def searched(asked: str | Sequence[int | str]) -> bool:
    """Whether a matrix wants a search in place of batches."""
    return asked == AUTO or AUTO in asked


def batches(asked: str | Sequence[int | str]) -> tuple[int, ...]:
    """The numbers asked for, or those that a search tries; `BenchError` where both are asked for at once."""
    if not searched(asked):
        return tuple(map(int, asked))
    if len(asked) > 1 and asked != AUTO:
        found = ", ".join(map(str, asked))
        raise BenchError(f'batch wants numbers or "auto" alone, found {found}; put "auto" into a matrix of its own')
    return SIZES
