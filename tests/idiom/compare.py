"""Is bench's program as fast as a hand-written loop? Both in this one process, in bursts that take turns (ABBA).

`python tests/idiom/compare.py torch mlp --mode compiled --bursts 200` prints JSON. On a busy machine it proves nothing.
"""

import argparse
import gc
import json
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from bench import backends, clock, machine, stats, workloads  # noqa: E402
from bench.program import Settings  # noqa: E402

KERAS = [name for name, row in backends.REGISTRY.items() if row.engine]
FRAMEWORKS = [*backends.NATIVE, *KERAS]  # of which there is a loop by hand
Side = tuple[clock.Step, Iterator[Any], clock.Fence]


def steps_for(side: Side, seconds: float) -> int:
    """As many steps as last that long."""
    steps = 1
    while (taken := clock.burst(*side, steps=steps).wall_ns / 1e9) < seconds:
        steps = max(steps + 1, min(10 * steps, int(1.1 * steps * seconds / taken) + 1))
    return steps


def turns(ours: Side, theirs: Side, *, steps: int, bursts: int) -> tuple[list[float], list[float]]:
    """Microseconds a step of each burst: ours, theirs, theirs, ours, and so on; neither is always the first."""
    times: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    gc.disable()
    for number in range(bursts):
        for who in (0, 1) if number % 2 == 0 else (1, 0):
            times[who].append(clock.burst(*(ours, theirs)[who], steps=steps).wall_ns / steps / 1e3)
    gc.enable()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("framework", choices=FRAMEWORKS)
    parser.add_argument("model", choices=["mlp", "cnn", "resnet50", "gpt"])
    parser.add_argument("--mode", help="by default the framework's first in the registry")
    parser.add_argument("--phase", choices=[*backends.PHASES, "both"], default="both")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--feed", type=int, default=32, help="batches that the steps cycle over")
    parser.add_argument("--bursts", type=int, default=200, help="pairs of bursts a phase")
    parser.add_argument("--milliseconds", type=float, default=50.0, help="the least that a burst takes")
    parser.add_argument("--threads", type=int, default=machine.usable_cores())
    told = parser.parse_args()

    row, workload = backends.get(told.framework), workloads.get(told.model)
    mode = told.mode or row.modes[0]
    layout = row.layouts[0] if workload.has_layout() else "flat"
    if reason := row.why_not(mode=mode, layout=layout, device="cpu"):
        parser.error(reason)
    if row.engine and told.model == "resnet50":
        parser.error("there is no ResNet-50 by hand in Keras: its stock BatchNormalization does other work")
    settings = Settings(mode, "fp32", layout, "cpu", told.threads)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    backend = row.module()
    backend.before_import(settings)
    backend.after_import(settings)  # the threads and the strict arithmetic of the process, for both

    draw = np.random.Generator(np.random.PCG64(1))
    shape = (told.feed * told.batch, *workload.input)
    vocabulary = workload.vocabulary
    x = draw.integers(0, vocabulary, shape, np.int32) if vocabulary else draw.random(shape, np.float32)
    y = draw.integers(0, 10, (len(x), *workload.labels()), dtype=np.int32)
    program = backend.build(workload, settings)
    parts = [slice(i, i + told.batch) for i in range(0, len(x), told.batch)]
    feed = cycle([program.put(x[part], y[part]) for part in parts])
    sys.path.insert(0, str(Path(__file__).parent))
    train, infer, idiom_feed, idiom_fence = import_module(f"{row.folder}_loop").make(told.model, mode, told.batch, x, y)
    pairs = {"train": (program.train, train), "infer": (program.infer, infer)}

    found: dict[str, Any] = {"framework": told.framework, "model": told.model, "mode": mode, "batch": told.batch}
    found["feed"] = told.feed
    found |= {"threads": told.threads, "versions": row.versions(), "bursts": told.bursts}
    # Its first loss and, behind the timing, another one: that the hand-written loop trains at all.
    losses = [] if told.phase == "infer" else [float(train(next(idiom_feed)))]
    for phase in backends.PHASES if told.phase == "both" else (told.phase,):
        sides = ours, theirs = (pairs[phase][0], feed, program.fence), (pairs[phase][1], idiom_feed, idiom_fence)
        for side in sides:
            clock.burst(*side, steps=told.feed + 5)  # compiles, and touches every batch
        steps = max(steps_for(side, told.milliseconds / 1e3) for side in sides)
        times = turns(ours, theirs, steps=steps, bursts=told.bursts)
        ratio, interval = stats.ratio(*times)
        medians = [float(np.median(one)) for one in times]
        found[phase] = {"steps": steps, "bench_us": medians[0], "idiom_us": medians[1], "ratio": ratio}
        found[phase] |= {"interval": interval and list(interval)}
    if losses:
        found["idiom_losses"] = [*losses, float(train(next(idiom_feed)))]
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
