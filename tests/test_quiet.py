"""Quiet after the fence, on made-up programs whose threads really burn a core: what is left over is seen."""

import threading
from collections.abc import Callable, Iterator
from itertools import repeat
from time import perf_counter, sleep, thread_time

import pytest

from bench import quiet

FEED = repeat(None)


class Queue:
    """A program whose steps return at once while a thread does their work, `seconds` of CPU time each."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.ending = seconds, False
        self.waiting = threading.Semaphore(0)
        self.queued, self.done = 0, 0
        self.finished = threading.Condition()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        while True:
            self.waiting.acquire()
            if self.ending:
                return
            until = thread_time() + self.seconds
            while thread_time() < until:
                pass
            with self.finished:
                self.done += 1
                self.finished.notify_all()

    def step(self, batch: object) -> None:
        self.queued += 1
        self.waiting.release()

    def wait(self) -> None:
        """An honest fence."""
        with self.finished:
            self.finished.wait_for(lambda: self.done == self.queued)

    def forget(self) -> None:
        """A fence that waits for nothing."""


@pytest.fixture
def queue() -> Iterator[Queue]:
    made = Queue(0.005)
    yield made
    made.wait()
    made.ending = True
    made.waiting.release()
    made.thread.join()


def test_work_that_a_fence_does_not_wait_for_is_seen(queue: Queue) -> None:
    left = quiet.after_fence(queue.step, FEED, queue.forget, steps=50)
    queue.wait()
    allowed = quiet.allowed(queue.step, FEED, queue.wait, threads=2)
    assert left > allowed


@pytest.mark.parametrize(
    ("spun", "threads", "most"),
    [
        (0.0, 2, 0.001),
        (0.006, 2, 0.019),
        (0.010, 2, 0.020),
        (0.020, 2, 0.025),  # OpenBLAS on two cores: an overslept window shows 21 ms of it, missing work 40
        (0.020, 1, 0.021),
        (0.060, 4, 0.065),
    ],
)
def test_how_much_spinning_is_allowed(spun: float, threads: int, most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "cpu_seconds", lambda: spun)
    monkeypatch.setattr(quiet, "drained", lambda: 0.0)
    assert quiet.allowed(lambda batch: None, FEED, lambda: None, threads=threads) == pytest.approx(most)


def test_an_honest_fence_leaves_no_more_than_is_allowed(queue: Queue) -> None:
    allowed = quiet.allowed(queue.step, FEED, queue.wait, threads=2)
    # As the harness does: what another process's noise may add is looked at again.
    assert min(quiet.after_fence(queue.step, FEED, queue.wait, steps=5) for _ in range(quiet.TRIES)) <= allowed


def test_what_an_idle_pool_spins_is_allowed_thrice(monkeypatch: pytest.MonkeyPatch) -> None:
    spun = iter([0.002, 0.004, 0.003])
    monkeypatch.setattr(quiet, "cpu_seconds", lambda: next(spun))
    calls: list[str] = []
    allowed = quiet.allowed(lambda batch: calls.append("step"), FEED, lambda: calls.append("read"), threads=2)
    assert allowed == pytest.approx(quiet.SLACK * 0.004 + quiet.MARGIN)
    assert calls == [
        "read",
        *["step", "read"] * quiet.TRIES,
    ]


def test_the_window_opens_when_the_fence_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(quiet, "cpu_seconds", lambda: calls.append("look") or 0.5)
    left = quiet.after_fence(lambda batch: calls.append("step"), FEED, lambda: calls.append("fence"), steps=3)
    assert left == 0.5
    assert calls == ["step", "step", "step", "fence", "look"]


def test_cpu_seconds_are_those_of_the_window_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept = iter([3.0, 3.015]), []
    monkeypatch.setattr(quiet, "process_time", lambda: next(clock))
    monkeypatch.setattr(quiet, "sleep", slept.append)
    assert quiet.cpu_seconds() == pytest.approx(0.015)
    assert slept == [quiet.WINDOW]


@pytest.mark.parametrize(
    ("reads", "left"),
    [((0.050, 0.001), 0.049), ((0.001, 0.001), 0.0), ((0.001, 0.002), -0.001), ((0.140, 0.140), 0.0)],
    ids=["a queue", "nothing", "noise", "a dear copy"],
)
def test_a_backlog_is_what_the_first_read_takes_longer(
    reads: tuple[float, float], left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, costs, calls = [0.0], iter(reads), list[str | float]()

    def read() -> None:
        now[0] += next(costs)
        calls.append("read")

    monkeypatch.setattr(quiet, "perf_counter", lambda: now[0])
    monkeypatch.setattr(quiet, "sleep", calls.append)
    found = quiet.backlog(lambda batch: calls.append("step"), FEED, lambda: calls.append("fence"), read, steps=2)
    assert found == pytest.approx(left)
    # Before each read as many steps; the second burst is given the time that the first took until it was read.
    assert calls == ["step", "step", "fence", "read", "step", "step", "fence", pytest.approx(reads[0]), "read"]
    assert (found > quiet.BACKLOG) is (left > 0.01)


@pytest.mark.alone
@pytest.mark.parametrize("kept", [False, True], ids=["copied each time", "kept on the host"])
def test_a_real_backlog_is_seen_by_reading(kept: bool) -> None:
    """A device that works by itself, and an array that costs 30 ms to copy: JAX's are copied once, then kept."""
    over, copied = [0.0], [False]

    def step(batch: object) -> None:
        over[0] = max(over[0], perf_counter()) + 0.02
        copied[0] = False

    def wait() -> None:
        sleep(max(0.0, over[0] - perf_counter()))

    def read() -> None:
        wait()
        if not (kept and copied[0]):
            sleep(0.03)
            copied[0] = True

    def least(fence: Callable[[], None]) -> float:
        return min(quiet.backlog(step, FEED, fence, read, steps=5) for _ in range(quiet.TRIES))

    assert least(lambda: None) > quiet.BACKLOG
    assert least(wait) <= quiet.BACKLOG
