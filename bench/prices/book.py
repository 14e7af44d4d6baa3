"""What an hour of an instance costs: the bundled rows, the user's own rows, and the one row that applies.

Every row is dated and sourced; nothing is interpolated and nothing is picked silently between two rows.
Knows no network, no clock and no framework: the caller says on which day an age is asked.
"""

import difflib
import functools
import hashlib
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec

from bench.errors import BenchError
from bench.prices.rows import COLUMNS, PRICE_MODELS, Price, check, file_bytes, from_csv, from_toml, to_csv

__all__ = [
    "COLUMNS",
    "PRICE_MODELS",
    "Price",
    "age_days",
    "bundled",
    "find",
    "hourly",
    "load_book",
    "read_used",
    "staleness",
    "usd_per_million_samples",
    "user_prices",
    "write_used",
]

COMMAND_LINE = "command line"
SERVICE_ALIASES = {  # Google has renamed it twice; every name stays usable
    "ai-platform": "vertex-ai-training",
    "vertex-ai": "vertex-ai-training",
    "gemini-enterprise-agent-platform": "vertex-ai-training",
}
# Days: a price stays quiet this long, and is merely old until the last.
QUIET_DAYS, QUIET_SPOT_DAYS, OLD_DAYS = 90, 7, 365


class _UserFile(msgspec.Struct, forbid_unknown_fields=True):
    price: list[Price]


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    date: date
    origin: str
    sha256: str
    rows: int


@functools.cache
def bundled() -> tuple[Price, ...]:
    """The prices shipped with Stepwatch; `BenchError` if they are not those that `manifest.toml` describes."""
    return load_book(Path(__file__).parent)


def load_book(folder: Path) -> tuple[Price, ...]:
    """The prices of `folder/prices.csv`; `BenchError` names it where it differs from `folder/manifest.toml`."""
    try:
        manifest = msgspec.convert(from_toml(folder / "manifest.toml"), _Manifest)
    except msgspec.ValidationError as error:
        raise BenchError(f"price manifest {folder / 'manifest.toml'}: {error}; restore it") from None
    path = folder / "prices.csv"
    # A checkout on Windows may have changed the line ends; that is no other price.
    data = file_bytes(path).replace(b"\r\n", b"\n")
    found = hashlib.sha256(data).hexdigest()
    if found != manifest.sha256:
        raise BenchError(
            f"price book {path}: wanted sha256 {manifest.sha256} as in manifest.toml, found {found}; "
            "restore it (own prices go into a prices.toml), or bring the manifest up to date"
        )
    prices = from_csv(data, path)
    if len(prices) != manifest.rows:
        raise BenchError(
            f"price book {path}: wanted {manifest.rows} rows as in manifest.toml, found {len(prices)}; "
            "bring the manifest up to date"
        )
    return prices


def user_prices(path: Path | str) -> tuple[Price, ...]:
    """The user's own prices: the `[[price]]` tables of a `prices.toml`.

    A TOML number keeps the digits that were written. A row without a source is given the file's name as its source.
    `BenchError` for a file that cannot be read, a wrong or unknown key, a value out of range or a repeated price.
    """
    path = Path(path)
    # A date may stand with or without quotes; the type of every other value is checked by the struct.
    plain = msgspec.to_builtins(from_toml(path), builtin_types=(Decimal,))
    try:
        entries = msgspec.convert(plain, _UserFile).price
    except msgspec.ValidationError as error:
        others = ", ".join(name for name in COLUMNS if name not in ("instance", "usd_per_hour"))
        raise BenchError(
            f"prices file {path}: {error}; wanted [[price]] tables with instance and usd_per_hour, and any of {others}"
        ) from None
    if not entries:
        raise BenchError(f"prices file {path}: wanted a [[price]], found none; add one or leave the file out")
    seen: dict[tuple[str, ...], int] = {}
    for number, entry in enumerate(entries):
        where = f"prices file {path}: price[{number}]"
        if not entry.instance.strip():
            raise BenchError(f"{where}.instance: wanted a name, found {entry.instance!r}; name the instance")
        check(entry, where)
        key = (entry.provider, entry.service, entry.instance, entry.region, entry.price_model)
        first = seen.setdefault(key, number)
        if first != number:
            raise BenchError(
                f"{where}: wanted one price for each provider, service, instance, region and price_model, "
                f"found those of price[{first}] again; remove one"
            )
    return tuple(msgspec.structs.replace(entry, source=entry.source or path.name) for entry in entries)


def hourly(text: str) -> Price:
    """The price of `--price-per-hour`, in USD; `BenchError` unless it is a number above 0.

    It has no instance and no price model. 0 is refused: an unknown price is a dash, and a free machine has no cost.
    """
    try:
        usd_per_hour = Decimal(text)
    except InvalidOperation:
        raise BenchError(f"price per hour: wanted a number of USD, found {text!r}; give one, such as 2.10") from None
    price = Price(provider="", instance="", price_model="", usd_per_hour=usd_per_hour, source=COMMAND_LINE)
    check(price, COMMAND_LINE)
    return price


