"""Joules of a step, in a pass of its own: by NVML's counter of a GPU or RAPL's of a CPU, which `zeus` finds.

RAPL counts whole packages: other processes' work too, and no memory modules. NVML counts the whole board. Neither moves
at every step, so both ends of the window are put where the counter moves; a window too short for that is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

from bench import clock, sensors
from bench.backend import install
from bench.sensors import Energy

LEAST_SECONDS = 2.0  # so that a clock rate that has not settled yet does not make the mean
LEAST_UPDATES = 20  # of the counter, in a window
GAPS = 5  # between updates, watched before the window: the longest is the counter's interval
STILL = 10  # intervals without an update while steps run: the counter is stuck
DEAD = 2.0  # seconds without an update while one is waited for: NVML's counters move every 20 to 170 ms, RAPL's each ms
MICRO, MILLI = 1e-6, 1e-3  # joules: what RAPL's files count, and what zeus gives


class NoJoules(Exception):
    """Why there are none; `absent`: there is no sensor, which is no fault."""

    def __init__(self, reason: str, *, absent: bool = False) -> None:
        super().__init__(reason)
        self.absent = absent


class Counter:
    """One counter of `unit` joules. One that has a `span` begins at 0 again after it; another may never go back."""

    def __init__(self, read: Callable[[], str | float], unit: float, span: float = 0.0) -> None:
        self.read, self.unit, self.span = read, unit, span
        self.turns = 0
        self.first = self.last = self._read()

    def joules(self) -> float:
        """Since it was made. It is read far more often than it could come round twice."""
        found = self._read()
        if found < self.last:
            if not self.span:
                raise NoJoules(f"the energy counter went back from {self.last:g} to {found:g}")
            self.turns += 1
        self.last = found
        return (self.turns * self.span + found - self.first) * self.unit

    def _read(self) -> float:
        try:
            return float(self.read())
        except Exception as error:  # whatever a driver or a daemon may say
            raise NoJoules(f"the energy counter cannot be read: {type(error).__name__}: {error}") from error


class Meter:
    """Several counters as one, and when it moves. `now`: seconds."""

    def __init__(self, counters: Sequence[Counter], now: Callable[[], float] = perf_counter) -> None:
        self.counters, self.now = counters, now

    def joules(self) -> float:
        return sum(counter.joules() for counter in self.counters)

    def next(self) -> tuple[float, float]:
        """Waits until it moves: when that was, and the joules then."""
        before, begun = self.joules(), self.now()
        while (found := self.joules()) == before:
            if self.now() - begun > DEAD:
                raise NoJoules(f"the energy counter did not move for {DEAD:g} s")
        return self.now(), found


def measure(
    device: str, step: clock.Step, feed: Iterator[Any], fence: clock.Fence, *, calls: int, steps: int, limit: float
) -> Energy:
    """Bursts of `calls` calls, each of `steps` steps, for as long as the counter of `device` (cpu or gpu) needs.

    For `limit` seconds at most, and two bursts more. What a step raises is not caught.
    """
    try:
        meter = _opened(device)
        before = sensors.read()
        found = _window(meter, lambda: clock.burst(step, feed, fence, steps=calls), limit)
    except NoJoules as error:
        return Energy(None, reason=str(error), absent=error.absent)
    joules, bursts, seconds, updates = found
    beside = sensors.others((before, sensors.read()))
    return Energy(joules, bursts * calls * steps, seconds, updates, others_cores=beside)


def _window(meter: Meter, burst: Callable[[], object], limit: float) -> tuple[float, int, float, int]:
    """Joules, bursts, seconds and the counter's updates between two of these; what it idled at the end taken off."""
    interval, idle = _watched(meter)
    if (wanted := max(LEAST_SECONDS, LEAST_UPDATES * interval)) > limit:
        raise NoJoules(f"the energy counter wants a window of {wanted:.3g} s, allowed are {limit:.3g}")
    burst()  # the device has idled while its counter was watched
    begun, first = meter.next()
    heard, moved, last, bursts, updates = begun, begun, first, 0, 0
    while (at := meter.now()) - begun < LEAST_SECONDS or updates < LEAST_UPDATES:
        if at - begun > limit:
            raise NoJoules(f"the energy counter moved {updates} times in {at - begun:.3g} s, wanted {LEAST_UPDATES}")
        burst()
        bursts += 1
        if (at := meter.now()) - heard < interval:
            continue  # it has hardly moved again, and reading costs time
        if (found := meter.joules()) != last:
            updates += max(1, int((at - heard) / interval))  # during a long burst it moved unseen
            moved, last = at, found
        elif at - moved > STILL * interval:
            raise NoJoules(f"the energy counter stood still for {at - moved:.3g} s while steps ran")
        heard = at
    stopped = at
    ended, last = meter.next()
    joules = last - first - idle * (ended - stopped)
    if joules <= 0:
        raise NoJoules(f"the energy counter gave {joules:.3g} J for {stopped - begun:.3g} s of work")
    return joules, bursts, stopped - begun, updates


def _watched(meter: Meter) -> tuple[float, float]:
    """The longest of some intervals between updates, in seconds, and the watts meanwhile, without any work."""
    seen = [meter.next()]
    while len(seen) <= GAPS:
        seen.append(meter.next())
    times, joules = zip(*seen, strict=True)
    longest = max(later - earlier for earlier, later in pairwise(times))
    return longest, (joules[-1] - joules[0]) / (times[-1] - times[0])


def _opened(device: str) -> Meter:
    """`NoJoules` without zeus, or where it finds no sensor that may be read."""
    try:
        counters = _board() if device == "gpu" else _packages()
    except NoJoules:
        raise
    except Exception as error:  # no permission, most often; or a package that zeus itself lacks
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "zeus":
            raise NoJoules(f"zeus is not installed: {install('energy')}", absent=True) from None
        raise NoJoules(f"no energy counter to be had: {type(error).__name__}: {error}") from error
    if not counters:
        raise NoJoules(f"no energy counter of this {device}", absent=True)
    return Meter(counters)


def _board() -> list[Counter]:
    """The GPU that this process was shown first."""
    from zeus.device.gpu import get_gpus

    gpus = get_gpus()
    if not gpus.supports_get_total_energy_consumption(0):
        return []
    return [Counter(partial(gpus.get_total_energy_consumption, 0), MILLI)]


def _packages() -> list[Counter]:
    """RAPL's counter of each package. A laptop's zone `psys` holds a package once more, so it is left out."""
    from zeus.device.cpu import get_cpus, rapl_is_available

    if not rapl_is_available():
        return []
    cpus, found = get_cpus(), []
    for cpu in cpus.cpus:
        zone = Path(cpus.rapl_dir, f"intel-rapl:{cpu.cpu_index}")
        if not (zone / "name").read_text().startswith("package"):
            continue
        if hasattr(cpu, "rapl_file"):
            # Read directly: zeus would start a process that looks for wraps, whose own work would be counted.
            span = float((zone / "max_energy_range_uj").read_text())
            found.append(Counter((zone / "energy_uj").read_text, MICRO, span))
        else:  # by zeus's daemon, for which no privileges are wanted
            found.append(Counter(partial(_asked, cpu), MILLI))
    return found


def _asked(cpu: Any) -> float:
    return float(cpu.get_total_energy_consumption().cpu_mj)
