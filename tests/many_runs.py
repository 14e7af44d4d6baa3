"""How long `stepwatch history` takes over many runs, and how much memory: made-up runs, the real command.

`python tests/many_runs.py --runs 10000 --out results/reference/history-2core` writes table.md there.
"""

import argparse
import csv
import io
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import msgspec
from msgspec.structs import replace

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from test_table import CASE, rounds_of, run_of  # noqa: E402

from bench import machine, run, table  # noqa: E402
from bench.records import latest  # noqa: E402
from bench.reports import csv as tables  # noqa: E402

CASES = 20


def make(folder: Path, count: int) -> None:
    """So many runs of 20 cases, their times drawn; the files are those that a run writes."""
    cases = [replace(CASE, batch=2**n) for n in range(CASES)]
    made = run_of(*cases)
    records = [r for case in cases for r in rounds_of(case, *(2.0,) * 6)]
    text = tables.render(table.report(made, latest(records), None))
    head, *rows = list(csv.reader(io.StringIO(text)))
    places = [head.index(name) for name in ("step_ms", "step_ms_low", "step_ms_high")]
    draw = random.Random(1)
    for number in range(count):
        path = folder / f"run-{number:06}"
        path.mkdir()
        started = (
            f"{2020 + number // 4000}-{1 + number // 336 % 12:02}-{1 + number // 12 % 28:02}T{number % 12:02}:00:00Z"
        )
        (path / "run.json").write_bytes(msgspec.json.encode(replace(made, started=started)))
        for row in rows:
            ms = (2.0 if number < 0.7 * count else 2.1) * draw.lognormvariate(0, 0.03)
            for place, scale in zip(places, (1, 0.98, 1.02), strict=True):
                row[place] = f"{ms * scale:.6g}"
        with open(path / "table.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    lines = []
    for count in told.runs:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), count)
            began = perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "bench", "history", folder],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
            seconds = perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        found = sum("%)" in line for line in done.stdout.splitlines())
        lines.append(f"| {count:,} | {CASES} | {seconds:.1f} | {peak:.0f} | {found} of {CASES} |")
    here = machine.read()
    told.out.mkdir(parents=True, exist_ok=True)
    (told.out / "table.md").write_text(
        "# History over many runs\n\nMade-up runs, one step of 5 % in noise of 3 %, read by `stepwatch history`.\n\n"
        "| runs | cases | seconds | peak MiB so far | steps found |\n|---:|---:|---:|---:|---:|\n"
        + "\n".join(lines)
        + f"\n\n{here.cpu}, {here.cores} cores; commit {run.commit()}.\n"
    )


if __name__ == "__main__":
    main()
