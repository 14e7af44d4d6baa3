"""Ceilings: the best matrix-product rate and copy bandwidth that an adapter reaches with the smallest of workloads."""

import statistics
from itertools import repeat
from math import inf
from pathlib import Path

import numpy as np
import psutil
from msgspec import Struct
from msgspec.structs import replace

from bench import clock, sensors
from bench.backends import ITEM_BYTES
from bench.layers import Dense, ReLU
from bench.messages import Measured
from bench.program import BackendModule, Settings
from bench.workload import SGD, Workload

BURSTS = 5
BURST_SECONDS = 0.05
SIDES = {"cpu": (512, 1024), "gpu": (2048, 4096, 8192)}  # of the square products, of which the fastest counts
# Mebibytes that are read and as many written: on a CPU twice its largest cache between these two, where there is room.
MEBIBYTES = {"cpu": (64, 512), "gpu": (1024, 1024)}
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
GROUP = Path("/sys/fs/cgroup")
ROOM = 16  # of the memory that is free, a copy reads one part in so many
MOST_PRODUCTS = 1000
MOST_STEPS = 8  # of a copy whose outputs are all alive until the fence
WIDTH = 4096  # features of one sample in a copy


def measure(backend: BackendModule, settings: Settings) -> Measured:
    """Inference with one Dense as wide as its batch, and with one ReLU on more memory than caches hold."""
    before = sensors.read_family()  # a compiler that it starts is its own
    flat = replace(settings, layout="flat", steps_per_call=1)
    products = []
    for side in SIDES[settings.device]:
        square = Workload("product", "", (side,), side, (Dense(side),), SGD(0.0))
        amount = side * square.flops_per_sample("infer")
        products.append(_rates(backend, flat, square, side, amount, most=MOST_PRODUCTS))
    stream = Workload("copy", "", (WIDTH,), WIDTH, (ReLU(),), SGD(0.0))
    # What a copy moves is as wide as what it is given, float32, wherever products are coarser than that.
    plain = replace(flat, precision="fp64" if flat.precision == "fp64" else "fp32")
    item = ITEM_BYTES[plain.precision]
    samples = mebibytes(settings.device) * 2**20 // (WIDTH * item)
    copy = _rates(backend, plain, stream, samples, stream.bytes_per_step("infer", samples, item), most=MOST_STEPS)
    product = _best(products)
    return Measured(product.rates, copy.rates, product.cores, sensors.others((before, sensors.read_family())))


class Rates(Struct, frozen=True):
    """`rates`: an amount a second, for each burst; `cores`: CPU time over time, the median of the bursts."""

    rates: tuple[float, ...]
    cores: float


def _best(tried: list[Rates]) -> Rates:
    return max(tried, key=lambda one: statistics.median(one.rates))


def mebibytes(device: str) -> int:
    """How much a copy reads, so that caches do not hold it. A cache that the system does not tell counts as none."""
    least, most = MEBIBYTES[device]
    texts = [path.read_text().strip() for path in CACHES.glob("index*/size")]
    sizes = [int(text[:-1]) / 1024 for text in texts if text.endswith("K")]
    free = min(psutil.virtual_memory().available, _allowed())
    return int(max(least, min(most, 2 * max(sizes, default=0.0), free / 2**20 / ROOM)))


def _allowed() -> float:
    """Bytes that a container's limit leaves, of which the system's own count knows nothing; infinite without one."""
    try:
        limit, used = ((GROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return inf
    return float(int(limit) - int(used)) if limit.isdigit() else inf


def _rates(
    backend: BackendModule, settings: Settings, workload: Workload, batch: int, amount: int, *, most: int
) -> Rates:
    """`amount` over the seconds of a step, for each of `BURSTS` bursts."""
    program = backend.build(workload, settings)
    feed = repeat(program.put(np.ones((batch, *workload.input), np.float32), np.zeros(batch, np.int32)))
    clock.seconds(program.infer, feed, program.fence)
    once = clock.seconds(program.infer, feed, program.fence)
    steps = min(most, max(1, round(BURST_SECONDS / once)))
    timings = clock.bursts(program.infer, feed, program.fence, steps=steps, count=BURSTS)
    cores = statistics.median(timing.cpu_ns / timing.wall_ns for timing in timings)
    return Rates(tuple(amount * steps / (timing.wall_ns / 1e9) for timing in timings), cores)
