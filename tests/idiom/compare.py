"""A built program against a hand-written loop in the same process, bursts in turn (ABBA); prints one JSON line.

    python tests/idiom/compare.py torch mlp --bursts 200

Run it from the repository's root on a quiet machine. Not a test: it asserts nothing.
"""

import argparse
import json
import sys
from importlib import import_module
from itertools import cycle
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench import backends, clock, stats, workloads
from bench.machine import usable_cores
from bench.program import Settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("backend")
    parser.add_argument("workload", choices=("mlp", "cnn"))
    parser.add_argument("--bursts", type=int, default=200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.05)
    asked = parser.parse_args()
    row, workload, threads = backends.get(asked.backend), workloads.get(asked.workload), usable_cores()
    layout = row.layouts[0] if workload.has_layout() else "flat"
    settings = Settings(row.modes[0], "fp32", layout, "cpu", threads)
    row.module().before_import(settings)
    row.module().after_import(settings)
    draw = np.random.default_rng(0)
    x = draw.random((asked.batch, *workload.input), np.float32)
    y = draw.integers(0, 10, asked.batch).astype(np.int32)
    program = row.module().build(workload, settings)
    batch = program.put(x, y)
    loop = import_module(f"{asked.backend}_loop").make(asked.workload, asked.batch, x, y, threads)
    for phase in ("train", "infer"):
        ours = (program.train if phase == "train" else program.infer, cycle([batch]), program.fence)
        theirs_step = loop[0] if phase == "train" else loop[1]
        theirs = (lambda _, step=theirs_step: step(), cycle([None]), loop[2])
        found = measure(ours, theirs, asked.bursts, asked.seconds)
        print(json.dumps({"backend": asked.backend, "workload": asked.workload, "phase": phase, **found}), flush=True)


def measure(ours, theirs, bursts, seconds):
    for arm in (ours, theirs):
        clock.burst(*arm, steps=50)
    once = min(clock.burst(*theirs, steps=10).wall_ns for _ in range(5)) / 10
    steps = max(1, round(seconds * 1e9 / once))
    times = {"ours": [], "theirs": []}
    for number in range(bursts):
        order = [("ours", ours), ("theirs", theirs)]
        for name, arm in order if number % 2 else reversed(order):
            times[name].append(clock.burst(*arm, steps=steps).wall_ns / steps / 1e3)
    ratio, interval = stats.ratio(times["ours"], times["theirs"])
    return {
        "steps_per_burst": steps,
        "ours_us": round(float(np.median(times["ours"])), 2),
        "theirs_us": round(float(np.median(times["theirs"])), 2),
        "ratio": round(ratio, 4),
        "interval": [round(x, 4) for x in interval or ()],
        "pairs": bursts,
    }


if __name__ == "__main__":
    main()
