"""Quiet after the fence: once the last reading of the clock is taken, nothing of the work may still be going on.

What an adapter's idle thread pool spins after work that is certainly done is measured first, by the same adapter.
"""

from collections.abc import Callable, Iterator
from time import perf_counter, process_time, sleep
from typing import Any

from bench.clock import Fence, Step
from bench.errors import BenchError

WINDOW = 0.020  # seconds; libgomp's threads spin for 4 to 5 ms each before they sleep
MARGIN = 0.001  # seconds of CPU time that no check distinguishes from nothing
SLACK = 3.0  # spinning varies by a third from burst to burst, and by more where another process wants the core
TRIES = 3
AGAIN = 10  # tries where the first three are in doubt: on a busy machine a read may outlast the spinning
RESTING = WINDOW / 4  # seconds of CPU time within the window: a quarter of one core, less than any step's work
PATIENCE = 5.0  # seconds until a process that does not rest is taken for one that never will
FEW = 0.1  # seconds of work left behind that might be anybody's
BACKLOG = 0.005  # seconds on a GPU; a burst that is not waited for leaves most of its 50 ms


def cpu_seconds() -> float:
    """CPU time that this process's threads use within the next 20 ms."""
    before = process_time()
    sleep(WINDOW)
    return process_time() - before


def drained() -> float:
    """Seconds until this process rests, the window in which it does among them; `BenchError` where it does not."""
    started, used = perf_counter(), process_time()
    while perf_counter() - started < PATIENCE:
        sleep(WINDOW)
        before, used = used, process_time()
        if used - before <= RESTING:
            return perf_counter() - started
    raise BenchError(
        f"work goes on after the step returned: {PATIENCE:.0f} s later this process was still busy; return what waits "
        "for all of it (idle threads that spin for ever look the same: unset OMP_WAIT_POLICY and KMP_BLOCKTIME)"
    )


def allowed(step: Step, feed: Iterator[Any], read: Callable[[], object], *, threads: int, tries: int = TRIES) -> float:
    """CPU seconds that may follow a fence: three times the most that followed steps whose results the host has read.

    Never more than half of what could be seen at all, or no fence could ever be found missing, but for idle threads
    that spin longer (OpenBLAS's do, one of two cores for the whole window): as much as they did, and a quarter of the
    rest, for a window may oversleep. Work that goes on takes what they leave.
    `BenchError` where the steps before left much more to do than one step does, which no spinning depends on.
    """
    read()  # what an unfenced burst has left behind is over now, or never will be by reading
    backlog, one = drained(), 0.0
    spun = []
    for _ in range(tries):
        step(next(feed))
        read()
        spun.append(cpu_seconds())
        one = max(one, WINDOW + drained())
    if backlog > 2 * one + FEW:
        raise BenchError(
            f"work goes on after the step returned: this process was busy for {backlog:.2g} s after its last step, and "
            f"for {one:.2g} s after a single one; return what waits for all of it"
        )
    most, seen = max(spun), threads * WINDOW
    if SLACK * most + MARGIN <= seen / 2:
        return SLACK * most + MARGIN
    return max(seen / 2, most + max(MARGIN, (seen - most) / 4))


def after_fence(step: Step, feed: Iterator[Any], fence: Fence, *, steps: int) -> float:
    """CPU seconds that follow the fence of a burst of `steps`."""
    for _ in range(steps):
        step(next(feed))
    fence()
    return cpu_seconds()


def backlog(step: Step, feed: Iterator[Any], fence: Fence, read: Callable[[], object], *, steps: int) -> float:
    """Seconds that reading a result takes longer right after a burst than after one that is over: the fence left them.

    For a GPU, which works on without this process's CPU. Each read has a burst of its own before it: what was read
    once may be kept on the host (JAX keeps it), and losses are handed out once.
    """

    def burst() -> None:
        for _ in range(steps):
            step(next(feed))
        fence()

    began = perf_counter()
    burst()
    fenced = perf_counter()
    read()
    ended = perf_counter()
    burst()
    sleep(ended - began)  # as long as a burst took until its results were here: this one is over
    started = perf_counter()
    read()
    return (ended - fenced) - (perf_counter() - started)
