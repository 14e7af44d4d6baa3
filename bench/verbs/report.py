"""The verb `report`: from a run folder to a table, in one of the formats."""

import sys
from pathlib import Path

from bench import folder as folders
from bench import gate, pairs, records, table
from bench import run as runs
from bench.errors import BenchError
from bench.prices import book
from bench.prices.asked import Asked, price
from bench.prices.book import Price
from bench.reports import csv, json, markdown, pytest_benchmark
from bench.reports import gate as gates

FORMATS = {
    "markdown": markdown.render,
    "csv": csv.render,
    "json": json.render,
    "pytest-benchmark": pytest_benchmark.render,
}


def text(folder: Path, wanted: str, asked: Asked) -> str:
    """A run's table in one format, at the price asked for, else at the one it was made with. Or a gate's verdicts."""
    if folders.exists(folder / "gate.json"):
        if asked != Asked():
            raise BenchError(f"{folder} is a gate's folder: it has verdicts and no price; leave out the price")
        if wanted not in gates.FORMATS:
            raise BenchError(f"no format '{wanted}' of a gate; there are {', '.join(gates.FORMATS)}")
        return gates.FORMATS[wanted](judged(folder))
    if wanted not in FORMATS:
        raise BenchError(f"no format '{wanted}'; there are {', '.join(FORMATS)}")
    made = rendered(folder, price(asked))
    if wanted == "pytest-benchmark":
        # Its readers know no status: what has no entry would be forgotten in silence.
        out = [row for row in made.rows if pytest_benchmark.incomplete(row)]
        if len(out) == len(made.rows):
            raise BenchError(f"{folder} holds no case that was measured: there is nothing to write", exit_code=3)
        for row in out:
            say(f"left out: {row.case}: {row.status}: {row.reason}")
    return FORMATS[wanted](made)


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


def judged(folder: Path) -> pairs.Report:
    """What a gate's folder comes to."""
    comparison, found = pairs.read(folder)
    cells, control = pairs.cells(comparison, found)
    return pairs.Report(comparison, gate.judge(cells, control), tuple(found))


def say(text: str) -> None:
    """A line for the person, beside the output."""
    print(f"stepwatch: {text}", file=sys.stderr)
