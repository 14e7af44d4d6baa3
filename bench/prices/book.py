"""What an hour of an instance costs: a book of rows, the bundled one or another, and the one row that applies.

Every row is dated and sourced; nothing is interpolated and nothing is picked silently between two rows.
Knows no network, no clock and no framework: the caller says on which day an age is asked.
"""

import difflib
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
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
    "age_note",
    "bundled",
    "find",
    "hourly",
    "load_book",
    "nearest",
    "offer",
    "read_used",
    "save_book",
    "staleness",
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
MOST_NAMED = 8


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
            "restore it or make it anew (own prices go into a prices.toml), or bring the manifest up to date"
        )
    prices = from_csv(data, path)
    if len(prices) != manifest.rows:
        raise BenchError(
            f"price book {path}: wanted {manifest.rows} rows as in manifest.toml, found {len(prices)}; "
            "bring the manifest up to date"
        )
    return prices


def save_book(folder: Path, prices: Sequence[Price], origin: str, on: date) -> None:
    """Writes a book: drafts first, then both files replaced, the manifest last. `load_book` refuses a mixture.

    `BenchError` with exit code 74 where the disk refuses, and for a `prices.csv` that is no book's: a run keeps one.
    """
    csv_file, manifest = folder / "prices.csv", folder / "manifest.toml"
    if csv_file.exists() and not manifest.exists():
        raise BenchError(f"{folder} has a prices.csv and no manifest.toml: it is no price book; choose another --out")
    data = to_csv(prices)
    text = (  # a JSON string is a TOML string
        "# Describes prices.csv beside it; checked at every load. sha256 counts line ends as \\n.\n"
        f"date = {on}\norigin = {json.dumps(origin, ensure_ascii=False)}\n"
        f'sha256 = "{hashlib.sha256(data).hexdigest()}"\nrows = {len(prices)}\n'
    )
    drafts = {csv_file.with_name(".prices.csv"): data, manifest.with_name(".manifest.toml"): text.encode()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for draft, content in drafts.items():
            draft.write_bytes(content)
        for draft, path in zip(drafts, (csv_file, manifest), strict=True):
            draft.replace(path)
    except OSError as error:
        for draft in filter(Path.exists, drafts):
            draft.unlink()
        raise BenchError(f"price book: cannot write {folder}: {error.strerror}; choose another", exit_code=74) from None


def hourly(text: str) -> Price:
    """The price of `--price-per-hour`, in USD; `BenchError` unless it is a number above 0.

    It has no instance and no price model. 0 is refused: an unknown price is a dash, and a free machine has no cost.
    """
    try:
        usd_per_hour = Decimal(text)
    except InvalidOperation:
        raise BenchError(f"price per hour: wanted a number of USD, found {text!r}; give one, such as 2.10") from None
    price = Price(provider="", instance="", price_model="", usd_per_hour=usd_per_hour, source=COMMAND_LINE)
    check(price, "--price-per-hour")
    return price


def find(
    instance: str,
    *,
    service: str | None = None,
    region: str | None = None,
    price_model: str | None = None,
    user: Iterable[Price] = (),
    bundle: tuple[Price, ...] | None = None,
) -> Price:
    """The one price that applies to `instance`: of the user's rows if one fits, else of the bundle, else bundled.

    Without a price model: on demand, or what own hardware costs. A user's row that leaves its service or region open
    fits every one asked for, unless another row names it. `BenchError` for an unknown price model or instance, for
    one that is not sold so, and where several rows fit.
    """
    user, bundle = tuple(user), bundled() if bundle is None else bundle
    if price_model is not None and price_model not in PRICE_MODELS:
        raise BenchError(f"no price model {price_model!r}; there are {', '.join(PRICE_MODELS)}")
    models = ("on_demand", "amortised") if price_model is None else (price_model,)
    for book, open_fits in ((user, True), (bundle, False)):
        rows = [row for row in book if row.instance == instance and row.price_model in models]
        if service is not None:
            rows = _fitting(rows, service_of, SERVICE_ALIASES.get(service, service), open_fits=open_fits)
        if region is not None:
            rows = _fitting(rows, lambda row: row.region, region, open_fits=open_fits)
        if len(rows) > 1:
            choices = _few([f"{offer(row)} at {row.usd_per_hour} USD/h" for row in rows], "; ")
            wanted = "price model" if len({row.price_model for row in rows}) > 1 else "service or region"
            raise BenchError(f"wanted one price of {instance!r}, found {choices}; say which {wanted}")
        if rows:
            return rows[0]
    raise BenchError(_no_price(instance, models[0], service, region, (*user, *bundle)))


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


def age_note(price: Price, on: date) -> str:
    """Of a price that is not quiet on that day: its age in days and what follows; "" of one that is."""
    state, age = staleness(price, on), age_days(price, on)
    if not state:
        return ""
    if age is None:
        return f"the price of {price.instance} is undated: its costs are marked ~; give its row an as_of"
    marked = "its costs are marked ~" if state == "stale" else "check it before you decide by it"
    return f"the price of {price.instance} is {age} days old (as of {price.as_of}): {marked}"


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


def service_of(price: Price) -> str:
    """Its service, under the name that the book has for it."""
    return SERVICE_ALIASES.get(price.service, price.service)


def offer(price: Price) -> str:
    """How it is sold, for a sentence: price model, region and seller."""
    seller = f"{price.provider} {price.service}".strip()
    return f"{price.price_model} in {price.region or 'no stated region'} ({seller})"


def nearest(name: str, names: Iterable[str]) -> str:
    """Of the names, those that somebody may have meant; "none" without any."""
    known = {one.lower(): one for one in names}
    return ", ".join(known[one] for one in difflib.get_close_matches(name.lower(), known, n=5)) or "none"


def _fitting(rows: list[Price], field: Callable[[Price], str], wanted: str, *, open_fits: bool) -> list[Price]:
    return [row for row in rows if field(row) == wanted] or [row for row in rows if open_fits and not field(row)]


def _few(texts: Iterable[str], between: str) -> str:
    """The first of them: a book of all regions has dozens for one instance."""
    texts = list(dict.fromkeys(texts))
    return between.join(texts[:MOST_NAMED]) + (f" and {len(texts) - MOST_NAMED} more" if texts[MOST_NAMED:] else "")


def _no_price(instance: str, model: str, service: str | None, region: str | None, book: tuple[Price, ...]) -> str:
    asked = model + (f" in {region}" if region else "") + (f" from {service}" if service else "")
    advice = "give a price per hour or add a [[price]] to prices.toml"
    rows = [row for row in book if row.instance == instance]
    if rows:
        # Where it is only the region that is wrong, the offers of the nearest ones come first.
        close = difflib.get_close_matches(region or "", [row.region for row in rows], n=3)
        offers = _few([offer(row) for row in sorted(rows, key=lambda row: row.region not in close)], ", ")
        return f"no price {asked} for {instance!r}; there are {offers}; ask for one of these, or {advice}"
    names = nearest(instance, [row.instance for row in book])
    return f"no price for instance {instance!r}; the nearest names are {names}; {advice}"
