"""Where a session's time went, by a made-up clock."""

import pytest

from bench import tally
from bench.tally import Tally


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.cpu = 1000.0, 5.0
        monkeypatch.setattr(tally, "monotonic", lambda: self.now)
        monkeypatch.setattr(tally, "process_time", lambda: self.cpu)
        monkeypatch.setattr(tally, "now", lambda: "2026-11-23T12:00:00Z")

    def go(self, seconds: float, cpu: float = 0.0) -> None:
        self.now += seconds
        self.cpu += cpu


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_session_counts_from_its_start_to_its_end(clock: Clock) -> None:
    made = Tally()
    clock.go(12.5)
    found = made.session(2.0)
    assert (found.started, found.seconds, found.waited_seconds) == ("2026-11-23T12:00:00Z", 12.5, 2.0)
    assert (found.stages, found.measuring_seconds, found.parent_cpu_seconds) == ({}, 0.0, 0.0)
    assert not made.worked  # a session that made nothing is not recorded


def test_every_kind_of_process_is_counted_by_itself_and_rounds_by_their_stages(clock: Clock) -> None:
    made = Tally()
    for kind, seconds in (("proof", 5.0), ("ceiling", 3.0), ("pilot", 2.0), ("pilot", 4.0), ("round", 7.0)):
        with made.during(kind):
            clock.go(seconds, cpu=0.25)
    made.add({"start": 1.5, "bursts": 4.0})
    made.add({"start": 0.5, "bursts": 1.0})
    clock.go(1.0)
    found = made.session(0.0)
    assert found.stages == {"proofs": 5.0, "ceilings": 3.0, "pilots": 6.0, "start": 2.0, "bursts": 5.0}
    assert made.worked
    # Proofs are not timed: two run at once, and what the parent does meanwhile disturbs nobody.
    assert found.measuring_seconds == 3.0 + 2.0 + 4.0 + 7.0
    assert found.parent_cpu_seconds == 4 * 0.25
    assert found.seconds == 22.0


def test_what_was_interrupted_counts_too(clock: Clock) -> None:
    made = Tally()
    with pytest.raises(KeyboardInterrupt), made.during("pilot"):
        clock.go(3.0)
        raise KeyboardInterrupt
    assert made.session(0.0).stages == {"pilots": 3.0}
