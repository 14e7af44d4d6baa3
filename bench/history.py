"""Pure: the tables of many runs -> a line a case with its drift and its change points. Advisory: no verdict.

It reads `table.csv`, where every interval was computed once, and never the samples: thousands of runs take seconds.
"""

import csv
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import ruptures
from msgspec import Struct

from bench.case import Case
from bench.errors import BenchError
from bench.machine import Machine
from bench.suite import Protocol

AXES = Case.__struct_fields__
MOST = 400  # points that change points are looked for in; more runs are taken together, a median each
SHORTEST = 3  # runs between two change points, at least
PENALTY = 3.0  # times the noise's variance times ln(points), the BIC's order (Killick et al. 2012)


class Point(Struct, frozen=True):
    """One case in one run; times in ms."""

    started: str
    commit: str
    step_ms: float
    low: float | None
    high: float | None
    status: str
    suite: str


class Series(Struct, frozen=True):
    """One case on one machine, oldest run first. `case`: the axes' values, in their order. `machine`: its digest;
    `where`: its CPU's name, and in what it differs from the others of that name. `later`: how many runs of the last
    one's suite there are after it on that machine, none with a time of this case."""

    case: tuple[str, ...]
    machine: str
    cpu: str
    where: str
    points: tuple[Point, ...]
    later: int = 0


class Trend(Struct, frozen=True):
    """`drift`: last tenth over first tenth of the runs, less 1 (None under 10 runs). `changes`: where the level moved,
    each with the run that it begins with and the levels around it."""

    series: Series
    drift: float | None
    changes: tuple[tuple[str, float, float], ...]


class _Suite(Struct):
    name: str
    protocol: Protocol


class _Run(Struct):
    """What is wanted of a run.json."""

    started: str
    commit: str
    machine: Machine
    suite: _Suite


def read(folder: Path) -> tuple[list[Series], list[str]]:
    """The series of all runs right under a folder, and a line for each folder that holds none that can be read."""
    if not folder.is_dir():
        raise BenchError(f"no folder {folder}; wanted one that holds run folders, such as results/")
    decoder = msgspec.json.Decoder(_Run)
    found: dict[tuple[str, ...], list[Point]] = {}
    machines: dict[str, Machine] = {}
    begun: dict[tuple[str, str], list[str]] = {}  # when, by machine and suite
    skipped: list[str] = []
    for path in sorted(p for p in folder.iterdir() if (p / "run.json").exists()):
        try:
            run = decoder.decode((path / "run.json").read_bytes())
            if run.suite.protocol.shortened():  # its times are for looking: beside others they would look like a change
                skipped.append(f"{path.name}: shortened protocol")
                continue
            rows = [row for row in _rows(path / "table.csv") if row["step_ms"]]
            made = [(tuple(row[axis] for axis in AXES), _point(run, row)) for row in rows]
        except (OSError, ValueError, LookupError, csv.Error, msgspec.DecodeError) as error:
            skipped.append(f"{path.name}: {error}")
            continue
        digest = run.machine.digest
        machines[digest] = run.machine
        begun.setdefault((digest, run.suite.name), []).append(run.started)
        for case, point in made:
            found.setdefault((digest, *case), []).append(point)
    machines = {digest: one for digest, one in machines.items() if any(key[0] == digest for key in found)}
    names = {digest: _where(one, list(machines.values())) for digest, one in machines.items()}
    for starts in begun.values():
        starts.sort()
    series = []
    for (digest, *axes), points in found.items():
        points.sort(key=lambda p: p.started)
        starts = begun[digest, points[-1].suite]
        later = len(starts) - bisect_right(starts, points[-1].started)
        series.append(Series(tuple(axes), digest, machines[digest].cpu, names[digest], tuple(points), later))
    if not series:
        why = f"{len(skipped)} are left out, the first is {skipped[0]}" if skipped else "nothing to show"
        raise BenchError(f"{folder} holds no run with a table.csv that has a time; {why}")
    return series, skipped


def _where(one: Machine, machines: Sequence[Machine]) -> str:
    """A machine's CPU, with whatever is not the same in all machines that have such a one."""
    alike = [other for other in machines if other.cpu == one.cpu]
    differ = [name for name in Machine.__struct_fields__ if len({getattr(other, name) for other in alike}) > 1]
    said = [f"{name} {_value(one, name)}" for name in differ]
    return f"{one.cpu} ({', '.join(said)})" if said else one.cpu


def _value(one: Machine, name: str) -> str:
    if name == "gpus":
        return " + ".join(f"{gpu.name} {gpu.memory_mib} MiB {gpu.driver}" for gpu in one.gpus) or "none"
    return str(getattr(one, name)) or "none"


def _rows(path: Path) -> Iterable[dict[str, str]]:
    """The rows of one table.csv; ValueError where a column that is needed is missing."""
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        head = next(reader, [])
        places = {name: head.index(name) for name in (*AXES, "step_ms", "step_ms_low", "step_ms_high", "status")}
        for row in reader:
            yield {name: row[place] for name, place in places.items()}


def _point(run: _Run, row: dict[str, str]) -> Point:
    low, high = (_time(row, name) if row[name] else None for name in ("step_ms_low", "step_ms_high"))
    return Point(run.started, run.commit, _time(row, "step_ms"), low, high, row["status"], run.suite.name)


def _time(row: dict[str, str], name: str) -> float:
    """ValueError where it is no time: nothing of such a table is to be believed."""
    found = float(row[name])
    if not (isfinite(found) and found > 0):
        raise ValueError(f"table.csv has a {name} of {row[name]}")
    return found


def trend(series: Series) -> Trend:
    points = series.points
    logs = np.log([point.step_ms for point in points])
    tenth = len(points) // 10
    drift = float(np.exp(np.median(logs[-tenth:]) - np.median(logs[:tenth])) - 1) if tenth else None
    starts = changes(logs)
    edges = [0, *starts, len(points)]
    levels = [float(np.exp(np.median(logs[a:b]))) for a, b in pairwise(edges)]
    moved = zip(starts, levels, levels[1:], strict=False)
    return Trend(series, drift, tuple((points[at].started, before, after) for at, before, after in moved))


def changes(logs: Sequence[float] | np.ndarray[Any, Any]) -> list[int]:
    """Where the level moves, as indices into the runs: PELT on a piecewise constant mean, by `ruptures`.

    The noise is that of neighbouring differences, 1.4826 MAD / sqrt(2), so that a step does not count as noise.
    """
    values = np.asarray(logs, np.float64)
    if len(values) < 2 * SHORTEST:
        return []
    width = -(-len(values) // MOST)
    binned = np.array([np.median(values[i : i + width]) for i in range(0, len(values), width)])
    if len(binned) < 2 * SHORTEST:
        return []
    steps = np.diff(binned)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / 2**0.5
    variance = max(noise, 1e-4) ** 2  # a series without any noise would change at every rounding
    search = ruptures.KernelCPD(kernel="linear", min_size=SHORTEST).fit(binned.reshape(-1, 1))
    found: list[int] = search.predict(pen=PENALTY * variance * np.log(len(binned)))
    return [width * place for place in found[:-1]]
