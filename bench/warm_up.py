"""Warm-up, detected and not assumed: the first calls timed apart, then steps until nothing compiles any more."""

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any

from msgspec import Struct

from bench import clock

QUIET_STEPS = 5  # as many steps in a row must pass without a compilation
LONGER = 1.05  # a burst is planned so much longer than asked for: later ones are a little faster than a pilot's
FENCE_EVERY = 16  # an asynchronous queue must not run ahead of the warm-up's clock


class WarmUp(Struct, frozen=True):
    """How many steps it took; `settled` is False where the cap ended it."""

    steps: int
    settled: bool


def detect(
    step: clock.Step,
    feed: Iterator[Any],
    fence: clock.Fence,
    compilations: Callable[[], int | None],
    *,
    minimum_steps: int,
    minimum_seconds: float,
    cap: float,
) -> WarmUp:
    """Steps until both minima are reached and the last `QUIET_STEPS` compiled nothing; at most `cap` seconds.

    Where a framework cannot say how often it compiled (None), the minima decide alone.
    """
    steps, last, started = 0, 0, perf_counter()
    before = compilations()
    while True:
        step(next(feed))
        steps += 1
        if steps % FENCE_EVERY == 0:
            fence()
        if (now := compilations()) != before:
            before, last = now, steps
        elapsed = perf_counter() - started
        enough = steps >= minimum_steps and elapsed >= minimum_seconds
        if enough and steps - last >= QUIET_STEPS:
            fence()
            return WarmUp(steps, True)
        if elapsed >= cap:
            fence()
            return WarmUp(steps, False)


def repeat(step: clock.Step, feed: Iterator[Any], fence: clock.Fence, *, steps: int) -> None:
    """The same warm-up as the pilot's."""
    for number in range(1, steps + 1):
        step(next(feed))
        if number % FENCE_EVERY == 0:
            fence()
    fence()


def steps_per_burst(step: clock.Step, feed: Iterator[Any], fence: clock.Fence, *, seconds: float) -> int:
    """As many steps as last `seconds`, found by doubling, so that no single call decides.

    The first bursts are slower than later ones: three have to last long enough in their median.
    """
    steps, wanted = 1, LONGER * seconds
    while True:
        taken = clock.burst(step, feed, fence, steps=steps).wall_ns / 1e9
        if steps == 1 and taken >= seconds:
            return 1
        if taken >= wanted:
            more = [clock.burst(step, feed, fence, steps=steps).wall_ns / 1e9 for _ in range(2)]
            taken = median([taken, *more])
        if taken >= wanted:
            return steps
        steps = max(steps + 1, min(steps * 10, int(steps * wanted / taken * 1.02) + 1))
