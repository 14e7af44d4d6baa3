"""How often the printed interval of a ratio covers a ratio that is known: the same case twice, which is 1.

Real samples: each process is fresh; two neighbouring rounds of one case are a pair, and which of them is called the
candidate is drawn. Windows of as many pairs as a suite has rounds are disjoint. The protocol is shortened.
"""

import random
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise
from math import log
from pathlib import Path

from bench import backends, records, stats
from bench.errors import BenchError
from bench.records import Case, Sample
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
    run = folder / "coverage"
    told = ["--resume", str(run)] if run.exists() else [str(path), "--out", str(run), "--patience", "0"]
    installed = [f'"{b.name}"' for b in backends.REGISTRY.values() if b.packages and not b.missing()]
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(MATRIX.format(rounds=ROUNDS, backends=", ".join(installed)))
    with open(folder / "coverage.log", "ab") as sink:
        process = subprocess.Popen([sys.executable, "-m", "bench", "run", *told], stdout=sink, stderr=sink)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
    if code not in (0, 130):
        raise BenchError(f"the run of the coverage part ended with {code}: see {folder / 'coverage.log'}")


def judge(folder: Path) -> list[Finding]:
    """The share of windows whose interval covers 1, over all cases, and for each case."""
    found, _ = records.read(folder / "coverage" / "results.jsonl")
    samples: dict[Case, dict[int, float]] = {}
    for record in found:
        if isinstance(record, Sample):
            step = statistics.median(record.wall_ns) / record.steps
            samples.setdefault(record.case, {})[record.origin.round] = step
    return findings({case: pairs(rounds) for case, rounds in samples.items()})


def pairs(rounds: dict[int, float]) -> list[tuple[float, float]]:
    """(candidate, base) of rounds 0 and 1, 2 and 3, ...: which is which is drawn, by the round's number."""
    made = []
    for first, second in pairwise(sorted(rounds)):
        if first % 2 == 0 and second == first + 1:
            two = (rounds[first], rounds[second])
            made.append(two if random.Random(first).random() < 0.5 else two[::-1])
    return made


def findings(by_case: dict[Case, list[tuple[float, float]]]) -> list[Finding]:
    cases, covered, all_windows = [], 0, 0
    spreads = []
    for case, made in by_case.items():
        windows = [made[i : i + PAIRS] for i in range(0, len(made) - PAIRS + 1, PAIRS)]
        hits = sum(covers(window) for window in windows)
        covered, all_windows = covered + hits, all_windows + len(windows)
        if made:
            spreads.append(spread(made))
            name = f"{case.backend} {case.mode} {case.phase} batch {case.batch}"
            words = f"{hits} of {len(windows)} windows; pair spread {spreads[-1]:.1%}"
            cases.append(Finding("coverage", name, "for the record", words, "holds"))
    enough = all_windows >= WINDOWS
    share = covered / all_windows if all_windows else 0.0
    wanted = f"at least {WANTED:.0%} on at least {WINDOWS} disjoint windows"
    words = f"{covered} of {all_windows} windows of {PAIRS} pairs ({share:.1%})"
    if spreads:
        words += f"; pair spread {min(spreads):.1%} to {max(spreads):.1%}"
    verdict = "not settled" if not enough else "holds" if share >= WANTED else "broken"
    return [Finding("coverage", "interval of a ratio that is 1", wanted, words, verdict), *cases]


def covers(window: Iterable[tuple[float, float]]) -> bool:
    candidate, base = zip(*window, strict=True)
    _, interval = stats.ratio(candidate, base)
    return interval is not None and interval[0] <= 1 <= interval[1]


def spread(made: list[tuple[float, float]]) -> float:
    """The pairs' standard deviation in logarithms, from their median absolute deviation."""
    logs = [log(candidate / base) for candidate, base in made]
    middle = statistics.median(logs)
    return 1.4826 * statistics.median(abs(value - middle) for value in logs)
