"""Warm-up by a made-up clock: when it ends, when a compilation prolongs it, and when its cap ends it."""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest

from bench import clock, warm_up
from bench.warm_up import FENCE_EVERY, QUIET_STEPS, WarmUp


class Program:
    """A step of so many seconds by the made-up clock, that compiles at these steps (counted from 1)."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 0.1, compiles: Any = (), fixed: float = 0.0
    ):
        self.now, self.step_seconds, self.fixed = 0.0, seconds, fixed
        self.compiles, self.compiled, self.known = compiles, 0, True
        self.steps = self.fences = self.unfenced = self.most_unfenced = 0
        self.batches: list[str] = []
        monkeypatch.setattr(warm_up, "perf_counter", lambda: self.now)
        monkeypatch.setattr(clock, "perf_counter_ns", lambda: round(self.now * 1e9))

    def step(self, batch: str) -> None:
        self.steps += 1
        self.unfenced += 1
        self.most_unfenced = max(self.most_unfenced, self.unfenced)
        self.batches.append(batch)
        self.now += self.step_seconds
        self.compiled += self.steps in self.compiles

    def fence(self) -> None:
        self.now += self.fixed
        self.unfenced = 0
        self.fences += 1

    def compilations(self) -> int | None:
        return self.compiled if self.known else None

    def detect(self, *, steps: int = 10, seconds: float = 1.0, cap: float = 30.0) -> WarmUp:
        found = warm_up.detect(
            self.step,
            cycle("abc"),
            self.fence,
            self.compilations,
            minimum_steps=steps,
            minimum_seconds=seconds,
            cap=cap,
        )
        assert found.steps == self.steps
        assert self.unfenced == 0, "what the warm-up queued would be timed with the first burst"
        return found


Make = Callable[..., Program]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    yield lambda **told: Program(monkeypatch, **told)


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        (0.125, 10),  # 1.0 s is reached with 8 steps, but ten are wanted
        (0.25, 10),
        (0.0625, 16),  # ten steps take 0.6 s, but a second is wanted
        (2.0, 10),
    ],
)
def test_both_minima_are_reached(make: Make, seconds: float, steps: int) -> None:
    assert make(seconds=seconds).detect() == WarmUp(steps, True)


@pytest.mark.parametrize("last", range(1, 15))
def test_a_compilation_in_the_last_five_steps_prolongs_it(make: Make, last: int) -> None:
    found = make(seconds=0.125, compiles=(last,)).detect()
    assert found == WarmUp(max(10, last + QUIET_STEPS) if last <= 10 else 10, True)


def test_compilations_that_follow_one_another_are_waited_for(make: Make) -> None:
    assert make(seconds=0.125, compiles=(8, 12, 16)).detect() == WarmUp(16 + QUIET_STEPS, True)


def test_a_step_that_never_stops_compiling_ends_at_the_cap_unsettled(make: Make) -> None:
    assert make(seconds=0.25, compiles=range(1, 10**6)).detect(cap=5.0) == WarmUp(20, False)


def test_a_step_too_slow_for_its_minima_ends_at_the_cap(make: Make) -> None:
    assert make(seconds=4.0).detect(cap=30.0) == WarmUp(8, False)


def test_where_nobody_counts_compilations_the_minima_decide(make: Make) -> None:
    program = make(seconds=0.125, compiles=range(1, 10**6))
    program.known = False
    assert program.detect() == WarmUp(10, True)


def test_the_queue_is_kept_short(make: Make) -> None:
    program = make(seconds=0.001)
    program.detect()
    assert program.most_unfenced == FENCE_EVERY
    assert program.steps > 10 * FENCE_EVERY


@pytest.mark.parametrize("steps", [1, FENCE_EVERY - 1, FENCE_EVERY, FENCE_EVERY + 1, 100])
def test_the_rounds_repeat_exactly_the_pilot_s_steps(make: Make, steps: int) -> None:
    program = make()
    warm_up.repeat(program.step, cycle("abc"), program.fence, steps=steps)
    assert program.steps == steps
    assert program.batches == ["abc"[number % 3] for number in range(steps)]
    assert (program.unfenced, program.most_unfenced) == (0, min(steps, FENCE_EVERY))


# --- how many steps make a burst --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1e-6, 1e-4, 0.003, 0.04, 0.05, 0.07, 2.0])
@pytest.mark.parametrize("fixed", [0.0, 0.001, 0.02])
def test_a_burst_lasts_as_long_as_wanted_and_not_much_longer(make: Make, seconds: float, fixed: float) -> None:
    program = make(seconds=seconds, fixed=fixed)
    steps = warm_up.steps_per_burst(program.step, cycle("abc"), program.fence, seconds=0.05)
    assert steps * seconds + fixed >= 0.05 * (1 - 1e-6)
    assert steps == 1 or (steps - 2) * seconds <= 0.05 * warm_up.LONGER * 1.11


def test_one_step_that_is_long_enough_is_a_burst(make: Make) -> None:
    program = make(seconds=0.05)
    assert warm_up.steps_per_burst(program.step, cycle("abc"), program.fence, seconds=0.05) == 1
    assert program.steps == 1


def test_a_first_call_that_is_slow_does_not_decide_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make(seconds=0.001)
    taken: list[int] = []
    real = clock.burst

    def burst(step: Any, feed: Any, fence: Any, *, steps: int) -> clock.Timing:
        timing = real(step, feed, fence, steps=steps)
        taken.append(steps)
        return clock.Timing(timing.wall_ns + (30_000_000 if len(taken) == 1 else 0), 0, 0)

    monkeypatch.setattr(clock, "burst", burst)
    assert warm_up.steps_per_burst(program.step, cycle("abc"), program.fence, seconds=0.05) >= 50
    assert taken[0] == 1 and taken[1] < 50 < taken[-1]  # it went on until a burst was long enough
