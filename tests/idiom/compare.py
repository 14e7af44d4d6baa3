"""Is bench's program as fast as a hand-written loop? Both in this one process, in bursts that take turns (ABBA).

`python tests/idiom/compare.py torch mlp --bursts 200` prints JSON. On a busy machine it proves nothing.
"""

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import cycle
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from bench import backends, machine, stats, workloads  # noqa: E402
from bench.program import Settings  # noqa: E402

MODES = {"torch": "eager", "tensorflow": "graph", "jax": "compiled"}
FEED = 32
Call = Callable[[], Any]


def burst(call: Call, fence: Callable[[], None], steps: int) -> float:
    """Seconds of `steps` calls between two fences: the same few lines for both."""
    fence()
    started = perf_counter_ns()
    for _ in range(steps):
        call()
    fence()
    return (perf_counter_ns() - started) / 1e9


def steps_for(call: Call, fence: Callable[[], None], seconds: float) -> int:
    """As many calls as last that long."""
    steps = 1
    while (taken := burst(call, fence, steps)) < seconds:
        steps = max(steps + 1, min(10 * steps, int(1.1 * steps * seconds / taken) + 1))
    return steps


def turns(
    ours: tuple[Call, Any], theirs: tuple[Call, Any], *, steps: int, bursts: int
) -> tuple[list[float], list[float]]:
    """Microseconds a step of each burst: ours, theirs, theirs, ours, and so on; neither is always the first."""
    times: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    gc.disable()
    for number in range(bursts):
        for who in (0, 1) if number % 2 == 0 else (1, 0):
            call, fence = (ours, theirs)[who]
            times[who].append(burst(call, fence, steps) / steps * 1e6)
    gc.enable()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("framework", choices=MODES)
    parser.add_argument("model", choices=["mlp", "cnn"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--bursts", type=int, default=200, help="pairs of bursts a phase")
    parser.add_argument("--milliseconds", type=float, default=50.0, help="the least that a burst takes")
    parser.add_argument("--threads", type=int, default=machine.usable_cores())
    told = parser.parse_args()

    row, workload = backends.get(told.framework), workloads.get(told.model)
    layout = row.layouts[0] if workload.has_layout() else "flat"
    settings = Settings(MODES[told.framework], "fp32", layout, "cpu", told.threads)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    backend = row.module()
    backend.before_import(settings)
    backend.after_import(settings)  # the threads and the strict arithmetic of the process, for both

    draw = np.random.Generator(np.random.PCG64(1))
    x = draw.random((FEED * told.batch, *workload.input), np.float32)
    y = draw.integers(0, 10, len(x), dtype=np.int32)
    program = backend.build(workload, settings)
    parts = [slice(i, i + told.batch) for i in range(0, len(x), told.batch)]
    feed = cycle([program.put(x[part], y[part]) for part in parts])
    sys.path.insert(0, str(Path(__file__).parent))
    step, infer, fence = import_module(f"{told.framework}_loop").make(told.model, told.batch, x, y)

    found: dict[str, Any] = {"framework": told.framework, "model": told.model, "batch": told.batch}
    found |= {"threads": told.threads, "versions": row.versions(), "bursts": told.bursts}
    losses = [float(step())]  # that the hand-written loop trains at all
    pairs = {
        "train": (lambda: program.train(next(feed)), step),
        "infer": (lambda: program.infer(next(feed)), infer),
    }
    for phase, (bench_call, idiom_call) in pairs.items():
        ours, theirs = (bench_call, program.fence), (idiom_call, fence)
        for call, wait in (ours, theirs):
            burst(call, wait, FEED + 5)  # compiles, and touches every batch
        steps = max(steps_for(call, wait, told.milliseconds / 1e3) for call, wait in (ours, theirs))
        times = turns(ours, theirs, steps=steps, bursts=told.bursts)
        ratio, interval = stats.ratio(*times)
        medians = [float(np.median(one)) for one in times]
        found[phase] = {"steps": steps, "bench_us": medians[0], "idiom_us": medians[1], "ratio": ratio}
        found[phase] |= {"interval": interval and list(interval)}
    found["idiom_losses"] = [*losses, float(step())]
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
