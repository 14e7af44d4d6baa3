"""Sensors on made-up readings and made-up machines: what is counted, and that nothing breaks where nothing is told."""

import os
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import psutil
import pytest

from bench import sensors
from bench.sensors import Gpu, Reading, Sensed, Watcher

SECOND = 10**9


def span(own: float, busy: float | None, steal: float | None = 0.0, wall: float = 1.0) -> tuple[Reading, Reading]:
    """Two readings so many seconds apart, in which this process and all of them used so many seconds of CPU."""

    def at(value: float | None, begin: int) -> int | None:
        return None if value is None else begin + round(value * SECOND)

    begins = (7 * SECOND, 3 * SECOND, None if busy is None else 90 * SECOND, None if steal is None else 5 * SECOND)
    ends = (7 * SECOND + round(wall * SECOND), 3 * SECOND + round(own * SECOND), at(busy, 90 * SECOND))
    return Reading(*begins), Reading(*ends, at(steal, 5 * SECOND))


# --- arithmetic -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "busy", "wall", "cores"),
    [
        (1.0, 1.0, 1.0, 0.0),
        (1.0, 1.9, 1.0, 0.9),
        (0.0, 1.5, 1.0, 1.5),
        (4.0, 6.0, 2.0, 1.0),  # cores, not seconds
        (1.0, 0.98, 1.0, 0.0),  # the kernel counts in steps of 10 ms: never less than nothing
    ],
)
def test_what_others_used_is_all_but_ones_own(own: float, busy: float, wall: float, cores: float) -> None:
    assert sensors.others(span(own, busy, wall=wall)) == pytest.approx(cores, abs=0.05)


@pytest.mark.parametrize(("steal", "wall", "cores"), [(0.0, 1.0, 0.0), (0.5, 1.0, 0.5), (0.5, 2.0, 0.25)])
def test_what_the_hypervisor_took(steal: float, wall: float, cores: float) -> None:
    assert sensors.stolen(span(1.0, 1.0, steal, wall)) == pytest.approx(cores, abs=0.05)


def test_only_the_first_and_the_last_reading_count() -> None:
    first, last = span(1.0, 1.9, 0.5)
    between = Reading(first.wall + 1, 0, 0, 0)
    assert sensors.others((first, between, last)) == sensors.others((first, last))
    assert sensors.stolen((first, between, last)) == sensors.stolen((first, last))


@pytest.mark.parametrize("what", [sensors.others, sensors.stolen])
def test_what_the_kernel_does_not_count_is_not_known(what: Any) -> None:
    first, last = span(1.0, 1.9, 0.5)
    blind = msgspec.structs.replace(last, busy=None, steal=None)
    assert what((first, blind)) is None
    assert what((blind, last)) is None
    assert what((first, first)) is None  # no time between them
    assert what((first, last)) is not None


# --- a machine that tells nothing -------------------------------------------------------------------------------------


def gone(*_: object, **__: object) -> Any:
    raise FileNotFoundError("/proc/stat")


def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_times", gone)
    monkeypatch.setattr(psutil, "cpu_freq", gone)
    monkeypatch.setattr(sensors, "PRESSURE", Path("/nowhere/pressure/cpu"))
    monkeypatch.setattr(sensors, "cpu_groups", lambda: [Path("/nowhere")])
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    monkeypatch.delattr(os, "getloadavg", raising=False)


def test_a_machine_that_tells_nothing_is_watched_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    untold(monkeypatch)
    watch = Watcher("cpu")
    watch()
    seen = watch.ended()
    unknown = (seen.load, seen.pressure_seconds, seen.cpu_mhz, seen.suspended_seconds, seen.throttled_seconds, seen.gpu)
    assert unknown == (None,) * 6
    assert all((reading.busy, reading.steal) == (None, None) for reading in seen.readings)
    assert sensors.others(seen.readings) is None
    assert sensors.stolen(seen.readings) is None
    assert seen.readings[-1].own >= seen.readings[0].own  # this process's own time is known everywhere
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Sensed) == seen


def test_a_machine_with_proc_tells_more(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/stat").exists():
        pytest.skip("no /proc on this system")
    seen = Watcher("cpu").ended()
    assert seen.readings[0].busy and seen.readings[0].steal is not None
    untold(monkeypatch)
    assert sensors.read().busy is None  # the difference that the test above rests on


@pytest.mark.parametrize("found", [None, SimpleNamespace(current=2400.0)])
def test_the_clock_of_the_cpu(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", lambda: found)
    assert sensors._mhz() == (None if found is None else 2400.0)


def test_a_system_that_does_not_count_steal_leaves_it_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = [SimpleNamespace(user=1.0, nice=0.0, system=0.5, idle=9.0)] * 64
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu=False: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    found = sensors.read()
    assert (found.busy, found.steal) == (1_500_000_000, None)


def test_only_the_cores_that_the_process_may_use_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = [
        SimpleNamespace(user=float(n), nice=0.0, system=0.0, irq=0.0, softirq=0.0, steal=n / 2, idle=100.0, iowait=7.0)
        for n in (1, 2, 4, 8)
    ]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu=False: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3}, raising=False)
    assert (sensors.read().busy, sensors.read().steal) == (10 * SECOND, 5 * SECOND)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 99}, raising=False)  # one that is switched off
    assert sensors.read().busy == SECOND
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert sensors.read().busy == 15 * SECOND


