"""The gate's error rates: how windows are taken, and what they are scored as. The pairs are made up."""

import random
from math import log1p

import pytest

from bench.selftest import gating
from bench.selftest.gating import score, windows

SLOW = log1p(0.1)


def test_clean_pairs_are_windows_of_ten() -> None:
    logs = [n / 10_000 for n in range(35)]
    assert [(len(a), len(b), a[0]) for a, b in windows(logs)] == [(10, 0, 0), (10, 0, 10), (10, 0, 20)]


def test_a_suspicious_window_takes_the_second_stage_behind_it() -> None:
    assert [(len(a), len(b)) for a, b in windows([SLOW] * 60)] == [(10, 16), (10, 16)]
    assert [(len(a), len(b)) for a, b in windows([SLOW] * 25)] == []  # its second stage is still to come


def test_identical_arms_are_scored_in_both_directions() -> None:
    draw = random.Random(1)
    found = score("made", 0.0, [draw.gauss(0, 0.01) for _ in range(100)], [False] * 100)
    assert found.gates == 20 and found.verdicts == {"PASS": 20} and found.ratio == pytest.approx(1, abs=0.01)
    assert found.spread == pytest.approx(0.01, rel=0.3)


def test_slower_arms_fail() -> None:
    draw = random.Random(1)
    found = score("made", 0.1, [draw.gauss(SLOW, 0.01) for _ in range(104)], [False] * 104)
    assert found.verdicts == {"FAIL": 4} and found.pairs_used == 26


def test_an_effect_may_be_added_to_identical_arms() -> None:
    draw = random.Random(1)
    logs = [draw.gauss(0, 0.01) for _ in range(104)]
    found = gating.added("made", 0.1, logs, [False] * 104)
    assert (found.added, found.effect, found.verdicts) == (True, 0.1, {"FAIL": 4})
    assert found.ratio == pytest.approx(1.1, abs=0.01)
    assert found.spread == pytest.approx(score("made", 0.0, logs, [False] * 104).spread)


def test_drift_and_losses_are_invalid() -> None:
    drifting = [True] * 3 + [False] * 7 + [False] * 10
    assert score("made", 0.05, [0.0] * 20, drifting, lost=1).verdicts == {"INVALID": 2, "PASS": 1}


@pytest.mark.needs("torch")
def test_every_installed_framework_has_a_step_with_work() -> None:
    assert any("torch_work.py" in path for path in gating.steps())
