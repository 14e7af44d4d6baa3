"""The verb `report`: from a run folder to a table, in one of the formats."""

import sys
from pathlib import Path

from bench import records, table
from bench import run as runs
from bench.errors import BenchError
from bench.prices import book
from bench.prices.asked import Asked, price
from bench.prices.book import Price
from bench.reports import csv, json, markdown

FORMATS = {"markdown": markdown.render, "csv": csv.render, "json": json.render}


def text(folder: Path, wanted: str, asked: Asked) -> str:
    """A run's table in one format, at the price asked for, else at the one it was made with."""
    if wanted not in FORMATS:
        raise BenchError(f"no format '{wanted}'; there are {', '.join(FORMATS)}")
    return FORMATS[wanted](rendered(folder, price(asked)))


def rendered(folder: Path, at: Price | None) -> table.Report:
    """What a run folder's records come to, at a price or at the one that was used when they were made."""
    run = runs.read_folder(folder)
    found, torn = records.read(folder / "results.jsonl")
    if torn:
        say(f"{folder / 'results.jsonl'}: the last line is torn and is left out; --resume makes that record again")
    if not found and any(not p.status for p in run.planned):
        raise BenchError(f"{folder} holds no results yet; go on with: stepwatch run --resume {folder}")
    if at is None and (folder / "prices.csv").exists():
        (at,) = book.read_used(folder / "prices.csv")
    return table.report(run, records.latest(found), at)


def say(text: str) -> None:
    """A line for the person, beside the output."""
    print(f"stepwatch: {text}", file=sys.stderr)
