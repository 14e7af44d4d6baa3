"""Pure: stored runs side by side. Advisory: they were measured at different times, and no ratio here is a verdict."""

from collections.abc import Sequence

from msgspec import Struct

from bench import stats
from bench.errors import BenchError
from bench.machine import Machine
from bench.records import Case, Key, Record, Sample
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


class Line(Struct, frozen=True):
    """A case in two runs or more: its step time in each (None: not measured), and every later one over the first.

    `word`: vanished, new, failing (it was not), changed (another workload), slower, faster, or empty.
    """

    case: Case
    step_ms: tuple[float | None, ...]
    ratios: tuple[tuple[float, stats.Interval | None] | None, ...]
    word: str
    reason: str


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
    first, last = found[0], found[-1]
    ratios: list[tuple[float, stats.Interval | None] | None] = []
    changed = len({digest for one in runs if (digest := one.digests.get(case))}) > 1
    for one, time in zip(runs[1:], times[1:], strict=True):
        if times[0] is None or time is None or changed:
            ratios.append(None)
        else:
            ratios.append(stats.unpaired_ratio(one.processes[case], runs[0].processes[case]))
    word, reason = "", ""
    if first is None:
        word = "new"
    elif last is None:
        word = "vanished"
    elif times[0] is not None and times[-1] is None and last.status not in FAILED:
        word, reason = "vanished", f"{last.status}: {last.reason}"
    elif last.status in FAILED and first.status not in FAILED:
        word, reason = "failing", f"{last.status}: {last.reason}"
    elif changed:
        word, reason = "changed", "another workload under the same name"
    elif ratios and ratios[-1] and (interval := ratios[-1][1]):
        word = "slower" if interval[0] > 1 else "faster" if interval[1] < 1 else ""
    return Line(case, times, tuple(ratios), word, reason)


def check(runs: Sequence[Stored], *, anyway: bool) -> list[str]:
    """The differences, once they are known to be accepted; `BenchError` that names them otherwise."""
    found = differences(runs)
    if found and not anyway:
        raise BenchError(
            f"these runs are not comparable: {'; '.join(found)}; --anyway prints them all the same, marked"
        )
    return found
