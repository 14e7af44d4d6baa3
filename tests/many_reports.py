"""How long `stepwatch report` takes over one run and over many, and how much memory: made-up runs, the real command.

`python tests/many_reports.py --runs 1 1000 --out results/reference/report-2core` writes table.md there.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import msgspec
import psutil
from msgspec.structs import replace

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from test_table import CASE, pilot, proof, run_of, sample  # noqa: E402

from bench import machine, run  # noqa: E402

CASES, ROUNDS, BURSTS = 20, 6, 20
PRICE = ("--price-per-hour", "0.8")


def make(folder: Path, count: int) -> None:
    """So many runs of 20 cases in six rounds of 20 bursts, every one with times of its own."""
    cases = [replace(CASE, batch=2**n) for n in range(CASES)]
    made = run_of(*cases, rounds=ROUNDS)
    draw = random.Random(1)
    for number in range(count):
        path = folder / f"run-{number:06}"
        path.mkdir()
        started = f"2026-{1 + number // 28 % 12:02}-{1 + number % 28:02}T{number // 336:02}:00:00Z"
        (path / "run.json").write_bytes(msgspec.json.encode(replace(made, started=started)))
        records = [proof(CASE)]
        for case in cases:
            records.append(pilot(case))
            for process in range(ROUNDS):
                level = 2 * draw.lognormvariate(0, 0.02)
                bursts = [level * draw.lognormvariate(0, 0.02) for _ in range(BURSTS)]
                records.append(sample(case, process, bursts))
        (path / "results.jsonl").write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in records))


def measured(arguments: list[str]) -> tuple[float, float, int]:
    """Seconds and peak MiB of one command, and how many bytes it printed."""
    began, peak = perf_counter(), 0
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments], stdout=out, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak = max(peak, watched.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
        if process.wait():
            raise SystemExit(f"exit code {process.returncode}: {arguments[:3]}")
        return perf_counter() - began, peak / 2**20, out.seek(0, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--format", nargs="+", default=["markdown", "csv"])
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    empty, _, _ = measured(["list"])
    lines = []
    for count in told.runs:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), count)
            runs = [str(path) for path in sorted(Path(folder).iterdir())]
            for format in told.format:
                seconds, peak, size = measured(["report", *runs, "--format", format, *PRICE])
                lines.append(f"| {count:,} | {CASES} | {format} | {seconds:.1f} | {peak:.0f} | {size / 2**20:.2f} |")
                print(lines[-1], file=sys.stderr, flush=True)
    here = machine.read()
    told.out.mkdir(parents=True, exist_ok=True)
    (told.out / "table.md").write_text(
        "# Reports over many runs\n\n"
        f"Made-up runs of {CASES} cases, {ROUNDS} rounds, {BURSTS} bursts, by `stepwatch report`, imports included "
        f"(`stepwatch list` alone: {empty:.1f} s).\n\n"
        "| runs | cases | format | seconds | peak MiB | MiB printed |\n|---:|---:|:---|---:|---:|---:|\n"
        + "\n".join(lines)
        + f"\n\n{here.cpu}, {here.cores} cores; commit {run.commit()}.\n"
    )


if __name__ == "__main__":
    main()
