"""A run's rows as a reader compares them: runs, the sections of a run, and the rivals within a section. Pure."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from msgspec import Struct

from bench.reports.names import SAID, called
from bench.table import Report, Row, rival

T = TypeVar("T")
AXES = ("precision", "data", "device", "input", "recipe")


class Group(Struct, frozen=True):
    """Rows of one run under one title, those with a time first. `number`: its run's, from 1."""

    number: int
    report: Report
    title: str
    rows: tuple[Row, ...]

    def names(self) -> list[str]:
        """What each row is called: as short as tells them apart."""
        return [called(row, list(self.rows)) for row in self.rows]


def gathered(things: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Those with the same key together, in the order in which keys first come."""
    found: dict[Hashable, list[T]] = {}
    for thing in things:
        found.setdefault(key(thing), []).append(thing)
    return list(found.values())


def run_of(report: Report) -> tuple[str, str, str]:
    """What two reports of one run have in common, whatever their prices are."""
    return report.run.started, report.run.suite.name, report.run.machine.digest


def runs(reports: Sequence[Report]) -> list[Report]:
    """Each run once."""
    return [found[0] for found in gathered(reports, run_of)]


def numbers(reports: Sequence[Report]) -> list[int]:
    """The number of each report's run, from 1."""
    order = [run_of(report) for report in runs(reports)]
    return [order.index(run_of(report)) + 1 for report in reports]


def sections(reports: Sequence[Report]) -> list[Group]:
    """The rows of each run by workload, phase and measure, as `table.md` has them."""
    return _groups(reports, lambda row: (row.case.workload, row.case.phase, row.case.measure), lambda row, rows: "")


def rivals(reports: Sequence[Report]) -> list[Group]:
    """The rows of each run that may be held against each other: also of one batch, precision, data and device."""
    return _groups(reports, lambda row: rival(row.case), _apart)


def _groups(
    reports: Sequence[Report], key: Callable[[Row], Hashable], more: Callable[[Row, Sequence[Row]], str]
) -> list[Group]:
    found, several = [], len(runs(reports)) > 1
    for number, report in enumerate(runs(reports), 1):
        for rows in gathered(report.rows, key):
            title = titled(rows[0]) + more(rows[0], report.rows) + (f" (run {number})" if several else "")
            timed = sorted((r for r in rows if r.step_ms is not None), key=lambda r: (r.case.batch, r.step_ms or 0.0))
            found.append(Group(number, report, title, (*timed, *(r for r in rows if r.step_ms is None))))
    return found


def titled(row: Row) -> str:
    case = row.case
    return f"{case.workload}, {case.phase}" + (", latency" if case.measure == "latency" else "")


def _apart(row: Row, rows: Sequence[Row]) -> str:
    """The axes in which the section has several groups of rivals."""
    beside = [r.case for r in rows if titled(r) == titled(row)]
    words = [f"batch {row.case.batch}"] if len({case.batch for case in beside}) > 1 else []
    varied = (axis for axis in AXES if len({getattr(case, axis) for case in beside}) > 1)
    words += [SAID.get(axis, "{}").format(getattr(row.case, axis)) for axis in varied]
    return "".join(f", {word}" for word in words)
