"""What is to be said of joules above the tables: of what they are, and why some are missing or to be doubted."""

from collections.abc import Iterable, Iterator

from bench.table import Report, Row

MEANT = (
    "J/step: from a pass of its own in the pilot. On a CPU it is of whole packages (RAPL), whatever else runs on them; "
    "on a GPU of the whole board (NVML), and not of its host."
)


def lines(report: Report) -> Iterator[str]:
    """As they are: what a driver said may be in them."""
    known = [row for row in report.rows if row.energy.joules_per_step is not None]
    missing = [row for row in report.rows if row.energy.joules_per_step is None]
    if known:
        yield MEANT
    yield from _noted("No joules of", missing)
    yield from _noted("Doubt the joules of", known)


def _noted(what: str, rows: Iterable[Row]) -> Iterator[str]:
    """One line for all of them, with the first one's words."""
    notes = [row.energy.joules_note for row in rows if row.energy.joules_note]
    if notes:
        others = "" if len(set(notes)) == 1 else " Each row's own reason is in `joules_note` of the CSV."
        yield f"{what} {len(notes)} row{'s' * (len(notes) > 1)}: {notes[0]}.{others}"
