"""What pytest-benchmark, pyperf and asv say of the same processes as the gate, each asked through its own code.

A script, not a test module: `python tests/rivals.py GATE_RATES_FOLDER --out FILE`, in Stepwatch's environment with
pyperf and asv installed too. It reads the pairs of identical arms that `stepwatch selftest --gate` has collected.
Each trial is what a team does: a base measured in ten processes, and afterwards the candidate in ten more. The gate has
the pairs of the same time. The code is the same, so whoever alarms is wrong; with `--effect 0.1` every candidate's time
is made a tenth longer, and whoever is silent is blind.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from math import log1p
from pathlib import Path
from statistics import fmean, median, stdev

from msgspec import Struct
from tabulate import tabulate

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench import gate, machine, pairs  # noqa: E402  (the checkout's own, whatever is installed)
from bench import run as runs  # noqa: E402
from bench.pairs import Pair  # noqa: E402

MANY = gate.FIRST[0]
Processes = list[list[float]]  # seconds a step, by process and burst


class Trial(Struct, frozen=True):
    """The same code twice: `base` and `candidate` one after the other, `logs` the gate's pairs over the same time."""

    base: Processes
    candidate: Processes
    logs: tuple[float, ...]


def trials(folder: Path, effect: float) -> Iterator[Trial]:
    """Disjoint windows of twenty pairs of one step: ten bases of the first half, ten candidates of the second."""
    found = sorted((r for r in pairs.read_lines(folder / "pairs.jsonl") if isinstance(r, Pair)), key=lambda p: p.number)
    for at in range(0, len(found) - 2 * MANY + 1, 2 * MANY):
        window = found[at : at + 2 * MANY]
        base = [[ns / p.steps / 1e9 for ns in p.base.wall_ns] for p in window[:MANY]]
        candidate = [[(1 + effect) * ns / p.steps / 1e9 for ns in p.candidate.wall_ns] for p in window[MANY:]]
        yield Trial(base, candidate, tuple(p.log_ratio + log1p(effect) for p in window))


def stepwatch(trial: Trial) -> bool:
    """FAIL on the first ten pairs, and on the rest where they are suspicious: ten here, where a gate takes sixteen."""
    first = gate.Cell("", trial.logs[:MANY])
    if not gate.suspicious(first):
        return False
    needed = round(gate.SECOND[7][1] / gate.SECOND[7][0] * MANY + 0.5)
    return sum(d > log1p(gate.MARGIN) for d in trial.logs[MANY:]) >= needed


def pytest_benchmark(limit: str) -> Callable[[Trial], bool]:
    """One process each, as `pytest --benchmark-compare-fail` has: its own check of its own statistics."""
    from pytest_benchmark.stats import Stats
    from pytest_benchmark.utils import parse_compare_fail

    check = parse_compare_fail(limit)

    def flagged(trial: Trial) -> bool:
        made = []
        for process in (trial.base[0], trial.candidate[0]):
            stats = Stats()
            for seconds in process:
                stats.update(seconds)
            made.append({check.field: getattr(stats, check.field)})
        return bool(check.fails(made[1], made[0]))

    return flagged


def pyperf(trial: Trial) -> bool:
    """`pyperf compare_to`: slower, and not called insignificant by its t-test."""
    import pyperf as tool

    with tempfile.TemporaryDirectory() as folder:
        names = []
        for name, processes in (("base", trial.base), ("candidate", trial.candidate)):
            told = {"name": "step", "unit": "second"}
            made = [tool.Run(p, metadata=told, collect_metadata=False) for p in processes]
            names.append(f"{folder}/{name}.json")
            tool.Benchmark(made).dump(names[-1])
        command = [sys.executable, "-m", "pyperf", "compare_to", *names]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "slower" in said and "not significant" not in said.lower()


def asv(trial: Trial) -> bool:
    """`asv continuous` at its defaults: over 1.1 times as long, and different by its Mann-Whitney test."""
    from asv.commands.compare import _is_result_better
    from asv_runner.statistics import compute_stats

    base, candidate = ([seconds for process in p for seconds in process] for p in (trial.base, trial.candidate))
    one, two = compute_stats(base, 1)[1], compute_stats(candidate, 1)[1]
    args = (median(base), median(candidate), (one, base), (two, candidate), 1.1)
    return bool(_is_result_better(*args, use_stats=True))


def ratio_of_means(trial: Trial) -> bool:
    """github-action-benchmark's rule of thumb is a ratio of means; with 10 % in place of its 200 %."""
    base, candidate = (fmean(median(p) for p in processes) for processes in (trial.base, trial.candidate))
    return candidate > 1.1 * base


def rules() -> dict[str, Callable[[Trial], bool]]:
    return {
        "stepwatch gate (10 + 10 pairs)": stepwatch,
        "pytest-benchmark median:5%": pytest_benchmark("median:5%"),
        "pytest-benchmark median:10%": pytest_benchmark("median:10%"),
        "pyperf compare_to": pyperf,
        "asv continuous (factor 1.1)": asv,
        "mean over 10 processes, 10 %": ratio_of_means,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--effect", type=float, action="append", default=[])
    options.add_argument("--out", type=Path, required=True)
    asked = options.parse_args()
    effects = asked.effect or [0.0, 0.1]
    rows = []
    for state in ("idle", "neighbour"):
        folders = sorted((asked.folder / state).glob("*/*-0"))
        if not folders:
            continue  # nothing was collected in that state
        for name, rule in rules().items():
            counts = []
            for effect in effects:
                seen = [rule(trial) for folder in folders for trial in trials(folder, effect)]
                counts.append(f"{sum(seen)} of {len(seen)}")
            rows.append([state, name, *counts])
            print(*rows[-1], file=sys.stderr, flush=True)
    here = machine.read()
    head = ("machine", "who is asked", *("identical code" if not e else f"{e:.0%} slower" for e in effects))
    spread = stdev([log for folder in asked.folder.glob("*/*/*-0") for t in trials(folder, 0.0) for log in t.logs])
    text = (
        "# Who calls the same code slower\n\n"
        f"{tabulate(rows, head, tablefmt='pipe')}\n\n"
        "Each trial: ten processes of the base, then ten of the candidate, the same code. The pairs' standard "
        f"deviation is {spread:.1%}. {here.cpu}, {here.cores} cores; commit {runs.commit()}.\n"
    )
    asked.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
