"""Waiting for a quiet machine, with made-up readings and a made-up clock."""

from collections.abc import Iterator

import pytest
import typer
from test_table import sensed

from bench import __main__ as main
from bench import patience, sensors
from bench.errors import BenchError
from bench.patience import LOOK, Patience
from bench.sensors import Reading
from bench.verbs import run as running


class Machine:
    """Others use so many cores, look by look; the last for ever. It counts how long it was slept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *cores: float | None) -> None:
        self.cores, self.now, self.busy = list(cores), 100.0, 0.0
        monkeypatch.setattr(patience, "sleep", self.sleep)
        monkeypatch.setattr(patience, "monotonic", lambda: self.now)
        monkeypatch.setattr(sensors, "read", self.read)

    def sleep(self, seconds: float) -> None:
        used = self.cores.pop(0) if len(self.cores) > 1 else self.cores[0]
        self.known = used is not None
        self.now += seconds
        self.busy += (used or 0.0) * seconds

    def read(self) -> Reading:
        counted = None if self.cores[0] is None else round(self.busy * 1e9)
        return Reading(round(self.now * 1e9), 0, counted, 0)

    @property
    def slept(self) -> float:
        return self.now - 100.0


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as made:
        yield made


def test_a_quiet_measurement_needs_no_look(patch: pytest.MonkeyPatch) -> None:
    machine, waiting = Machine(patch, 2.0), Patience(60.0)
    waiting.note(sensed(others=0.0).readings)
    waiting.wait()
    assert (machine.slept, waiting.waited, waiting.left) == (0.0, 0.0, 60.0)


def test_before_the_first_measurement_one_look_is_taken(patch: pytest.MonkeyPatch) -> None:
    machine, waiting = Machine(patch, 0.02), Patience(60.0)
    waiting.wait()
    assert machine.slept == LOOK
    waiting.wait()
    assert machine.slept == LOOK  # and none again, until something is noted


def test_a_busy_machine_is_waited_for_until_it_is_quiet(patch: pytest.MonkeyPatch) -> None:
    machine, waiting = Machine(patch, 1.0, 1.0, 0.4, 0.0), Patience(60.0)
    waiting.note(sensed(others=0.9).readings)
    waiting.wait()
    assert machine.slept == 4 * LOOK
    assert waiting.waited == pytest.approx(4 * LOOK)
    assert waiting.left == 60.0 - 4 * LOOK


def test_a_machine_that_is_always_busy_uses_the_patience_up_once(patch: pytest.MonkeyPatch) -> None:
    machine, waiting = Machine(patch, 2.0), Patience(3.2)
    for _ in range(3):  # three processes
        waiting.note(sensed(others=2.0).readings)
        waiting.wait()
    assert machine.slept == pytest.approx(3.2)
    assert waiting.waited == pytest.approx(3.2)
    assert waiting.left <= 0


def test_without_patience_nobody_waits(patch: pytest.MonkeyPatch) -> None:
    machine, waiting = Machine(patch, 2.0), Patience(0.0)
    waiting.wait()
    assert (machine.slept, waiting.waited) == (0.0, 0.0)


def test_a_machine_that_does_not_tell_is_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    machine, waiting = Machine(patch, None), Patience(60.0)
    waiting.note(sensed(others=None).readings)
    waiting.wait()
    assert machine.slept == 0.0
    other = Patience(60.0)  # nothing noted yet: one look, that tells nothing
    other.wait()
    assert machine.slept == LOOK


def test_the_shell_may_say_how_patient_a_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for told, seconds in (("", 60.0), ("0", 0.0), ("7.5", 7.5)):
        monkeypatch.setenv("STEPWATCH_PATIENCE", told)
        assert running.patience() == seconds
    monkeypatch.delenv("STEPWATCH_PATIENCE")
    assert running.patience() == running.PATIENCE
    for told, says in (("soon", "STEPWATCH_PATIENCE wants seconds, found 'soon'"), ("-1", "wants seconds from 0")):
        monkeypatch.setenv("STEPWATCH_PATIENCE", told)
        with pytest.raises(BenchError, match=says):
            running.patience()


def test_the_verbs_take_their_patience_from_the_shell() -> None:
    for verb in ("run", "gate"):
        command = typer.main.get_command(main.app).commands[verb]  # type: ignore[attr-defined]
        (option,) = [one for one in command.params if one.name == "patience"]
        assert option.envvar == "STEPWATCH_PATIENCE" and option.default == running.PATIENCE
