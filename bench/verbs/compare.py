"""The verb `compare`: stored runs side by side, advisory."""

from collections.abc import Sequence
from pathlib import Path

from bench import compare, records, table
from bench import run as runs
from bench.compare import Stored
from bench.errors import BenchError
from bench.reports import compare as reports

FORMATS = {"markdown": reports.markdown, "json": reports.json}


def text(folders: Sequence[Path], wanted: str, *, anyway: bool) -> str:
    """The table; `BenchError` where the runs are not comparable or hold nothing."""
    if len(folders) < 2:
        raise BenchError(f"compare wants two run folders or more, found {len(folders)}")
    if wanted not in FORMATS:
        raise BenchError(f"no format '{wanted}'; there are {', '.join(FORMATS)}")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise BenchError("a run is named twice: name each once")
    found = [_stored(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    differences = compare.check(found, anyway=anyway)
    return FORMATS[wanted](found, compare.lines(found), differences)


def _stored(folder: Path, name: str) -> Stored:
    run = runs.read_folder(folder)
    path = folder / "results.jsonl"
    lines, _ = records.read(path)
    holding = records.latest(lines, path)
    made = compare.stored(name, run, table.report(run, holding, None).rows, holding)
    if not made.processes:
        raise BenchError(f"{folder} holds no measurements; there is nothing to compare")
    return made


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' last names, where they tell them apart, else their paths."""
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]
