"""Price rows, and what changed between two sets of them, as a table: Markdown for people, CSV and JSON in full."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import msgspec
import pandas as pd
from tabulate import tabulate

from bench.errors import BenchError
from bench.prices.book import age_days, offer, staleness
from bench.prices.difference import Change
from bench.prices.rows import COLUMNS, Price

FORMATS = ("markdown", "csv", "json")
DASH = "-"

Cell = str | int | None
Record = dict[str, Cell]


def prices(rows: Sequence[Price], on: date, wanted: str) -> str:
    """The rows with their age in days on that day; a quotient has six digits, a price its own."""
    if wanted != "markdown":
        return _plain([_record(row, on) for row in rows], wanted)
    heads = ("instance", "seller", "region", "price model", "has", "USD/h", "share", "as of", "age")
    cells = [
        (
            row.instance,
            f"{row.provider} {row.service}".strip(),
            row.region or DASH,
            row.price_model,
            _has(row),
            _usd(row.usd_per_hour),
            _share(row) or DASH,
            row.as_of or DASH,
            age(row, on),
        )
        for row in rows
    ]
    right = ("left",) * 5 + ("right",) * 2 + ("left", "right")
    return tabulate(cells, heads, tablefmt="pipe", disable_numparse=True, colalign=right) + "\n"


def changes(found: Sequence[Change], wanted: str) -> str:
    """One line a price that changed, the percentage of what it was."""
    if wanted != "markdown":
        return _plain([_change(change) for change in found], wanted)
    heads = ("change", "instance", "offer", "before", "after", "percent")
    cells = [
        (
            change.kind + (" (jump)" if change.jump else ""),
            change.row.instance,
            offer(change.row),
            _usd(change.before) or DASH,
            _usd(change.after) or DASH,
            _percent(change) or DASH,
        )
        for change in found
    ]
    right = ("left",) * 3 + ("right",) * 3
    return tabulate(cells, heads, tablefmt="pipe", disable_numparse=True, colalign=right) + "\n"


def age(row: Price, on: date) -> str:
    """In days, with what the book thinks of it; a price of a day to come is said to be one."""
    days = age_days(row, on)
    if days is None:
        return "undated"
    return " ".join(filter(None, (f"{days} d", staleness(row, on)))) if days >= 0 else f"in {-days} d"


def check_format(wanted: str) -> None:
    """`BenchError` for a format that there is not."""
    if wanted not in FORMATS:
        raise BenchError(f"no format {wanted!r} of prices; there are {', '.join(FORMATS)}")


def _plain(records: list[Record], wanted: str) -> str:
    if wanted == "json":
        return msgspec.json.format(msgspec.json.encode(records)).decode() + "\n"
    text: str = pd.DataFrame(records, dtype=object).to_csv(index=False, lineterminator="\n")
    return text


def _record(row: Price, on: date) -> Record:
    record: Record = {}
    for name in COLUMNS:
        value = getattr(row, name)
        record[name] = _usd(value) if isinstance(value, Decimal) else value
        if name == "usd_per_hour":
            record["usd_per_hour_share"] = _share(row)
        if name == "as_of":
            record |= {"age_days": age_days(row, on), "age": staleness(row, on) or "quiet"}
    return record


def _change(change: Change) -> Record:
    names = ("provider", "service", "instance", "region", "price_model")
    record: Record = {"change": change.kind, **dict(zip(names, change.row.key, strict=True))}
    numbers = {"before": _usd(change.before), "after": _usd(change.after), "percent": _percent(change)}
    return record | numbers | {"jump": "yes" if change.jump else "no"}


def _has(row: Price) -> str:
    """What an instance is made of, for a table; what is not known is left out."""
    count = "?" if row.accelerator_count is None else row.accelerator_count
    accelerator = f"{count} x {row.accelerator}" if row.accelerator else ""
    cores = f"{row.vcpus} vCPUs" if row.vcpus is not None else ""
    memory = f"{row.memory_gib:f} GiB" if row.memory_gib is not None else ""
    return ", ".join(filter(None, (accelerator, cores, memory))) or DASH


def _share(row: Price) -> str | None:
    share = row.usd_per_hour_share
    return None if share is None else f"{share:.6g}"


def _usd(usd: Decimal | None) -> str | None:
    return None if usd is None else f"{usd:f}"


def _percent(change: Change) -> str | None:
    return None if change.percent is None else f"{change.percent:+.1f} %"
