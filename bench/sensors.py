"""What the machine did meanwhile: other processes, steal, pressure, clocks, a GPU's state. It explains, never deletes.

A reading that this system does not offer is None (no /proc, no NVIDIA driver): the rest works without it.
"""

import os
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
from msgspec import Struct

from bench.machine import cpu_groups

Answer = TypeVar("Answer")
PRESSURE = Path("/proc/pressure/cpu")
UNITS = {"throttled_usec": 1e6, "throttled_time": 1e9}  # of cpu.stat, a second


class Reading(Struct, frozen=True, array_like=True):
    """Counters at one instant, nanoseconds: the wall clock's, and CPU time used by all processes, by ours, stolen.

    The kernel counts `busy` and `steal` in steps of 10 ms; over less than a second they say little.
    """

    wall: int
    own: int
    busy: int | None
    steal: int | None


class Gpu(Struct, frozen=True):
    """One NVIDIA device at one instant. `throttled`: NVML's bit mask; `foreign`: other processes that compute on it.

    `foreign` is None where this process is not among those that NVML names: in a container it names the host's.
    """

    sm_mhz: int
    memory_mhz: int
    watts: float
    celsius: int
    throttled: int
    foreign: int | None


class Sensed(Struct, frozen=True):
    """Around one case in one process: readings before its warm-up, before the first burst, after each burst; the rest
    speaks of that whole time."""

    readings: tuple[Reading, ...]
    load: float | None
    pressure_seconds: float | None
    cpu_mhz: float | None
    suspended_seconds: float | None
    gpu: Gpu | None
    throttled_seconds: float | None = None
    cores: int | None = None


class Energy(Struct, frozen=True):
    """Joules of `steps` steps in `seconds`, in which their counter moved `updates` times; None: `reason` says why.

    `absent`: there is no sensor, which is no fault. `others_cores`: what other processes used of the cores meanwhile.
    """

    joules: float | None
    steps: int = 0
    seconds: float = 0.0
    updates: int = 0
    reason: str = ""
    absent: bool = False
    others_cores: float | None = None


class Watcher:
    """Takes a reading when called, and at `ended` tells what was sensed since it was made. `device` is cpu or gpu."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.pressure, self.asleep, self.throttled = _pressure(), _asleep(), _throttled()
        self.readings = [read()]

    def __call__(self) -> None:
        """One reading, unless the last is under 50 ms old: single calls are shorter than the kernel's counters tick."""
        if time.perf_counter_ns() - self.readings[-1].wall >= 50_000_000:
            self.readings.append(read())

    def ended(self) -> Sensed:
        self.readings.append(read())
        return Sensed(
            readings=tuple(self.readings),
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            pressure_seconds=_since(self.pressure, _pressure()),
            cpu_mhz=_mhz(),
            suspended_seconds=_since(self.asleep, _asleep()),
            throttled_seconds=_since(self.throttled, _throttled()),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            gpu=_asked(_gpu) if self.device == "gpu" else None,
        )


def read(ours: Iterable[int] = ()) -> Reading:
    """The counters of the cores that this process may use: what runs on the others is no neighbour.

    `ours`: processes that are alive and no neighbours either.
    """
    busy = steal = None
    try:
        cores = psutil.cpu_times(percpu=True)
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(cores))
        own = [cores[core] for core in allowed if core < len(cores)]
        # A guest's time is already in `user`; waiting for a disk occupies no core.
        used = sum(getattr(core, name, 0.0) for core in own for name in ("user", "nice", "system", "irq", "softirq"))
        busy, steal = round(used * 1e9), None
        if own and hasattr(own[0], "steal"):
            steal = round(sum(core.steal for core in own) * 1e9)
    except OSError:
        pass  # no /proc: the counters stay unknown
    spent = time.process_time_ns()
    for pid in ours:
        times = psutil.Process(pid).cpu_times()
        spent += round((times.user + times.system) * 1e9)
    return Reading(time.perf_counter_ns(), spent, busy, steal)


def read_family() -> Reading:
    """`read` with this process's descendants counted as its own: those that compile, and those that have ended."""
    reading = read()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            spent += sum(child.cpu_times()[:4])  # with the children's own that have ended
        except psutil.Error:
            continue  # it has just ended, and is counted next time
    return Reading(reading.wall, reading.own + round(spent * 1e9), reading.busy, reading.steal)


def others(readings: Sequence[Reading]) -> float | None:
    """Cores that other processes used between the first and the last reading; None where the kernel does not count."""
    first, last = readings[0], readings[-1]
    if first.busy is None or last.busy is None or last.wall <= first.wall:
        return None
    return max(0.0, (last.busy - first.busy - (last.own - first.own)) / (last.wall - first.wall))


def stolen(readings: Sequence[Reading]) -> float | None:
    """Cores that the hypervisor gave to somebody else meanwhile; None where the kernel does not count."""
    first, last = readings[0], readings[-1]
    if first.steal is None or last.steal is None or last.wall <= first.wall:
        return None
    return max(0.0, (last.steal - first.steal) / (last.wall - first.wall))


def _since(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else max(0.0, now - before)


def _pressure() -> float | None:
    """Seconds since boot in which some process waited for a core (pressure stall information)."""
    try:
        words = PRESSURE.read_text().split()
    except OSError:
        return None
    return int(next(word for word in words if word.startswith("total=")).removeprefix("total=")) / 1e6


def _asleep() -> float | None:
    """Seconds since boot that the machine was suspended: what CLOCK_MONOTONIC leaves out and CLOCK_BOOTTIME has."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _throttled() -> float | None:
    """Seconds for which a control group's quota has held its processes back; None where no group counts them."""
    found = []
    for group in cpu_groups():
        try:
            words = (group / "cpu.stat").read_text().split()
        except OSError:
            continue
        counted = dict(zip(words[::2], words[1::2], strict=False))
        # Version 2 counts microseconds, version 1 nanoseconds.
        found += [int(counted[name]) / unit for name, unit in UNITS.items() if name in counted]
    return max(found, default=None)


def _mhz() -> float | None:
    try:
        found = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None
    return float(found.current) if found else None


def capability() -> tuple[int, int] | None:
    """The compute capability of the GPU that this process was shown; None where the driver does not tell."""
    return _asked(_capability)


def _asked(question: Callable[[Any, Any], Answer]) -> Answer | None:
    """What NVML says of the device that this process was shown; a device that does not tell all of it tells nothing."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
        handle = (
            pynvml.nvmlDeviceGetHandleByIndex(int(seen)) if seen.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(seen)
        )
        return question(pynvml, handle)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _capability(nvml: Any, handle: Any) -> tuple[int, int]:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return major, minor


def _gpu(nvml: Any, handle: Any) -> Gpu:
    running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return Gpu(
        sm_mhz=nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        memory_mhz=nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
        watts=nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
        celsius=nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        throttled=nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        foreign=len(running) - 1 if os.getpid() in {process.pid for process in running} else None,
    )
