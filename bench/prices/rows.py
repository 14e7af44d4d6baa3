"""One price row and its two file forms, TOML and CSV, checked where they enter.

Every `BenchError` names the file and the value. Knows nothing of which price applies to whom: that is `book`.
"""

import csv
import io
import tomllib
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec

from bench.errors import BenchError

# `amortised` is own hardware's, see `hardware`; the others are those of the clouds.
PRICE_MODELS = (
    *("on_demand", "spot", "capacity_block", "calendar", "flex_start", "committed_1y", "committed_3y"),
    "amortised",
)

# Wider than any price of an hour; keeps every product with it inside Decimal's range.
LEAST_USD, MOST_USD = Decimal("0.000001"), Decimal(1_000_000)

Count = Annotated[int, msgspec.Meta(ge=0)]


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of one hour of one whole instance under one price model; the fields are the columns of the CSV.

    `usd_per_hour` in USD, `memory_gib` in GiB, `as_of` an ISO date or "" where unknown; a count of None is unknown,
    an accelerator of "" is none. The defaults are those of a row in the user's `prices.toml`.
    """

    provider: str = "own"
    service: str = ""
    instance: str
    region: str = ""
    accelerator: str = ""
    accelerator_count: Count | None = None
    vcpus: Count | None = None
    memory_gib: Decimal | None = None
    price_model: str = "on_demand"
    usd_per_hour: Decimal
    as_of: str = ""
    source: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What a file has one price for: provider, service, instance, region and price model."""
        return self.provider, self.service, self.instance, self.region, self.price_model

    @property
    def usd_per_hour_share(self) -> Decimal | None:
        """USD per hour and accelerator, assuming that somebody rents the rest; None without a known accelerator."""
        return self.usd_per_hour / self.accelerator_count if self.accelerator_count else None

    @property
    def from_command_line(self) -> bool:
        """Whether it is a bare price per hour, of no named instance."""
        return not self.instance and not self.price_model


COLUMNS = Price.__struct_fields__
_MAY_BE_UNKNOWN = ("accelerator_count", "vcpus", "memory_gib")


def file_bytes(path: Path) -> bytes:
    """The file's content; `BenchError` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BenchError(f"prices file {path}: cannot be read: {error.strerror}; check the path") from None


def from_toml(path: Path) -> dict[str, object]:
    """The TOML file as plain values, numbers with a point as `Decimal`; `BenchError` names the line of a mistake."""
    try:  # utf-8-sig: some Windows editors begin a file with a mark
        return tomllib.loads(file_bytes(path).decode("utf-8-sig"), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise BenchError(f"prices file {path}: wanted TOML in UTF-8, found: {error}; correct it there") from None


def from_csv(data: bytes, path: Path) -> tuple[Price, ...]:
    """The rows of a price CSV; `path` is for the messages, in which the header is row 1."""
    try:
        header, *rows = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True)) or [[]]
    except (ValueError, csv.Error) as error:
        raise BenchError(f"prices file {path}: wanted CSV in UTF-8, found: {error}; restore it") from None
    if tuple(header) != COLUMNS:
        wanted, found = ",".join(COLUMNS), ",".join(header)
        raise BenchError(f"prices file {path}: wanted the columns {wanted}, found {found!r}; restore it")
    return tuple(_from_cells(cells, f"prices file {path}: row {number}") for number, cells in enumerate(rows, 2))


def to_csv(prices: Iterable[Price]) -> bytes:
    """The rows as CSV; `from_csv` gives them back equal in every digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for price in prices:
        writer.writerow("" if cell is None else str(cell) for cell in msgspec.structs.astuple(price))
    return text.getvalue().encode()


def check(price: Price, where: str) -> None:
    """The rules that a type cannot state; `BenchError` names the value, after `where`."""

    def demand(good: bool, name: str, wanted: str, to_do: str) -> None:
        if not good:
            found = getattr(price, name)
            shown = repr(found) if isinstance(found, str) else str(found)
            raise BenchError(f"{where}.{name}: wanted {wanted}, found {shown}; {to_do}")

    for name in ("provider", "service", "instance", "region", "accelerator", "source"):
        printable = getattr(price, name).isprintable()  # one table cell, one CSV line
        demand(printable, name, "one line of text", "take the control characters out")
    known = price.price_model in PRICE_MODELS or price.from_command_line
    demand(known, "price_model", f"one of {', '.join(PRICE_MODELS)}", "name one")
    usd, memory = price.usd_per_hour, price.memory_gib
    real = usd.is_finite() and LEAST_USD <= usd <= MOST_USD
    demand(real, "usd_per_hour", f"{LEAST_USD} to {MOST_USD} USD", "give the real price, or none at all")
    some = memory is None or (memory.is_finite() and memory > 0)
    demand(some, "memory_gib", "GiB above 0", "correct it or leave it empty")
    demand(is_date(price.as_of), "as_of", "a date such as 2026-11-01", "correct it or leave it empty")


def _from_cells(cells: list[str], where: str) -> Price:
    if len(cells) != len(COLUMNS):
        raise BenchError(f"{where}: wanted {len(COLUMNS)} cells, found {len(cells)}; restore it")
    row = dict(zip(COLUMNS, cells, strict=True))
    known = {name: cell for name, cell in row.items() if cell or name not in _MAY_BE_UNKNOWN}
    try:
        price = msgspec.convert(known, Price, strict=False)  # not strict: every cell is text
    except msgspec.ValidationError as error:
        raise BenchError(f"{where}: {error}; restore it") from None
    check(price, where)
    return price


def is_date(text: str) -> bool:
    """Whether it is an ISO date, or nothing, which is an unknown one."""
    try:
        return text == "" or date.fromisoformat(text).isoformat() == text  # Python also reads 20261101, 2026-W44
    except ValueError:
        return False
