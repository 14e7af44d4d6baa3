"""How often the printed intervals cover what is known: the ratio of a case to itself, and a case's own long-run step.

Real samples: each process is fresh. Two neighbouring rounds of one case are a pair, the earlier one always the base, so
that a machine that drifts shows. Windows of as many pairs as a suite has rounds are disjoint. Shortened protocol.
"""

import signal
import statistics
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise
from math import log
from pathlib import Path

from bench import backends, records, stats
from bench import run as runs
from bench.case import Case
from bench.errors import BenchError
from bench.records import Sample
from bench.selftest.finding import Finding

PAIRS = 6  # in a window, as in a suite of six rounds
WANTED, WINDOWS = 0.93, 60
ROUNDS = 1000
MATRIX = """name = "coverage"
description = "The same cases again and again: neighbouring rounds are a pair whose true ratio is 1."
rounds = {rounds}
[protocol]
warm_up_seconds = 0.3
bursts = 10
ceilings = false
[[matrix]]
workload = ["mlp"]
backend = [{backends}]
phase = ["train", "infer"]
batch = [16, 64]
data = ["synthetic"]
device = ["cpu"]
"""


def collect(folder: Path, seconds: float) -> None:
    """Measures rounds for that long, going on with those that are there."""
    path = folder / "coverage.toml"
    run = _folder(folder)
    told = ["--resume", str(run)] if run.exists() else [str(path), "--out", str(run)]
    installed = [f'"{b.name}"' for b in backends.NATIVE.values() if not b.missing()]
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(MATRIX.format(rounds=ROUNDS, backends=", ".join(installed)))
    with open(folder / "coverage.log", "ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", "run", *told, "--patience", "0"], stdout=sink, stderr=sink
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # not Ctrl-C, which a shell's background job ignores; what is finished is on disk
            code = process.wait(60)
    if code not in (0, -signal.SIGTERM):
        raise BenchError(f"the run of the coverage part ended with {code}: see {folder / 'coverage.log'}")


def _folder(folder: Path) -> Path:
    """Other code is another run."""
    return folder / f"coverage-{runs.commit()}-{runs.harness()}"


def judge(folder: Path) -> list[Finding]:
    """The share of windows whose interval covers 1, over all cases, and for each case."""
    found, _ = records.read(_folder(folder) / "results.jsonl")
    samples: dict[Case, dict[int, list[float]]] = {}
    for record in found:
        if isinstance(record, Sample):
            steps = [ns / record.steps / 1e6 for ns in record.wall_ns]
            samples.setdefault(record.case, {})[record.origin.round] = steps
    return findings({case: dict(sorted(rounds.items())) for case, rounds in samples.items()})


def pairs(rounds: dict[int, float]) -> list[tuple[float, float]]:
    """(candidate, base) of rounds 1 and 0, 3 and 2, ...; the order within a round was drawn before it was measured."""
    return [
        (rounds[second], rounds[first])
        for first, second in pairwise(sorted(rounds))
        if first % 2 == 0 and second == first + 1
    ]


def findings(by_case: dict[Case, dict[int, list[float]]]) -> list[Finding]:
    """`by_case`: for each round the milliseconds a step of each burst."""
    ratios, steps = (0, 0), (0, 0)
    spreads: list[float] = []
    cases: list[Finding] = []
    for case, rounds in by_case.items():
        medians = {number: statistics.median(bursts) for number, bursts in rounds.items()}
        made = pairs(medians)
        windows = [made[i : i + PAIRS] for i in range(0, len(made) - PAIRS + 1, PAIRS)]
        hits = sum(covers(window) for window in windows)
        ratios = ratios[0] + hits, ratios[1] + len(windows)
        inside, tried = own_step(list(rounds.values()))
        steps = steps[0] + inside, steps[1] + tried
        if made:
            spreads.append(spread(made))
            name = f"{case.backend} {case.mode} {case.phase} batch {case.batch}"
            words = f"{hits} of {len(windows)} ratios, {inside} of {tried} steps; pair spread {spreads[-1]:.1%}"
            cases.append(Finding("coverage", name, "for the record", words, "holds"))
    rounds_there = max((len(rounds) for rounds in by_case.values()), default=0)
    seen = f"; {rounds_there} rounds of {len(by_case)} cases, so {rounds_there // (2 * PAIRS)} windows apart in time"
    if spreads:
        seen += f"; pair spread {min(spreads):.1%} to {max(spreads):.1%}"
    wanted = f"at least {WANTED:.0%} on at least {WINDOWS} disjoint windows"
    return [
        _judged("interval of a ratio that is 1", wanted, ratios, seen),
        _judged("interval of a step", f"{wanted}, of a case's median over all its rounds", steps, ""),
        *cases,
    ]


def _judged(name: str, wanted: str, counts: tuple[int, int], seen: str) -> Finding:
    covered, windows = counts
    share = covered / windows if windows else 0.0
    verdict = "not settled" if windows < WINDOWS else "holds" if share >= WANTED else "broken"
    return Finding("coverage", name, wanted, f"{covered} of {windows} windows ({share:.1%}){seen}", verdict)


def own_step(rounds: list[list[float]]) -> tuple[int, int]:
    """Windows of `PAIRS` processes whose bootstrap interval holds the median over all of them, and windows in all."""
    if not rounds:
        return 0, 0
    known = stats.estimate(rounds)
    windows = [rounds[i : i + PAIRS] for i in range(0, len(rounds) - PAIRS + 1, PAIRS)]
    intervals = [interval for window in windows if (interval := stats.bootstrap(window))]
    return sum(low <= known <= high for low, high in intervals), len(intervals)


def covers(window: Iterable[tuple[float, float]]) -> bool:
    candidate, base = zip(*window, strict=True)
    _, interval = stats.ratio(candidate, base)
    return interval is not None and interval[0] <= 1 <= interval[1]


def spread(made: list[tuple[float, float]]) -> float:
    """The pairs' standard deviation in logarithms, from their median absolute deviation."""
    logs = [log(candidate / base) for candidate, base in made]
    middle = statistics.median(logs)
    return 1.4826 * statistics.median(abs(value - middle) for value in logs)