def test_pressure_is_the_first_total_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "PRESSURE", tmp_path / "cpu")
    averages = "avg10=0.00 avg60=0.00 avg300=0.00"
    watch = None
    for total in (2_500_000, 4_000_000):
        (tmp_path / "cpu").write_text(f"some {averages} total={total}\nfull {averages} total=1\n")
        watch = watch or Watcher("cpu")
    assert watch and watch.ended().pressure_seconds == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("usage_usec 9\nnr_throttled 3\nthrottled_usec {:.0f}\n", 1e6),
        ("nr_periods 9\nnr_throttled 3\nthrottled_time {:.0f}\n", 1e9),  # version 1
    ],
)
def test_a_quota_that_holds_back_is_counted(
    text: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "cpu_groups", lambda: [tmp_path / "nothing here", tmp_path])
    (tmp_path / "cpu.stat").write_text(text.format(0.5 * seconds))
    watch = Watcher("cpu")
    (tmp_path / "cpu.stat").write_text(text.format(0.75 * seconds))
    assert watch.ended().throttled_seconds == pytest.approx(0.25)


def test_a_group_without_a_quota_counts_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 9\nuser_usec 5\n")
    monkeypatch.setattr(sensors, "cpu_groups", lambda: [tmp_path])
    assert Watcher("cpu").ended().throttled_seconds is None


def test_a_machine_that_slept_meanwhile_says_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = iter([100.0, 130.0])
    monkeypatch.setattr(sensors, "_asleep", lambda: next(asleep))
    assert Watcher("cpu").ended().suspended_seconds == 30.0


# --- the watcher ------------------------------------------------------------------------------------------------------


def test_readings_are_at_least_50_ms_apart_but_for_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]

    def read() -> Reading:
        return Reading(now[0], 0, 0, 0)

    monkeypatch.setattr(sensors.time, "perf_counter_ns", lambda: now[0])
    monkeypatch.setattr(sensors, "read", read)
    watch = Watcher("cpu")
    for milliseconds in (1, 49, 50, 51, 99, 100, 149, 151):
        now[0] = milliseconds * 10**6
        watch()
    now[0] = 152 * 10**6
    taken = [reading.wall // 10**6 for reading in watch.ended().readings]
    assert taken == [0, 50, 100, 151, 152]


# --- a GPU ------------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """What the made-up driver raises."""


def driver(monkeypatch: pytest.MonkeyPatch, *, fails: str = "", running: tuple[int, ...] = ()) -> list[str]:
    """A made-up pynvml, one of whose functions fails; the calls are written down."""
    calls: list[str] = []
    answers: dict[str, Any] = {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlDeviceGetHandleByIndex": "by index",
        "nvmlDeviceGetHandleByUUID": "by name",
        "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=pid) for pid in running],
        "nvmlDeviceGetClockInfo": 1980,
        "nvmlDeviceGetPowerUsage": 350_500,
        "nvmlDeviceGetCudaComputeCapability": (7, 5),
        "nvmlDeviceGetTemperature": 41,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 4,
    }
    made = ModuleType("pynvml")

    def function(name: str) -> Any:
        def call(*arguments: object) -> Any:
            calls.append(" ".join([name, *map(str, arguments)]))
            if name == fails:
                raise Refused(name)
            return answers[name]

        return call

    for name in answers:
        setattr(made, name, function(name))
    made.NVMLError = Refused  # type: ignore[attr-defined]
    made.NVML_CLOCK_SM, made.NVML_CLOCK_MEM, made.NVML_TEMPERATURE_GPU = 1, 2, 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return calls


@pytest.mark.parametrize(
    ("running", "foreign"),
    [
        ((os.getpid(),), 0),
        ((os.getpid(), os.getpid() + 1), 1),
        ((os.getpid() + 1, os.getpid(), os.getpid() + 2), 2),
        # In a container the driver gives the host's numbers: who of them is this process, nobody can say.
        ((), None),
        ((os.getpid() + 1,), None),
    ],
)
def test_a_gpu_s_state_and_who_else_computes_on_it(
    running: tuple[int, ...], foreign: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = driver(monkeypatch, running=running)
    found = Watcher("gpu").ended().gpu
    assert found == Gpu(sm_mhz=1980, memory_mhz=1980, watts=350.5, celsius=41, throttled=4, foreign=foreign)
    assert calls[-1] == "nvmlShutdown"


@pytest.mark.parametrize(("fails", "found"), [("", (7, 5)), ("nvmlDeviceGetCudaComputeCapability", None)])
def test_what_a_gpu_can_compute(fails: str, found: object, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = driver(monkeypatch, fails=fails)
    assert sensors.capability() == found
    assert calls[-1] == "nvmlShutdown"


def test_nobody_asks_the_driver_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = driver(monkeypatch)
    assert Watcher("cpu").ended().gpu is None
    assert calls == []


@pytest.mark.parametrize(("seen", "call"), [("3", "ByIndex 3"), ("GPU-8f6a", "ByUUID GPU-8f6a"), (None, "ByIndex 0")])
def test_the_device_is_the_one_that_the_process_was_shown(
    seen: str | None, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if seen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    calls = driver(monkeypatch)
    assert sensors._asked(sensors._gpu) is not None
    assert f"nvmlDeviceGetHandle{call}" in calls


@pytest.mark.parametrize(
    "fails", ["nvmlInit", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetClockInfo"]
)
def test_a_driver_that_refuses_tells_nothing(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    calls = driver(monkeypatch, fails=fails)
    assert sensors._asked(sensors._gpu) is None
    assert ("nvmlShutdown" in calls) is (fails != "nvmlInit")  # what was opened is closed
