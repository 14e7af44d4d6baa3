"""The timed region. It knows only feed, step and fence; what a step computes is none of its business."""

import gc
import resource
from collections.abc import Callable, Iterator
from itertools import islice
from time import perf_counter_ns, process_time_ns
from typing import Any

from msgspec import Struct

Step = Callable[[Any], object]
Fence = Callable[[], None]


class Timing(Struct, frozen=True):
    """One burst: wall and process CPU nanoseconds, and how often the kernel took the core away."""

    wall_ns: int
    cpu_ns: int
    switches: int


def burst(step: Step, feed: Iterator[Any], fence: Fence, *, steps: int) -> Timing:
    """Times `steps` steps between two fences. Nothing but the steps stands between the two readings of the clock."""
    batches = islice(feed, steps)
    fence()
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    cpu = process_time_ns()
    started = perf_counter_ns()
    for batch in batches:
        step(batch)
    fence()
    ended = perf_counter_ns()
    cpu = process_time_ns() - cpu
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
    if ended <= started:
        raise ArithmeticError(f"the clock stepped back by {started - ended} ns during a burst")
    return Timing(ended - started, cpu, switches)


def bursts(
    step: Step,
    feed: Iterator[Any],
    fence: Fence,
    *,
    steps: int,
    count: int,
    between: Callable[[], None] = lambda: None,
) -> list[Timing]:
    """`count` bursts with the garbage collector emptied before and off meanwhile, in every framework alike.

    What survives is set aside: where bursts come one by one, walking a framework's objects again before each would take
    0.05 to 0.13 s and leave the caches to them.

    `between` is called after each, outside the timed region.
    """
    timings = []
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for _ in range(count):
            timings.append(burst(step, feed, fence, steps=steps))
            between()
    finally:
        gc.enable()
    return timings


def seconds(step: Step, feed: Iterator[Any], fence: Fence) -> float:
    """One fenced call, in seconds."""
    return burst(step, feed, fence, steps=1).wall_ns / 1e9


def dispatch_seconds(step: Step, feed: Iterator[Any], fence: Fence, *, steps: int) -> float:
    """Seconds until a call returns, the mean of `steps` calls with nothing queued before them."""
    batches = list(islice(feed, steps))
    fence()
    started = perf_counter_ns()
    for batch in batches:
        step(batch)
    returned = perf_counter_ns()
    fence()
    return (returned - started) / steps / 1e9


def fence_seconds(fence: Fence) -> float:
    """The shortest of 20 fences with nothing to wait for, in seconds."""
    fence()
    costs = []
    for _ in range(20):
        started = perf_counter_ns()
        fence()
        costs.append(perf_counter_ns() - started)
    return min(costs) / 1e9
