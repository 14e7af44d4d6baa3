"""Ceilings: the best matrix-product rate and copy bandwidth that an adapter reaches with the smallest of workloads."""

import statistics
from itertools import repeat

import numpy as np
from msgspec.structs import replace

from bench import clock
from bench.backends import ITEM_BYTES
from bench.layers import Dense, ReLU
from bench.messages import Measured
from bench.program import BackendModule, Settings
from bench.workload import SGD, Workload

BURSTS = 5
BURST_SECONDS = 0.05
# Sides of the square products, of which the fastest counts, and mebibytes that are read and as many written.
SIDES = {"cpu": (512, 1024), "gpu": (2048, 4096, 8192, 16384)}
MEBIBYTES = {"cpu": 64, "gpu": 1024}
MOST_PRODUCTS = 1000
MOST_STEPS = 8  # of a copy whose outputs are all alive until the fence
WIDTH = 4096  # features of one sample in a copy


def measure(backend: BackendModule, settings: Settings) -> Measured:
    """Inference with one Dense as wide as its batch, and with one ReLU on more memory than caches hold."""
    flat = replace(settings, layout="flat")
    products = []
    for side in SIDES[settings.device]:
        square = Workload("product", "", (side,), side, (Dense(side),), SGD(0.0))
        amount = side * square.flops_per_sample("infer")
        products.append(_rates(backend, flat, square, side, amount, most=MOST_PRODUCTS))
    stream = Workload("copy", "", (WIDTH,), WIDTH, (ReLU(),), SGD(0.0))
    item = ITEM_BYTES[settings.precision]
    samples = MEBIBYTES[settings.device] * 2**20 // (WIDTH * item)
    copies = _rates(backend, flat, stream, samples, stream.bytes_per_step("infer", samples, item), most=MOST_STEPS)
    return Measured(_best(products), tuple(copies))


def _best(tried: list[list[float]]) -> tuple[float, ...]:
    return tuple(max(tried, key=statistics.median))


def _rates(
    backend: BackendModule, settings: Settings, workload: Workload, batch: int, amount: int, *, most: int
) -> list[float]:
    """`amount` over the seconds of a step, for each of `BURSTS` bursts."""
    program = backend.build(workload, settings)
    feed = repeat(program.put(np.ones((batch, *workload.input), np.float32), np.zeros(batch, np.int32)))
    clock.seconds(program.infer, feed, program.fence)
    once = clock.seconds(program.infer, feed, program.fence)
    steps = min(most, max(1, round(BURST_SECONDS / once)))
    timings = clock.bursts(program.infer, feed, program.fence, steps=steps, count=BURSTS)
    return [amount * steps / (timing.wall_ns / 1e9) for timing in timings]
