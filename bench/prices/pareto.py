"""Which rows nobody beats in both time and money."""

from collections.abc import Sequence
from decimal import Decimal


def front(points: Sequence[tuple[float, Decimal]]) -> list[bool]:
    """Of points (seconds, USD) a sample: whether no other is at least as good in both and better in one."""
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(a: tuple[float, Decimal], b: tuple[float, Decimal]) -> bool:
    return a[0] <= b[0] and a[1] <= b[1] and a != b