def find(
    instance: str,
    *,
    service: str | None = None,
    region: str | None = None,
    price_model: str = "on_demand",
    user: Iterable[Price] = (),
) -> Price:
    """The one price that applies to `instance`: of the user's rows if one fits, else of the bundled book.

    A user's row that leaves its service or region open fits every one asked for, unless another row names it.
    `BenchError` for an unknown price model or instance, for one that is not sold so, and where several rows fit.
    """
    user = tuple(user)
    if price_model not in PRICE_MODELS:
        raise BenchError(f"no price model {price_model!r}; there are {', '.join(PRICE_MODELS)}")
    for book, open_fits in ((user, True), (bundled(), False)):
        rows = [row for row in book if row.instance == instance and row.price_model == price_model]
        if service is not None:
            rows = _fitting(rows, _service, SERVICE_ALIASES.get(service, service), open_fits=open_fits)
        if region is not None:
            rows = _fitting(rows, lambda row: row.region, region, open_fits=open_fits)
        if len(rows) > 1:
            choices = "; ".join(f"{_offer(row)} at {row.usd_per_hour} USD/h" for row in rows)
            raise BenchError(f"wanted one price of {instance!r}, found {choices}; say which service or region")
        if rows:
            return rows[0]
    asked = price_model + (f" in {region}" if region else "") + (f" from {service}" if service else "")
    raise BenchError(_no_price(instance, asked, (*user, *bundled())))


def usd_per_million_samples(usd_per_hour: Decimal, seconds_per_sample: float) -> Decimal:
    """USD per million samples = USD per hour / 3600 s x seconds per sample x 10^6, in decimal arithmetic.

    The seconds count as the shortest decimal that is the float. The division comes last, so that it alone rounds (to
    28 digits) for a price of up to 11 digits. `BenchError` unless the seconds are finite and above 0.
    """
    # float() first: a NumPy float is a float, but its repr is not a number.
    seconds = Decimal(repr(float(seconds_per_sample)))
    if not seconds.is_finite() or seconds <= 0:
        raise BenchError(f"cost: wanted finite seconds per sample above 0, found {seconds}; give the row no cost")
    return usd_per_hour * seconds * 10**6 / 3600


def age_days(price: Price, on: date) -> int | None:
    """Days from the price's `as_of` to `on`, negative if the price is the later one; None where it is undated."""
    return (on - date.fromisoformat(price.as_of)).days if price.as_of else None


def staleness(price: Price, on: date) -> str:
    """How old the price is on that day: "" (quiet), "old" (one warning) or "stale" (its cost is marked `~`).

    Undated is stale. A price from the command line was given for this very report, so it is quiet.
    """
    if price.from_command_line:
        return ""
    age = age_days(price, on)
    if age is None or age > OLD_DAYS:
        return "stale"
    return "old" if age > (QUIET_SPOT_DAYS if price.price_model == "spot" else QUIET_DAYS) else ""


def write_used(path: Path, prices: Iterable[Price]) -> None:
    """Writes the rows as CSV in the columns of `prices.csv`; `BenchError` with exit code 74 if that fails."""
    try:
        path.write_bytes(to_csv(prices))
    except OSError as error:
        raise BenchError(
            f"prices used: cannot write {path}: {error.strerror}; make room or name another folder", exit_code=74
        ) from None


def read_used(path: Path) -> tuple[Price, ...]:
    """The rows that `write_used` wrote, equal in every digit; `BenchError` names the file, row and column."""
    return from_csv(file_bytes(path), path)


def _service(price: Price) -> str:
    return SERVICE_ALIASES.get(price.service, price.service)


def _fitting(rows: list[Price], field: Callable[[Price], str], wanted: str, *, open_fits: bool) -> list[Price]:
    return [row for row in rows if field(row) == wanted] or [row for row in rows if open_fits and not field(row)]


def _offer(price: Price) -> str:
    seller = f"{price.provider} {price.service}".strip()
    return f"{price.price_model} in {price.region or 'no stated region'} ({seller})"


def _no_price(instance: str, asked: str, book: tuple[Price, ...]) -> str:
    advice = "give a price per hour or add a [[price]] to prices.toml"
    offers = dict.fromkeys(_offer(row) for row in book if row.instance == instance)
    if offers:
        return f"no price {asked} for {instance!r}; there are {', '.join(offers)}; ask for one of these, or {advice}"
    names = {row.instance.lower(): row.instance for row in book}
    nearest = [names[name] for name in difflib.get_close_matches(instance.lower(), names, n=5)]
    return f"no price for instance {instance!r}; the nearest names are {', '.join(nearest) or 'none'}; {advice}"
