"""The timed region with a feed, a step and a fence made up for it: what is called, in which order, and how often."""

import gc
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest

from bench import clock

BATCHES = ("a", "b", "c")


class Calls:
    """A step and a fence that write down when they are called, by the made-up clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, tick: int = 1, step: int = 10, fence: int = 100) -> None:
        self.log: list[str] = []
        self.now, self.tick, self.step_ns, self.fence_ns = 0, tick, step, fence
        monkeypatch.setattr(clock, "perf_counter_ns", self.read)

    def read(self) -> int:
        self.now += self.tick
        self.log.append("read")
        return self.now

    def step(self, batch: Any) -> None:
        self.now += self.step_ns
        self.log.append(batch)

    def fence(self) -> None:
        self.now += self.fence_ns
        self.log.append("fence")


def feed() -> Iterator[str]:
    return cycle(BATCHES)


def test_a_burst_is_its_steps_between_two_fences_and_two_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    timing = clock.burst(calls.step, feed(), calls.fence, steps=4)
    assert calls.log == ["fence", "read", "a", "b", "c", "a", "fence", "read"]
    assert timing.wall_ns == 4 * 10 + 100 + 1  # the second fence is inside, the first is not
    assert timing.cpu_ns >= 0
    assert timing.switches >= 0


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_feed_goes_on_where_the_last_burst_left_it(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    calls, batches = Calls(monkeypatch), feed()
    timings = clock.bursts(calls.step, batches, calls.fence, steps=steps, count=5)
    seen = [entry for entry in calls.log if entry in BATCHES]
    assert len(timings) == 5
    assert seen == [BATCHES[i % 3] for i in range(5 * steps)]
    assert next(batches) == BATCHES[5 * steps % 3]  # none is drawn and thrown away
    assert calls.log.count("fence") == calls.log.count("read") == 10


def test_every_burst_is_timed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, fence=0)
    slower = iter(range(100))

    def step(batch: Any) -> None:
        calls.now += next(slower)

    timings = clock.bursts(step, feed(), calls.fence, steps=2, count=3)
    assert [timing.wall_ns - 1 for timing in timings] == [0 + 1, 2 + 3, 4 + 5]


@pytest.mark.parametrize("tick", [0, -1000])
def test_a_clock_that_does_not_go_forward_is_an_error(monkeypatch: pytest.MonkeyPatch, tick: int) -> None:
    calls = Calls(monkeypatch, tick=tick, step=0, fence=0)
    with pytest.raises(ArithmeticError, match=f"stepped back by {-tick} ns"):
        clock.burst(calls.step, feed(), calls.fence, steps=1)


def test_cpu_time_and_switches_are_those_of_the_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    cpu, switches = iter([1_000, 1_700]), iter([5, 8])
    monkeypatch.setattr(clock, "process_time_ns", lambda: next(cpu))
    usage = type("Usage", (), {"ru_nivcsw": property(lambda self: next(switches))})()
    monkeypatch.setattr(clock.resource, "getrusage", lambda who: usage)
    timing = clock.burst(calls.step, feed(), calls.fence, steps=1)
    assert (timing.cpu_ns, timing.switches) == (700, 3)


def test_the_collector_is_off_inside_and_on_after(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, inside = Calls(monkeypatch), []
    collected: list[bool] = []
    monkeypatch.setattr(clock.gc, "collect", lambda: collected.append(gc.isenabled()))
    assert gc.isenabled()
    clock.bursts(lambda batch: inside.append(gc.isenabled()), feed(), calls.fence, steps=2, count=2)
    assert inside == [False] * 4
    assert collected == [True]  # emptied once, before it is turned off
    assert gc.isenabled()


@pytest.mark.parametrize("where", ["step", "fence", "clock"])
def test_the_collector_is_on_after_an_exception_too(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    calls = Calls(monkeypatch, tick=-1000 if where == "clock" else 1)

    def fails(*batch: Any) -> None:
        assert not gc.isenabled()
        raise RuntimeError("out of memory")

    step, fence = (fails if where == "step" else calls.step), (fails if where == "fence" else calls.fence)
    with pytest.raises((RuntimeError, ArithmeticError)):
        clock.bursts(step, feed(), fence, steps=1, count=3)
    assert gc.isenabled()


def test_seconds_is_one_fenced_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, step=2_000_000_000 - 101)
    assert clock.seconds(calls.step, feed(), calls.fence) == 2.0
    assert calls.log == ["fence", "read", "a", "fence", "read"]


def test_the_fences_own_cost_is_the_least_of_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    costs = iter([5_000, *range(900, 880, -1)])  # the first has something to wait for

    def fence() -> None:
        calls.now += next(costs)

    assert clock.fence_seconds(fence) == (881 + 1) / 1e9
    assert next(costs, None) is None


def test_what_survives_a_collection_is_not_walked_again() -> None:
    def nothing(_: Any = None) -> None: ...

    before = gc.get_freeze_count()
    try:
        clock.bursts(nothing, iter(range(9)), nothing, steps=1, count=1)
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
