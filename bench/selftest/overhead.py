"""What the harness itself costs: the clock on the null backend, the parent beside a worker, a suite over its floor."""

import csv
import subprocess
import sys
from pathlib import Path

from bench import records
from bench import run as runs
from bench.errors import BenchError
from bench.records import Session
from bench.selftest.finding import Finding

STEP_US, BURST_US, PARENT, FLOOR = 0.5, 5.0, 0.01, 1.10


def command(*arguments: str, log: Path) -> int:
    """`stepwatch ARGUMENTS` in a process of its own; what it prints is kept in `log`."""
    with open(log, "ab") as sink:
        return subprocess.run([sys.executable, "-m", "bench", *arguments], stdout=sink, stderr=sink).returncode


def run(suite: str, folder: Path) -> Path:
    """A shipped suite's run in `folder`, begun, or gone on with where it stopped."""
    folder = folder.with_name(f"{folder.name}-{runs.commit()}-{runs.harness()}")  # other code is another run
    told = ("--resume", str(folder)) if folder.exists() else (suite, "--out", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    if code := command("run", *told, log=folder.with_suffix(".log")):
        raise BenchError(f"the suite {suite} ended with exit code {code}: see {folder.with_suffix('.log')}")
    return folder


def null(folder: Path) -> list[Finding]:
    """A step, and a burst of one step, of a backend that does nothing."""
    with open(run("null", folder / "null") / "table.csv", newline="") as file:
        rows = {(row["phase"], row["measure"]): float(row["step_ms"]) * 1e3 for row in csv.DictReader(file)}
    step = max(us for (_, measure), us in rows.items() if measure == "throughput")
    burst = max(us for (_, measure), us in rows.items() if measure == "latency")
    return [
        _finding("null step", f"at most {STEP_US:g} us", f"{step:.3f} us", step <= STEP_US),
        _finding("null burst", f"at most {BURST_US:g} us", f"{burst:.3f} us", burst <= BURST_US),
    ]


def quick(folder: Path) -> list[Finding]:
    """The parent's share of a core while workers measure, and the time of the whole suite over its floor."""
    found, _ = records.read(run("quick", folder / "quick") / "results.jsonl")
    sessions = [record for record in found if isinstance(record, Session)]
    if not sessions:
        raise BenchError(f"{folder / 'quick'} holds no session: remove it and measure again")
    # The longest: one that was interrupted, or that only went on, says little of a whole suite.
    session = max(sessions, key=lambda one: one.seconds)
    parent = session.parent_cpu_seconds / max(session.measuring_seconds, 1e-9)
    floor = max(sum(session.stages.values()), 1e-9)
    over = (session.seconds - session.waited_seconds) / floor
    words = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in session.stages.items())
    return [
        _finding("parent", f"under {PARENT:.0%} of a core", f"{parent:.2%} of a core", parent < PARENT),
        _finding(
            "suite over its floor",
            f"at most {FLOOR:.2f}",
            f"{over:.3f}: {session.seconds:.0f} s, of which {session.waited_seconds:.0f} waiting; floor {floor:.0f} s "
            f"({words})",
            over <= FLOOR,
        ),
    ]


def _finding(name: str, wanted: str, found: str, holds: bool) -> Finding:
    return Finding("overhead", name, wanted, found, "holds" if holds else "broken")
