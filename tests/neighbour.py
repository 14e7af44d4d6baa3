"""What a busy neighbour does to the table, and what helps: fewer threads, passive waiting, waiting for quiet, marking.

A script, not a test module: `python tests/neighbour.py --out FOLDER` runs one suite under five conditions, each with
as many threads as cores and with one fewer, and writes FOLDER/table.md. Some fifteen minutes on two cores.
"""

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from tabulate import tabulate

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench import machine  # noqa: E402  (the checkout's own, whatever is installed)
from bench import run as runs  # noqa: E402

SUITE = """name = "neighbour"
rounds = 6
[protocol]
warm_up_seconds = 0.3
bursts = 10
ceilings = false
[[matrix]]
workload = ["mlp"]
backend = ["torch", "tensorflow", "jax"]
phase = ["train"]
data = ["synthetic"]
device = ["cpu"]
threads = [{threads}]
"""
BUSY = "while True: pass"
ON_AND_OFF = """
import time
while True:
    until = time.monotonic() + 10
    while time.monotonic() < until: pass
    time.sleep(10)
"""


class Condition(Struct, frozen=True):
    """`neighbour`: what another process does meanwhile; `patience`: seconds that the run may wait for quiet."""

    name: str
    neighbour: str = ""
    patience: int = 0
    environment: dict[str, str] = {}


CONDITIONS = (
    Condition("quiet"),
    Condition("one core busy", BUSY),
    Condition("one core busy, OpenMP waits passively", BUSY, 0, {"OMP_WAIT_POLICY": "passive"}),
    Condition("busy 10 s, idle 10 s", ON_AND_OFF),
    Condition("busy 10 s, idle 10 s, waiting for quiet", ON_AND_OFF, 600),
)


@contextmanager
def beside(neighbour: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", neighbour]) if neighbour else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def measure(condition: Condition, folder: Path) -> list[dict[str, str]]:
    """The rows of the condition's table.csv; measured once, then read."""
    out = folder / condition.name.replace(" ", "-").replace(",", "")
    if not (out / "table.csv").exists():
        cores = machine.usable_cores()
        suite = folder / "neighbour.toml"
        suite.write_text(SUITE.format(threads=", ".join(map(str, sorted({max(1, cores - 1), cores})))))
        told = ["run", str(suite), "--out", str(out), "--patience", str(condition.patience)]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with beside(condition.neighbour), open(f"{out}.log", "ab") as log:
            environment = os.environ | condition.environment | {"PYTHONPATH": path}
            subprocess.run([sys.executable, "-m", "bench", *told], env=environment, stdout=log, stderr=log, check=False)
    with open(out / "table.csv", newline="") as file:
        return list(csv.DictReader(file))


def table(found: dict[str, list[dict[str, str]]]) -> str:
    """A line for each condition, workload and number of threads: milliseconds a step of each backend."""
    lines = []
    for condition, rows in found.items():
        for workload, threads in sorted({(row["workload"], row["threads"]) for row in rows}, reverse=True):
            own = [r for r in rows if (r["workload"], r["threads"]) == (workload, threads) and r["step_ms"]]
            best = min(own, key=lambda row: float(row["step_ms"]), default=None)
            cells = [f"{float(r['step_ms']):.3g} {r['status']}" for r in own]
            seen = max((float(r["others_cores"] or 0) for r in own), default=0.0)
            lines.append([condition, workload, threads, *cells, best["backend"] if best else "-", f"{seen:.2f}"])
    names = sorted(
        {row["backend"] for rows in found.values() for row in rows}, key=["torch", "tensorflow", "jax"].index
    )
    head = ["condition", "workload", "threads", *(f"{name} ms" for name in names), "least", "others' cores seen"]
    return tabulate(lines, head, tablefmt="pipe", disable_numparse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    folder = parser.parse_args().out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for condition in CONDITIONS:
        found[condition.name] = measure(condition, folder)
        here = machine.read()
        head = f"# A busy neighbour\n\n{here.cpu}, {here.cores} of {here.cores_present} cores; commit {runs.commit()}."
        (folder / "table.md").write_text(f"{head}\n\n{table(found)}\n")
        print(condition.name, flush=True)


if __name__ == "__main__":
    main()
