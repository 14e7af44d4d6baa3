"""The verb `history`: how the cases of many stored runs moved, advisory."""

from pathlib import Path

from bench import history
from bench.errors import BenchError
from bench.reports import history as reports
from bench.verbs.report import say

FORMATS = {"markdown": reports.markdown, "csv": reports.points, "svg": reports.svg}


def text(folder: Path, wanted: str) -> str:
    """The trends of all cases in one format; the folders that could not be read are said beside it."""
    if wanted not in FORMATS:
        raise BenchError(f"no format '{wanted}'; there are {', '.join(FORMATS)}")
    series, skipped = history.read(folder)
    for line in skipped[:3]:
        say(f"left out {line}")
    if len(skipped) > 3:
        say(f"left out {len(skipped) - 3} more")
    return FORMATS[wanted]([history.trend(one) for one in series])
