"""Workers opened two at a time: each one's answer is kept for its own turn, and none outlives the run."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace
from test_table import CASE, COMPILED, JAX, NULL

from bench import starts
from bench.case import Case
from bench.messages import Failed
from bench.process import WorkerFailed
from bench.program import Settings
from bench.records import PILOT_ROUND
from bench.schedule import Work, together
from bench.starts import Place, Starts

SETTINGS = Settings("eager", "fp32", "flat", "cpu", 1)
ONE, TWO, THREE = (Place(Path(name), "null", SETTINGS) for name in ("one", "two", "three"))


class Fake:
    """A worker that opens, or fails where its log's name is in `broken`."""

    made: ClassVar[list["Fake"]] = []
    broken: ClassVar[set[str]] = set()
    events: ClassVar[list[str]] = []

    def __init__(self, log: Path) -> None:
        self.name, self.killed = log.name, False
        self.made.append(self)
        self.events.append(f"start {self.name}")

    def send(self, _: Any) -> None: ...

    def wait_for(self, *_: Any) -> None:
        self.events.append(f"wait {self.name}")
        if self.name in self.broken:
            raise WorkerFailed(Failed("crashed", f"{self.name} died"))

    def kill(self) -> None:
        self.killed = True


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    monkeypatch.setattr(starts, "Process", Fake)
    Fake.made, Fake.broken, Fake.events = [], set(), []
    return Fake


def test_two_are_started_before_either_is_waited_for_and_both_before_anything_is_measured(fake: type[Fake]) -> None:
    opened = Starts(60.0)
    opened.open(ONE, ahead=TWO)
    assert fake.events == ["start one", "start two", "wait one", "wait two"]
    opened.open(TWO)
    assert len(fake.made) == 2 and not any(one.killed for one in fake.made)


def test_two_at_once_share_the_time_of_their_start(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((10.0, 13.0, 13.0))
    monkeypatch.setattr(starts, "monotonic", lambda: next(clock))
    opened = Starts(60.0)
    assert opened.open(ONE, ahead=TWO).seconds + opened.open(TWO).seconds == 3.0


def test_one_that_failed_beside_another_is_told_when_its_turn_comes(fake: type[Fake]) -> None:
    fake.broken = {"two"}
    opened = Starts(60.0)
    assert opened.open(ONE, ahead=TWO).process.name == "one"  # type: ignore[attr-defined]
    with pytest.raises(WorkerFailed, match="two died"):
        opened.open(TWO)
    fake.broken = set()
    assert opened.open(TWO).process.name == "two"  # type: ignore[attr-defined]


def test_the_one_wanted_fails_at_once_and_the_other_waits_on(fake: type[Fake]) -> None:
    fake.broken = {"one"}
    opened = Starts(60.0)
    with pytest.raises(WorkerFailed, match="one died"):
        opened.open(ONE, ahead=TWO)
    assert opened.waits(TWO.log) and fake.made[0].killed and not fake.made[1].killed


def test_one_whose_turn_never_came_is_ended(fake: type[Fake]) -> None:
    opened = Starts(60.0)
    opened.open(ONE, ahead=TWO)
    opened.open(THREE)
    assert [one.killed for one in fake.made] == [False, True, False]
    opened.open(ONE, ahead=TWO)
    opened.abandon()
    assert [one.killed for one in fake.made[3:]] == [False, True]


def test_an_interrupt_leaves_no_worker_behind(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Fake, "wait_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Starts(60.0).open(ONE, ahead=TWO)
    assert [one.killed for one in fake.made] == [True, True]


def work(case: Case, kind: str = "round") -> Work:
    return Work(kind, (case,), PILOT_ROUND if kind != "round" else 3)


GPU = replace(JAX, device="gpu")
OWN = replace(NULL, backend="mine.py")


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (work(CASE), work(JAX), True),
        (work(CASE), work(COMPILED), True),
        (work(CASE), work(CASE), False),  # the last of a round and the first of the next share a compile cache
        (work(CASE, "pilot"), work(replace(CASE, phase="infer"), "pilot"), True),
        (work(CASE, "pilot"), work(CASE), False),  # the rounds inherit what the last pilot compiles
        (work(CASE, "pilot"), work(JAX), True),
        (work(CASE, "ceiling"), work(CASE, "pilot"), True),
        (work(CASE), work(GPU), False),
        (work(GPU), work(CASE), False),
        (work(CASE), work(OWN), False),
        (work(OWN), work(CASE), False),
    ],
)
def test_which_workers_may_be_open_together(first: Work, second: Work, wanted: bool) -> None:
    assert together(first, second) is wanted


def test_pilots_of_the_same_case_with_other_data_are_told_apart(fake: type[Fake]) -> None:
    other = replace(CASE, data="digits")
    assert CASE.worker == other.worker and CASE.file != other.file
    with pytest.raises(AssertionError):
        Starts(60.0).open(ONE, ahead=replace(TWO, log=ONE.log))
    assert not fake.made
