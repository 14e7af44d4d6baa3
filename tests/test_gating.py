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


def many(effect: float, verdicts: dict[str, int], *, spread: float = 0.01, added: bool = False) -> gating.Score:
    return gating.Score("made", effect, 1 + effect, spread, 100, verdicts, 10, added)


@pytest.mark.parametrize(
    ("scores", "name", "wanted", "verdict"),
    [
        ([many(0, {"PASS": 298, "FAIL": 2})], "identical arms", "at most 2 FAIL", "holds"),
        ([many(0, {"PASS": 297, "FAIL": 3})], "identical arms", "at most 2 FAIL", "broken"),
        ([many(0, {"PASS": 150}), many(0, {"PASS": 149})], "identical arms", "at most 2 FAIL", "not settled"),
        ([many(0, {"PASS": 300}), many(0, {"FAIL": 300}, spread=0.06)], "identical arms", "at most 2 FAIL", "holds"),
        ([many(0, {"PASS": 200, "INCONCLUSIVE": 100})], "identical arms", "at least 85", "broken"),
        ([many(0.1, {"FAIL": 60})], "10% slower, worked", "never PASS", "holds"),
        ([many(0.1, {"FAIL": 60, "PASS": 1})], "10% slower, worked", "never PASS", "broken"),
        ([many(0.2, {"FAIL": 57, "INCONCLUSIVE": 3}, added=True)], "20% slower, added", "58 of 60", "broken"),
    ],
)
def test_the_rates_are_held_to_their_figures(scores: list[gating.Score], name: str, wanted: str, verdict: str) -> None:
    found = [one for one in gating.findings(scores) if one.name == name and one.wanted.startswith(wanted)]
    assert [one.verdict for one in found] == [verdict]


@pytest.mark.needs("torch")
def test_every_installed_framework_has_a_step_with_work() -> None:
    assert any("torch_work.py" in path for path in gating.steps())
