"""Joules a step by counters that are made up: their power, how often they move, where they wrap, what breaks them."""

import os
import sys
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT, python
from msgspec.structs import replace
from test_table import CASE, ROUNDS, STEADY, pilot, row_of, run_of, sample
from test_trial import GOOD, Fake, inspected

from bench import energy, joules, measuring, records, sensors, table
from bench.backend import install
from bench.energy import Counter, Meter, NoJoules
from bench.messages import Inspect, Inspected, Warmed
from bench.records import Pilot, Record, latest
from bench.reports import csv, html, markdown
from bench.reports import json as json_format
from bench.reports.joules import MEANT
from bench.sensors import Energy, Reading
from bench.suite import Protocol

IDLE, BUSY = 20.0, 120.0  # watts
RANGE = 262_143_328_850.0  # microjoules after which RAPL begins anew


class World:
    """A device under a clock of its own: it draws IDLE watts, and BUSY ones in a step of `step` seconds.

    Its counter has microjoules from `begins` and is moved every `interval` seconds, until `stuck`. Every look costs a
    little time.
    """

    def __init__(
        self,
        *,
        step: float = 0.01,
        interval: float = 0.001,
        begins: float = 0.0,
        span: float = 0.0,
        stuck: float = float("inf"),
    ) -> None:
        self.step, self.interval, self.span, self.stuck = step, interval, span, stuck
        self.time, self.energy, self.shown, self.due = 0.0, begins / 1e6, begins / 1e6, interval
        self.steps = 0

    def now(self) -> float:
        return self.time

    def spend(self, seconds: float, watts: float) -> None:
        ends = self.time + seconds
        while self.due <= ends:
            self.energy += (self.due - self.time) * watts
            self.time, self.due = self.due, self.due + self.interval
            if self.time < self.stuck:
                self.shown = self.energy
        self.energy += (ends - self.time) * watts
        self.time = ends

    def read(self) -> float:
        self.spend(5e-5, IDLE)
        return self.shown * 1e6 % self.span if self.span else self.shown * 1e6

    def train(self, batch: object) -> None:
        self.steps += 1
        self.spend(self.step, BUSY)

    def meter(self) -> Meter:
        return Meter([Counter(self.read, 1e-6, self.span)], self.now)


def weighed(
    monkeypatch: pytest.MonkeyPatch, world: World, *, calls: int = 5, steps: int = 1, limit: float = 20.0
) -> Energy:
    monkeypatch.setattr(energy, "_opened", lambda device: world.meter())
    feed: Iterator[Any] = repeat(None)
    return energy.measure("cpu", world.train, feed, lambda: None, calls=calls, steps=steps, limit=limit)


