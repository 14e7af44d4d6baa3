"""What is wrong with a set of prices: placeholders, spot above on demand, repeats, regions far apart, rows gone.

Pure: it judges rows that somebody read, and says what it found in words; what follows is the caller's.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec import Struct

from bench.errors import BenchError
from bench.prices.book import offer
from bench.prices.rows import Price, check

# What catalogues write for a price that they do not know.
PLACEHOLDERS = frozenset({Decimal(700)})
# Between a provider's US regions the dearest hour of an accelerator costs at most this much of the cheapest.
MOST_SPREAD = Decimal("1.35")
# A catalogue with fewer than this share of the last one's rows was cut off.
LEAST_ROWS = Decimal("0.9")
# What catalogues of list prices know; terms and managed services are no part of them.
LISTED = ("on_demand", "spot")
US_REGION = re.compile(r"us-.+|(north|south|west|east|central)+us\d*")


class Problem(Struct, frozen=True):
    """What is wrong, in words, and the rows to leave out; without rows it is the set itself that is no good."""

    text: str
    rows: tuple[Price, ...] = ()


def problems(rows: Sequence[Price], last: Iterable[Price]) -> list[Problem]:
    """All that speaks against a catalogue's rows, given those of the last book."""
    numbers = [row for row in rows if row.usd_per_hour.is_finite() and row.usd_per_hour > 0]  # what can be compared
    return [*_values(rows), *_repeated(rows), *_spot(numbers), *_spread(numbers), *_gone(rows, last)]


def placeholder(price: Price) -> str:
    """Why this price is none; "" of one that may be real."""
    if price.usd_per_hour not in PLACEHOLDERS:
        return ""
    return f"{price.usd_per_hour} USD/h is what catalogues write for a price that they do not know"


def spot_above(rows: Iterable[Price]) -> list[tuple[Price, Price]]:
    """Each spot price that is above the on-demand price of the same provider, service, instance and region."""
    rows = list(rows)
    on_demand = {row.key[:4]: row for row in rows if row.price_model == "on_demand"}
    pairs = [(row, on_demand.get(row.key[:4])) for row in rows if row.price_model == "spot"]
    return [(row, other) for row, other in pairs if other is not None and row.usd_per_hour > other.usd_per_hour]


def us_region(region: str) -> bool:
    """Whether it is in the United States, by the names of the large clouds: us-east-1, us-central1, eastus2."""
    return US_REGION.fullmatch(region) is not None


def _values(rows: Iterable[Price]) -> list[Problem]:
    found = []
    for row in rows:
        try:
            check(row, f"{row.instance} {offer(row)}")
        except BenchError as error:
            found.append(Problem(str(error), (row,)))
        if why := placeholder(row):
            found.append(Problem(f"{row.instance} {offer(row)}: {why}", (row,)))
    return found


def _repeated(rows: Iterable[Price]) -> list[Problem]:
    by_key: dict[tuple[str, ...], list[Price]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    return [
        Problem(f"{same[0].instance} {offer(same[0])}: wanted one price, found {_usd(same)}", tuple(same))
        for same in by_key.values()
        if len(same) > 1
    ]


def _spot(rows: Iterable[Price]) -> list[Problem]:
    return [
        Problem(
            f"{row.instance} {offer(row)}: spot at {row.usd_per_hour} USD/h is above on demand at {other.usd_per_hour}",
            (row,),
        )
        for row, other in spot_above(rows)
    ]


def _spread(rows: Iterable[Price]) -> list[Problem]:
    groups: dict[tuple[str, ...], list[Price]] = {}
    for row in rows:
        if row.accelerator and row.price_model == "on_demand" and us_region(row.region):
            groups.setdefault(row.key[:3], []).append(row)
    found = []
    for same in groups.values():
        low, high = (end(same, key=lambda row: row.usd_per_hour) for end in (min, max))
        if high.usd_per_hour > MOST_SPREAD * low.usd_per_hour:
            text = f"{low.usd_per_hour} USD/h in {low.region} and {high.usd_per_hour} in {high.region}"
            far = f"wanted its US regions within {MOST_SPREAD}x of each other"
            seller = f"{low.provider} {low.service}".strip()
            found.append(Problem(f"{low.instance} ({seller}): {far}, found {text}", tuple(same)))
    return found


def _gone(rows: Sequence[Price], last: Iterable[Price]) -> list[Problem]:
    if not rows:
        return [Problem("it has no prices")]
    now, before = _counted(rows), _counted(last)
    return [
        Problem(f"wanted at least {LEAST_ROWS} of the last book's {before[seller]} rows of {name}, found {count}")
        for seller, count in now.items()
        if count < LEAST_ROWS * before[seller] and (name := " ".join(filter(None, seller)))
    ]


def _counted(rows: Iterable[Price]) -> Counter[tuple[str, str]]:
    return Counter((row.provider, row.service) for row in rows if row.price_model in LISTED)


def _usd(rows: Iterable[Price]) -> str:
    return " and ".join(f"{row.usd_per_hour} USD/h" for row in rows)
