"""Pure: stored runs side by side. Advisory: they were measured at different times, and no ratio here is a verdict."""

from collections.abc import Sequence

from msgspec import Struct

from bench import stats
from bench.case import Case
from bench.errors import BenchError
from bench.machine import Machine
from bench.records import Key, Record, Sample
from bench.run import Run
from bench.status import FAILED
from bench.table import Row


class Stored(Struct, frozen=True):
    """A run as it was found: its name, what it was, its rows and its samples' step times by case and process, in ms."""

    name: str
    run: Run
    rows: tuple[Row, ...]
    processes: dict[Case, list[list[float]]]
    digests: dict[Case, str]


class Remark(Struct, frozen=True):
    """What became of a case in one of the later runs.

    `word`: failing (it was not before), vanished (it was there before), new (the first run lacks it, or did not measure
    it), changed (another workload than the first run's), slower or faster than the first, or empty.
    """

    word: str = ""
    reason: str = ""


class Line(Struct, frozen=True):
    """A case in two runs or more: its step time in each (None: not measured); of every later one the ratio over the
    first, and a remark."""

    case: Case
    step_ms: tuple[float | None, ...]
    ratios: tuple[tuple[float, stats.Interval | None] | None, ...]
    remarks: tuple[Remark, ...]


def stored(name: str, run: Run, rows: Sequence[Row], records: dict[Key, Record]) -> Stored:
    processes: dict[Case, list[list[float]]] = {}
    digests: dict[Case, str] = {}
    samples = [record for record in records.values() if isinstance(record, Sample)]
    for sample in sorted(samples, key=lambda s: s.origin.round):
        processes.setdefault(sample.case, []).append([ns / sample.steps / 1e6 for ns in sample.wall_ns])
        digests[sample.case] = sample.origin.digest
    return Stored(name, run, tuple(rows), processes, digests)


def differences(runs: Sequence[Stored]) -> list[str]:
    """In what the machines of the runs differ that makes results incomparable: a line for each field."""
    said = []
    for field in Machine.__struct_fields__:
        values = [str(getattr(one.run.machine, field) or "none") for one in runs]
        if len(set(values)) > 1:
            said.append(f"machine {field}: " + ", ".join(f"{v} in {r.name}" for v, r in zip(values, runs, strict=True)))
    shortened = [one.run.suite.protocol.shortened() for one in runs]
    if len(set(shortened)) > 1:
        said.append("the protocol is shortened in some of them")
    return said


def lines(runs: Sequence[Stored]) -> list[Line]:
    """Every case of any of the runs, in the order in which it first appears."""
    rows = [{row.case: row for row in one.rows} for one in runs]
    cases = dict.fromkeys(case for found in rows for case in found)
    return [_line(case, runs, rows) for case in cases]


def _line(case: Case, runs: Sequence[Stored], rows: list[dict[Case, Row]]) -> Line:
    found = [one.get(case) for one in rows]
    times = tuple(row.step_ms if row else None for row in found)
    ratios: list[tuple[float, stats.Interval | None] | None] = []
    remarks: list[Remark] = []
    for place, one in enumerate(runs[1:], 1):
        both = runs[0].digests.get(case), one.digests.get(case)
        changed = None not in both and both[0] != both[1]
        ratio = None
        if times[0] is not None and times[place] is not None and not changed:
            ratio = stats.unpaired_ratio(one.processes[case], runs[0].processes[case])
        ratios.append(ratio)
        remarks.append(_remark(found[: place + 1], changed, ratio[1] if ratio else None))
    return Line(case, times, tuple(ratios), tuple(remarks))


def _remark(found: Sequence[Row | None], changed: bool, interval: stats.Interval | None) -> Remark:
    """Of the last of these rows, the others being those of the runs before it."""
    *before, last = found
    known = [row for row in before if row]
    if last is None:
        return Remark("vanished" if known else "")
    why = f"{last.status}: {last.reason}"
    if last.status in FAILED and (before[0] is None or any(row.status not in FAILED for row in known)):
        return Remark("failing", why)
    if last.step_ms is None and last.status not in FAILED and any(row.step_ms is not None for row in known):
        return Remark("vanished", why)
    first = before[0]
    if first is None or (first.step_ms is None and first.status not in FAILED and last.step_ms is not None):
        return Remark("new")
    if changed:
        return Remark("changed", "another workload under the same name")
    both = ("first", first), ("this", last)
    why = "; ".join(f"{which} {row.status}: {row.reason}" for which, row in both if row.status == "unsteady")
    if interval is None or first.disturbed or last.disturbed:  # a neighbour's doing is no step's
        return Remark("", why)
    return Remark("slower" if interval[0] > 1 else "faster" if interval[1] < 1 else "", why)


def check(runs: Sequence[Stored], *, anyway: bool) -> list[str]:
    """The differences, once they are known to be accepted; `BenchError` that names them otherwise."""
    found = differences(runs)
    if found and not anyway:
        raise BenchError(
            f"these runs are not comparable: {'; '.join(found)}; --anyway prints them all the same, marked"
        )
    return found
