"""What changed between two sets of prices: added, removed, and moved by how many percent."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from bench.errors import BenchError
from bench.prices.book import offer
from bench.prices.rows import Price

# Percent: a move of more than this is named; it may be true, and it may be a slip.
JUMP = 30


class Change(Struct, frozen=True):
    """One price that is in one set alone, or differs; `row` says whose it is. Prices in USD per hour."""

    row: Price
    before: Decimal | None
    after: Decimal | None

    @property
    def kind(self) -> str:
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def percent(self) -> Decimal | None:
        """By how much of what it was; None where there is nothing to compare."""
        return None if self.before is None or self.after is None else (self.after - self.before) * 100 / self.before

    @property
    def jump(self) -> bool:
        return self.percent is not None and abs(self.percent) > JUMP


def compare(before: Iterable[Price], after: Iterable[Price]) -> tuple[Change, ...]:
    """What changed, in the order of the second set; what is gone stands last. The key of a row says which is which.

    `BenchError` for a set with two prices of one key.
    """
    old, new = _by_key(before), _by_key(after)
    changes = [
        Change(row, old[key].usd_per_hour if key in old else None, row.usd_per_hour)
        for key, row in new.items()
        if key not in old or old[key].usd_per_hour != row.usd_per_hour
    ]
    return (*changes, *(Change(row, row.usd_per_hour, None) for key, row in old.items() if key not in new))


def _by_key(rows: Iterable[Price]) -> dict[tuple[str, ...], Price]:
    found: dict[tuple[str, ...], Price] = {}
    for row in rows:
        if found.setdefault(row.key, row) is not row:
            raise BenchError(f"wanted one price of {row.instance} {offer(row)}, found two; remove one")
    return found
