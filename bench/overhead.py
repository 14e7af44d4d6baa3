"""What is on top of a plain step, held against it round by round: Keras, a recipe, input from the host. Pure."""

from msgspec import Struct
from msgspec.structs import replace

from bench import backends, stats
from bench.table import Report, Row


class Overhead(Struct, frozen=True):
    """A row and the one that it stands on. `ratio` of their steps; its ends are None under six rounds in common."""

    row: Row
    base: Row
    ratio: float
    low: float | None
    high: float | None

    @property
    def extra_ms(self) -> float:
        """What a step takes longer."""
        assert self.row.step_ms is not None and self.base.step_ms is not None
        return self.row.step_ms - self.base.step_ms


def of_keras(report: Report) -> list[Overhead]:
    """Every Keras row whose engine's own row was measured too, in all else the same case."""
    timed = {row.case: row for row in report.rows if row.step_ms is not None}
    found = []
    for row in timed.values():
        if engine := backends.recorded(row.case.backend).engine:
            base = timed.get(replace(row.case, backend=engine))
            found += [against(row, base, report.run.suite.rounds)] if base else []
    return found


def of_recipes(report: Report) -> list[Overhead]:
    """Every training row by a recipe whose plain row was measured too, in all else the same case."""
    timed = {row.case: row for row in report.rows if row.step_ms is not None and row.case.phase == "train"}
    pairs = ((row, timed.get(replace(row.case, recipe="plain"))) for row in timed.values())
    return [against(row, base, report.run.suite.rounds) for row, base in pairs if base and base is not row]


def of_inputs(report: Report) -> list[Overhead]:
    """Every row fed from the host whose row on the device was measured too, in all else the same case."""
    timed = {row.case: row for row in report.rows if row.step_ms is not None}
    pairs = ((row, timed.get(replace(row.case, input="resident"))) for row in timed.values())
    return [against(row, base, report.run.suite.rounds) for row, base in pairs if base and base is not row]


def against(row: Row, base: Row, rounds: int) -> Overhead:
    """Paired by round where neither lacks one; else the ratio of the two estimates, without an interval."""
    ours, theirs = row.process_ms or (), base.process_ms or ()
    if len(ours) == len(theirs) == rounds:
        ratio, interval = stats.ratio(ours, theirs)
        return Overhead(row, base, ratio, *(interval or (None, None)))
    assert row.step_ms is not None and base.step_ms is not None
    return Overhead(row, base, row.step_ms / base.step_ms, None, None)
