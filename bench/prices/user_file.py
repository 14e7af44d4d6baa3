"""The user's `prices.toml`: a standing choice, own prices in any currency, own hardware, another book.

Every mistake is one `BenchError` that names the file, the entry and the value.
"""

import re
from collections.abc import Iterable
from decimal import Context, Decimal
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench.errors import BenchError
from bench.prices.book import load_book
from bench.prices.checks import placeholder, spot_above
from bench.prices.hardware import Hardware, amortised
from bench.prices.rows import COLUMNS, LEAST_USD, MOST_USD, PRICE_MODELS, Price, check, from_toml, is_date

# What a price in another currency has in place of usd_per_hour.
CURRENCY = ("currency", "per_hour", "usd_per_unit", "rate_as_of")


class Choice(Struct, frozen=True):
    """An instance, and which of its prices; None where it is left open."""

    instance: str
    service: str | None = None
    region: str | None = None
    price_model: str | None = None


class UserFile(Struct, frozen=True):
    """What the file says. `book`: the rows that take the place of the bundled ones, None where those stay."""

    prices: tuple[Price, ...] = ()
    choice: Choice | None = None
    book: tuple[Price, ...] | None = None
    path: Path | None = None


class _File(Struct, forbid_unknown_fields=True):
    instance: str | None = None
    service: str | None = None
    region: str | None = None
    price_model: str | None = None
    book: str | None = None
    price: list[Price] = []
    hardware: list[Hardware] = []


class _Money(Struct, forbid_unknown_fields=True):
    currency: str = ""
    per_hour: Decimal = Decimal(0)
    usd_per_unit: Decimal = Decimal(0)
    rate_as_of: str = ""


def read(path: Path | str) -> UserFile:
    """The file, checked. A TOML number keeps the digits that were written; a row without a source is given the file's
    name as its source.
    """
    path = Path(path)
    # A date may stand with or without quotes; the type of every other value is checked by the struct.
    plain: dict[str, object] = msgspec.to_builtins(from_toml(path), builtin_types=(Decimal,))
    if isinstance(rows := plain.get("price"), list):
        plain["price"] = [_in_usd(row, f"prices file {path}: price[{i}]", path.name) for i, row in enumerate(rows)]
    try:
        file = msgspec.convert(plain, _File)
    except msgspec.ValidationError as error:
        others = ", ".join(name for name in COLUMNS if name not in ("instance", "usd_per_hour"))
        raise BenchError(
            f"prices file {path}: {error}; wanted [[price]] tables with instance and usd_per_hour, and any of "
            f"{others}; or [[hardware]], or an instance"
        ) from None
    named = {f"price[{i}]": replace(price, source=price.source or path.name) for i, price in enumerate(file.price)}
    for name, price in named.items():
        check(price, f"prices file {path}: {name}")
        if why := placeholder(price):
            raise BenchError(f"prices file {path}: {name}.usd_per_hour: {why}; give the real price, or none at all")
    for number, hardware in enumerate(file.hardware):
        named[f"hardware[{number}]"] = amortised(hardware, f"prices file {path}: hardware[{number}]")
    _check_together(named, path)
    choice = _choice(file, path)
    if not named and choice is None and file.book is None:
        raise BenchError(
            f"prices file {path}: wanted an instance, a book, a [[price]] or a [[hardware]], found none; add one or "
            "leave the file out"
        )
    book = None if file.book is None else load_book(path.parent / file.book)
    return UserFile(tuple(named.values()), choice, book, path)


def _choice(file: _File, path: Path) -> Choice | None:
    given = [name for name in ("service", "region", "price_model") if getattr(file, name) is not None]
    if file.instance is None:
        if given:
            raise BenchError(f"prices file {path}: {given[0]} wants an instance beside it; add one or leave it out")
        return None
    if not file.instance.strip():
        raise BenchError(f"prices file {path}: instance: wanted a name, found {file.instance!r}; name the instance")
    if file.price_model is not None and file.price_model not in PRICE_MODELS:
        raise BenchError(
            f"prices file {path}: price_model: wanted one of {', '.join(PRICE_MODELS)}, found {file.price_model!r}; "
            "name one"
        )
    return Choice(file.instance, file.service, file.region, file.price_model)


def _check_together(named: dict[str, Price], path: Path) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for name, price in named.items():
        if not price.instance.strip():
            raise BenchError(
                f"prices file {path}: {name}.instance: wanted a name, found {price.instance!r}; name the instance"
            )
        first = seen.setdefault(price.key, name)
        if first != name:
            raise BenchError(
                f"prices file {path}: {name}: wanted one price for each provider, service, instance, region and "
                f"price_model, found those of {first} again; remove one"
            )
    for spot, on_demand in spot_above(named.values()):
        raise BenchError(
            f"prices file {path}: {seen[spot.key]}: wanted a spot price of up to {on_demand.usd_per_hour} USD/h, the "
            f"on-demand price of {seen[on_demand.key]}, found {spot.usd_per_hour}; correct one of them"
        )


def _in_usd(row: object, where: str, name: str) -> object:
    """A row in another currency as one in USD, to the digit; every other row as it is."""
    if not isinstance(row, dict) or not (given := [key for key in CURRENCY if key in row]):
        return row
    try:
        money = msgspec.convert({key: row[key] for key in given}, _Money)
    except msgspec.ValidationError as error:
        raise BenchError(f"{where}: {error}; wanted {_names(CURRENCY)}") from None
    rest = {key: value for key, value in row.items() if key not in CURRENCY}
    if money.currency == "USD" and given == ["currency"]:
        return rest
    if not re.fullmatch("[A-Z]{3}", money.currency) or money.currency == "USD":
        raise BenchError(
            f"{where}.currency: wanted three letters such as EUR beside {_names(given)}, found {money.currency!r}; "
            "a price in USD is usd_per_hour alone"
        )
    if lacking := [key for key in CURRENCY if key not in given]:
        raise BenchError(
            f"{where}: a price in {money.currency} wants per_hour, usd_per_unit (the USD that one {money.currency} "
            f"costs) and rate_as_of (on which day), found no {_names(lacking)}; add it"
        )
    if "usd_per_hour" in row:
        raise BenchError(f"{where}: wanted per_hour in {money.currency} or usd_per_hour, found both; leave one out")
    for key, value in (("per_hour", money.per_hour), ("usd_per_unit", money.usd_per_unit)):
        if not (value.is_finite() and LEAST_USD <= value <= MOST_USD):
            raise BenchError(f"{where}.{key}: wanted {LEAST_USD} to {MOST_USD}, found {value}; give the real one")
    if not money.rate_as_of or not is_date(money.rate_as_of):
        raise BenchError(
            f"{where}.rate_as_of: wanted a date such as 2026-11-01, found {money.rate_as_of!r}; correct it"
        )
    digits = sum(len(value.as_tuple().digits) for value in (money.per_hour, money.usd_per_unit))
    rest["usd_per_hour"] = Context(prec=digits).multiply(money.per_hour, money.usd_per_unit)
    how = f"{money.per_hour} {money.currency}/h at {money.usd_per_unit} USD of {money.rate_as_of}"
    source, as_of = row.get("source", ""), row.get("as_of", "")
    if isinstance(source, str):
        rest["source"] = f"{source or name}; {how}"
    # The price in USD is as old as the older of the two; one whose own day is not known stays undated.
    if isinstance(as_of, str) and as_of and is_date(as_of):
        rest["as_of"] = min(as_of, money.rate_as_of)
    return rest


def _names(keys: Iterable[str]) -> str:
    return ", ".join(keys)