# --- the window -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [0.001, 0.02, 0.1], ids=lambda seconds: f"moved every {seconds * 1e3:g} ms")
@pytest.mark.parametrize("step", [0.0005, 0.01, 0.7], ids=lambda seconds: f"a step of {seconds * 1e3:g} ms")
def test_joules_are_those_of_the_steps(step: float, interval: float, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(step=step, interval=interval)
    found = weighed(monkeypatch, world, calls=max(1, round(0.05 / step)))
    assert found.reason == "" and found.joules is not None
    # Exactly at both ends, so far nearer than the one update in twenty that a window of any other kind may be off by.
    assert found.joules / found.steps == pytest.approx(BUSY * step, rel=0.01)
    assert found.joules / found.seconds == pytest.approx(BUSY, rel=0.02)
    assert found.seconds >= energy.LEAST_SECONDS and found.updates >= energy.LEAST_UPDATES
    assert found.updates <= found.seconds / interval + 1
    assert found.steps * step == pytest.approx(found.seconds, rel=0.02)


def test_long_steps_need_no_more_bursts_than_the_counter_needs_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    found = weighed(monkeypatch, World(step=1.5), calls=1, limit=4.0)
    assert (found.steps, found.reason) == (2, "")
    assert found.updates == pytest.approx(3000, rel=0.1)


def test_what_others_used_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [Reading(0, 0, 0, 0), Reading(10**9, 10**9, 25 * 10**8, 0)]
    monkeypatch.setattr(sensors, "read", lambda: readings.pop(0))
    assert weighed(monkeypatch, World()).others_cores == 1.5


def test_steps_before_the_window_are_not_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    found = weighed(monkeypatch, world, calls=5)
    assert found.steps == world.steps - 5  # a burst for the device that idled


def test_a_call_of_several_steps_counts_as_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    one, four = (weighed(monkeypatch, World(), steps=steps) for steps in (1, 4))
    assert four.steps == 4 * one.steps and four.joules == one.joules


def test_a_counter_that_wraps_inside_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = weighed(monkeypatch, World())
    world = World(begins=RANGE - 100e6, span=RANGE)  # within a second of steps
    found = weighed(monkeypatch, world)
    assert world.read() < 1e9
    assert found.joules == pytest.approx(plain.joules)


def test_a_counter_that_goes_back_and_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    real = world.train

    def train(batch: object) -> None:
        real(batch)
        if world.steps == 50:
            world.shown = world.energy = 0.0

    world.train = train  # type: ignore[method-assign]
    found = weighed(monkeypatch, world)
    assert found.joules is None and found.reason.startswith("the energy counter went back from")


@pytest.mark.parametrize(
    ("interval", "limit", "wanted"),
    [(0.5, 9.9, "10 s, allowed are 9.9"), (0.02, 1.5, "2 s, allowed are 1.5"), (0.02, -3.0, "2 s, allowed are -3")],
    ids=["a slow counter", "little time", "none at all"],
)
def test_a_window_too_short_for_the_counter_is_refused_before_any_step(
    interval: float, limit: float, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(interval=interval)
    found = weighed(monkeypatch, world, limit=limit)
    assert found == Energy(None, reason=f"the energy counter wants a window of {wanted}")
    assert world.steps == 0


def test_a_slow_counter_gets_the_time_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = weighed(monkeypatch, World(interval=0.5), limit=10.5)
    assert found.joules is not None and found.seconds >= 10


def test_a_counter_that_slows_down_is_refused_for_its_few_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(interval=0.02)
    real = world.train

    def train(batch: object) -> None:
        world.interval = 0.19  # nine times as slow as it was while it was watched: not stuck yet
        real(batch)

    world.train = train  # type: ignore[method-assign]
    monkeypatch.setattr(energy, "LEAST_UPDATES", 200)
    found = weighed(monkeypatch, world, calls=1, limit=5.0)
    assert found.joules is None
    assert found.reason.startswith("the energy counter moved ") and found.reason.endswith("wanted 200")


def test_a_dead_counter_is_refused_before_any_step(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(stuck=0.0)
    found = weighed(monkeypatch, world)
    assert (found.joules, found.reason) == (None, "the energy counter did not move for 2 s")
    assert world.time < 3  # by its own clock
    assert world.steps == 0


def test_a_counter_that_sticks_while_steps_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = weighed(monkeypatch, World(stuck=1.0))
    assert found.joules is None
    assert found.reason.startswith("the energy counter stood still for") and "while steps ran" in found.reason


def test_a_counter_that_counts_less_than_nothing_is_refused() -> None:
    class Scripted(Meter):
        """100 W while it is watched, and next to nothing while steps run."""

        time, count = 0.0, 0.0

        def __init__(self) -> None:
            super().__init__([], lambda: self.time)

        def joules(self) -> float:
            self.count += 1e-6
            return self.count

        def next(self) -> tuple[float, float]:
            self.time += 0.1
            self.count += 0.0 if self.time > 1.0 else 10.0
            return self.time, self.count

    meter = Scripted()

    def burst() -> None:
        meter.time += 0.1

    with pytest.raises(NoJoules, match=r"the energy counter gave -10 J for 2\.\d* s of work"):
        energy._window(meter, burst, 20.0)


@pytest.mark.parametrize("when", [0.0, 0.5], ids=["while it is watched", "while steps run"])
def test_a_sensor_that_breaks_is_said(when: float, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    real = world.read

    def read() -> float:
        if world.time >= when and world.time:
            raise OSError(5, "Input/output error")
        return real()

    monkeypatch.setattr(world, "read", read)
    found = weighed(monkeypatch, world)
    assert found.joules is None and not found.absent
    assert found.reason == "the energy counter cannot be read: OSError: [Errno 5] Input/output error"


def test_a_step_that_breaks_is_no_sensor_s_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def train(batch: object) -> None:
        raise ValueError("the step")

    world.train = train  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="the step"):
        weighed(monkeypatch, world)


def test_a_meter_of_two_packages_is_their_sum() -> None:
    first, second = World(), World(begins=RANGE - 1e5, span=RANGE)
    meter = Meter([Counter(world.read, 1e-6, world.span) for world in (first, second)])
    for world in (first, second):
        world.spend(1.0, BUSY)
    assert meter.joules() == pytest.approx(2 * BUSY, rel=0.01)


# --- who has a sensor -------------------------------------------------------------------------------------------------


class Refused(Exception):
    """zeus's own errors have no base class that matters here."""


def _raise() -> Any:
    raise Refused("Can't read file due to permission error; RAPL requires root privileges.")


def offered(monkeypatch: pytest.MonkeyPatch, **names: Any) -> None:
    """A package `zeus` with that much in it: `cpu` and `gpu` are what is in its modules of these names."""
    modules = {"zeus": ModuleType("zeus"), "zeus.device": ModuleType("zeus.device")}
    for name in ("cpu", "gpu"):
        modules[f"zeus.device.{name}"] = ModuleType(f"zeus.device.{name}")
        vars(modules[f"zeus.device.{name}"]).update(names.get(name, {}))
    for name, module in modules.items():
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)


def zone(folder: Path, number: int, name: str, count: float) -> None:
    (folder / f"intel-rapl:{number}").mkdir()
    for file, text in (("name", name), ("energy_uj", count), ("max_energy_range_uj", RANGE)):
        (folder / f"intel-rapl:{number}" / file).write_text(f"{text}\n")


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("lacking", ["zeus", "zeus.device"], ids=["nothing", "a folder of that name"])
def test_without_zeus_nothing_is_done(device: str, lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch)
    for name in [name for name in sys.modules if name == "zeus" or name.startswith("zeus.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, lacking, None)
    if lacking != "zeus":
        folder = ModuleType("zeus")
        folder.__path__ = []
        monkeypatch.setitem(sys.modules, "zeus", folder)
    world = World()
    found = energy.measure(device, world.train, repeat(None), lambda: None, calls=5, steps=1, limit=20.0)
    assert found == Energy(None, reason=f"zeus is not installed: {install('energy')}", absent=True)
    assert world.steps == 0


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_no_sensor_is_no_fault(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    none = SimpleNamespace(supports_get_total_energy_consumption=lambda index: False)
    offered(monkeypatch, cpu={"get_cpus": _raise, "rapl_is_available": lambda: False}, gpu={"get_gpus": lambda: none})
    with pytest.raises(NoJoules, match=f"no energy counter of this {device}") as caught:
        energy._opened(device)
    assert caught.value.absent


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_sensor_that_may_not_be_read_is_said(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, cpu={"get_cpus": _raise, "rapl_is_available": lambda: True}, gpu={"get_gpus": _raise})
    with pytest.raises(NoJoules, match=r"no energy counter to be had: Refused: .*permission error") as caught:
        energy._opened(device)
    assert not caught.value.absent


def test_a_zeus_that_cannot_be_imported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch)  # with nothing in it, as another version's might be
    with pytest.raises(NoJoules, match="no energy counter to be had: ImportError: cannot import name") as caught:
        energy._opened("cpu")
    assert not caught.value.absent


def test_the_first_gpu_s_millijoules(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {0: 5000, 1: 7}
    gpus = SimpleNamespace(
        supports_get_total_energy_consumption=lambda index: True,
        get_total_energy_consumption=lambda index: counts[index],
    )
    offered(monkeypatch, gpu={"get_gpus": lambda: gpus})
    meter = energy._opened("gpu")
    counts[0] += 2500
    assert meter.joules() == pytest.approx(2.5)


def test_the_packages_microjoules_and_no_other_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("package-0", "package-1", "psys")):
        zone(tmp_path, number, name, 1e6)
    cpus = SimpleNamespace(
        rapl_dir=str(tmp_path), cpus=[SimpleNamespace(cpu_index=number, rapl_file=None) for number in range(3)]
    )
    offered(monkeypatch, cpu={"get_cpus": lambda: cpus, "rapl_is_available": lambda: True})
    meter = energy._opened("cpu")
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("4000000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("500000\n")  # once round
    (tmp_path / "intel-rapl:2" / "energy_uj").write_text("9000000\n")
    assert meter.joules() == pytest.approx(3.0 + (RANGE - 5e5) / 1e6)


def test_packages_by_zeus_s_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, 0, "package-0", 0.0)
    count = [1000.0]
    one = SimpleNamespace(cpu_index=0, get_total_energy_consumption=lambda: SimpleNamespace(cpu_mj=count[0]))
    cpus = SimpleNamespace(rapl_dir=str(tmp_path), cpus=[one])
    offered(monkeypatch, cpu={"get_cpus": lambda: cpus, "rapl_is_available": lambda: True})
    meter = energy._opened("cpu")
    count[0] += 1500
    assert meter.joules() == pytest.approx(1.5)


@pytest.mark.parametrize("allowed", [True, False], ids=["readable", "not readable"])
def test_zeus_itself_on_made_up_zones(tmp_path: Path, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rapl = pytest.importorskip("zeus.device.cpu.rapl", reason="zeus is not installed: pip install 'stepwatch[energy]'")
    import zeus.device.cpu

    zone(tmp_path, 0, "package-0", 1e6)
    monkeypatch.setattr(rapl, "RAPL_DIR", str(tmp_path))
    monkeypatch.setattr(zeus.device.cpu, "_cpus", None)
    rapl.rapl_is_available.cache_clear()
    if not allowed:
        real: Callable[..., Any] = open

        def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
            if str(path).endswith("energy_uj"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **kwargs)

        monkeypatch.setattr("builtins.open", refuse)
        with pytest.raises(NoJoules, match=r"no energy counter to be had: ZeusCPUNoPermissionError: .*root"):
            energy._opened("cpu")
        return
    meter = energy._opened("cpu")
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("3500000\n")
    assert meter.joules() == pytest.approx(2.5)
    assert meter.counters[0].span == RANGE


# --- the pilot's question ---------------------------------------------------------------------------------------------


def test_a_pilot_that_is_asked_weighs_before_anything_else_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measure(device: str, step: Any, feed: Any, fence: Any, **told: Any) -> Energy:
        step(next(feed))
        asked.append((device, told))
        fake.log.append("weighed")
        return Energy(5.0, 10, 2.0, 20)

    monkeypatch.setattr(energy, "measure", measure)
    fake = Fake()
    monkeypatch.setattr("test_trial.Fake", lambda **_: fake)
    found, _ = inspected(monkeypatch, dispatch=0.0095, step=0.01, question=Inspect(7, 3.0))
    assert found.energy == Energy(5.0, 10, 2.0, 20)
    assert asked == [("cpu", {"calls": 7, "steps": 1, "limit": 3.0})]
    assert fake.log.index("weighed") < fake.log.index("train one")


def test_a_gate_s_pilot_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "measure", lambda *_, **__: pytest.fail("it was asked"))
    found, _ = inspected(monkeypatch, dispatch=0.001, step=0.01)
    assert found.energy is None


class Worker:
    """Answers a pilot's questions, and keeps the last one."""

    def __init__(self) -> None:
        self.answers: list[Any] = [Warmed((0.1,) * 3, 7, True, 0, {}, 1e-6, 12, (), 0.1, 0.2), GOOD]
        self.answers.append(Inspected(1e-5, None, 0.002, energy=Energy(5.0, 10, 2.0, 20)))

    def expect(self, question: Any, wanted: type, until: float) -> Any:
        self.asked = question
        return self.answers.pop(0)


@pytest.mark.parametrize(("measure", "calls"), [("throughput", 12), ("latency", 1)])
@pytest.mark.parametrize(("left", "limit"), [(300.0, 20.0), (30.0, 7.5)], ids=["time enough", "a quarter of the rest"])
def test_a_pilot_asks_for_bursts_as_they_are_timed(
    measure: str, calls: int, left: float, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "monotonic", lambda: 1000.0)
    case, worker = replace(CASE, measure=measure), Worker()
    subject = measuring.Subject(Protocol(), case, "", None, STEADY[0].origin, 0.0, True)  # type: ignore[union-attr]
    found = measuring.pilot(worker, subject, 1000.0 + left, energy=True)  # type: ignore[arg-type]
    assert worker.asked == Inspect(calls, limit)
    assert found.energy == Energy(5.0, 10, 2.0, 20)
    worker = Worker()
    measuring.pilot(worker, subject, 1000.0 + left)  # type: ignore[arg-type]
    assert worker.asked == Inspect()


ZEUS = """
import time
class Cpu:
    cpu_index = 0
    def get_total_energy_consumption(self):
        class Found:
            cpu_mj = round(time.perf_counter() / 0.005) * 0.005 * 50e3  # 50 W
        return Found
class Cpus:
    rapl_dir, cpus = FOLDER, [Cpu()]
def rapl_is_available(): return True
def get_cpus(): return Cpus
"""
SUITE = """
name = "one"
rounds = 1
[protocol]
warm_up_seconds = 0.01
bursts = 5
burst_seconds = 0.01
ceilings = false
[[matrix]]
workload = ["mlp"]
phase    = ["train"]
backend  = ["null"]
batch    = [8]
data     = ["synthetic"]
"""


def test_a_run_of_real_processes_with_a_counter_of_fifty_watts(tmp_path: Path) -> None:
    zone(tmp_path, 0, "package-0", 0.0)
    package = tmp_path / "zeus" / "device"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "cpu.py").write_text(f"FOLDER = {str(tmp_path)!r}\n{ZEUS}")
    (tmp_path / "suite.toml").write_text(SUITE)
    asked = ("run", "./suite.toml", "--out", "out", "--patience", "0")
    done = python("-m", "bench", *asked, folder=tmp_path, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    assert done.returncode == 0, done.stderr
    found, _ = records.read(tmp_path / "out" / "results.jsonl")
    (one,) = (record.energy for record in found if isinstance(record, Pilot))
    assert one is not None and one.joules is not None, one
    assert one.joules / one.seconds == pytest.approx(50, rel=0.2)
    assert "J/step" in (tmp_path / "out" / "table.md").read_text()


# --- what a row says of it --------------------------------------------------------------------------------------------

GIVEN = Energy(600.0, 200, 5.0, 250)


def rows(found: Energy | None, case: Any = CASE) -> list[Record]:
    return [replace(pilot(case), energy=found), *(sample(case, n, 2.0) for n in range(ROUNDS))]


def report(found: Energy | None, case: Any = CASE) -> table.Report:
    return table.report(run_of(case), latest(rows(found, case)), None)


def test_a_row_has_joules_a_step_and_a_sample_and_watts() -> None:
    found = row_of(rows(GIVEN)).energy
    assert (found.joules_per_step, found.joules_per_sample, found.watts) == (3.0, 3.0 / 64, 120.0)
    assert found.joules_note is None


def test_a_neighbour_makes_a_cpu_s_joules_doubtful() -> None:
    beside = replace(GIVEN, others_cores=1.25)
    found = row_of(rows(beside)).energy
    assert found.joules_per_step == 3.0
    assert found.joules_note == "other processes used 1.2 cores meanwhile, and RAPL counts them too"
    assert joules.of(replace(CASE, device="gpu"), beside).joules_note is None
    assert joules.of(CASE, replace(GIVEN, others_cores=0.05)).joules_note is None


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (None, None),
        (Energy(None, reason="zeus is not installed", absent=True), None),
        (Energy(None, reason="the counter <stuck>"), "the counter <stuck>"),
        (Energy(5.0, 0, 0.0), None),  # no file of ours
    ],
    ids=["an old run", "no sensor", "refused", "no steps"],
)
def test_without_joules_there_is_a_dash(found: Energy | None, note: str | None) -> None:
    made = report(found)
    assert (made.rows[0].energy.joules_per_step, made.rows[0].energy.joules_note) == (None, note)
    assert "J/step" not in markdown.render(made)
    said = "No joules of 1 row: the counter &lt;stuck&gt;." if note else "No joules"
    assert (said in markdown.render(made)) is bool(note)
    assert made.rows[0].reason == ""


def test_a_column_where_any_row_has_joules() -> None:
    other = replace(CASE, backend="jax", mode="compiled")
    run = run_of(CASE, other)
    made = table.report(run, latest([*rows(GIVEN), *rows(Energy(None, reason="stuck"), other)]), None)
    text = markdown.render(made)
    head, _, first, second = ([cell.strip() for cell in line.split("|")] for line in text.splitlines() if "|" in line)
    place = head.index("J/step")
    assert {first[1]: first[place], second[1]: second[place]} == {"torch": "3.00", "jax": "-"}
    assert MEANT in text and "No joules of 1 row: stuck." in text


def test_every_format_has_them() -> None:
    made = report(replace(GIVEN, others_cores=1.25))
    lines = csv.render(made).splitlines()
    found = dict(zip(lines[0].split(","), lines[1].split(","), strict=False))
    assert (found["joules_per_step"], found["joules_per_sample"], found["watts"]) == ("3", "0.046875", "120")
    assert '"joules_per_step":3.0' in json_format.render(made).replace(": ", ":")
    page = html.render([made])
    assert "J/step" in page and "other processes used 1.2 cores" in page


def test_rows_that_differ_in_why_point_to_the_csv() -> None:
    other = replace(CASE, backend="jax", mode="compiled")
    made = table.report(
        run_of(CASE, other),
        latest([*rows(Energy(None, reason="one")), *rows(Energy(None, reason="two"), other)]),
        None,
    )
    assert "No joules of 2 rows: one. Each row's own reason is in `joules_note` of the CSV." in markdown.render(made)


def test_an_old_run_says_nothing_new() -> None:
    assert row_of(STEADY).energy == joules.UNKNOWN
