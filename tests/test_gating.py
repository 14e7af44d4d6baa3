"""The gate's error rates: how windows are taken, and what they are scored as. The pairs are made up."""

import random
import shutil
from collections import Counter
from math import log, log1p
from pathlib import Path

import pytest
from conftest import ROOT
from msgspec.structs import replace

from bench import pairs
from bench.reports import rates as drawing
from bench.selftest import gate_faults, gating, rates
from bench.selftest.rates import Collected, Score, Tried, windows
from bench.verbs import gate_rates

SLOW = log1p(0.1)


def collected(logs: list[float], effect: float = 0.0, lost: int = 0, drift: float = 0.0) -> Collected:
    return Collected(
        "made", effect, tuple(logs), ((drift,),) * len(logs), lost, seconds=6.0, cpu="a", cores=2, commit="c"
    )


def scored(logs: list[float], effect: float = 0.0, **more: float) -> list[Score]:
    return rates.scores([collected(logs, effect, **more)])  # type: ignore[arg-type]


def test_clean_pairs_are_windows_of_ten() -> None:
    logs = [n / 10_000 for n in range(35)]
    assert [(len(a), len(b), a[0]) for a, b in windows([logs])] == [(10, 0, 0), (10, 0, 10), (10, 0, 20)]


def test_a_suspicious_window_takes_the_second_stage_behind_it() -> None:
    assert [(len(a), len(b)) for a, b in windows([[SLOW] * 60])] == [(10, 16), (10, 16)]
    assert [(len(a), len(b)) for a, b in windows([[SLOW] * 25])] == []  # its second stage is still to come


def test_identical_arms_are_scored_in_both_directions() -> None:
    draw = random.Random(1)
    one, *_ = scored([draw.gauss(0, 0.01) for _ in range(100)])
    assert (len(one.windows), len(one.gates)) == (10, 20) and one.verdicts == {"PASS": 20}
    assert one.said == [{"PASS"}] * 10 and one.ratio == pytest.approx(1, abs=0.01)
    assert one.spread == pytest.approx(0.01, rel=0.3) and one.gates[0].seconds == 60


def test_a_shift_of_identical_arms_fails_in_one_direction_alone() -> None:
    one, *_ = scored([0.05] * 52)
    assert one.verdicts == {"FAIL": 2, "PASS": 2} and one.said == [{"FAIL", "PASS"}] * 2


def test_slower_arms_fail() -> None:
    draw = random.Random(1)
    (one,) = scored([draw.gauss(SLOW, 0.01) for _ in range(104)], 0.1)
    assert one.verdicts == {"FAIL": 4} and {g.pairs for g in one.gates} == {26} and not one.added


def test_an_effect_may_be_added_to_identical_arms() -> None:
    draw = random.Random(1)
    logs = [draw.gauss(0, 0.01) for _ in range(104)]
    found = {(one.effect, one.added): one for one in scored(logs)}
    assert found.keys() == {(0.0, False), (0.05, True), (0.1, True), (0.2, True)}
    one = found[0.1, True]
    assert one.verdicts == {"FAIL": 8} and one.ratio == pytest.approx(1.1, abs=0.01)  # in both directions
    assert one.spread == pytest.approx(found[0.0, False].spread)


def test_both_directions_of_an_added_effect_are_as_much_slower() -> None:
    # Noise that is all on one side: turned round it is on the other, and the effect stays.
    found = next(one for one in scored([0.09] * 26) if one.effect == 0.1)
    assert found.verdicts == {"FAIL": 1, "PASS": 1}
    # The direction that is not suspicious leaves the second stage's pairs: they are the same window's.
    assert [gate.pairs for gate in found.gates] == [26, 10]


def test_drift_and_losses_are_invalid() -> None:
    (one,) = scored([0.0] * 20, 0.05, lost=1)
    assert one.verdicts == {"INVALID": 1, "PASS": 2}
    (one,) = scored([0.0] * 20, 0.05, drift=0.05)
    assert one.verdicts == {"INVALID": 2}


def test_no_window_spans_two_folders() -> None:
    (one, *_) = rates.scores([collected([0.0] * 15), collected([0.0] * 15)])
    assert (one.pairs, len(one.gates)) == (30, 4)


def many(effect: float, words: dict[str, int], *, spread: float = 0.01, added: bool = False) -> Score:
    """A score of so many windows, whose directions say the words (`FAIL PASS`: of two directions one fails)."""
    tried = tuple(
        tuple(Tried("made", effect, added, word, spread, 10, 60.0) for word in said.split())
        for said, n in words.items()
        for _ in range(n)
    )
    return Score("made", effect, added, 1 + effect, spread, 100, tried)


@pytest.mark.parametrize(
    ("scores", "name", "wanted", "verdict"),
    [
        ([many(0, {"PASS": 298, "FAIL": 2})], "identical arms", "at most 2 FAIL", "holds"),
        ([many(0, {"PASS": 297, "FAIL": 3})], "identical arms", "at most 2 FAIL", "broken"),
        ([many(0, {"PASS": 150}), many(0, {"PASS": 149})], "identical arms", "at most 2 FAIL", "not settled"),
        ([many(0, {"PASS": 300}), many(0, {"FAIL": 300}, spread=0.06)], "identical arms", "at most 2 FAIL", "holds"),
        ([many(0, {"PASS": 200, "INCONCLUSIVE": 100})], "identical arms", "at least 85", "broken"),
        ([many(0, {"PASS": 290, "INVALID": 10})], "identical arms", "at most 2 %", "broken"),
        # Both directions of a window are a gate each, as somebody might have asked for either.
        ([many(0, {"PASS PASS": 150})], "identical arms", "at most 2 FAIL", "holds"),
        ([many(0, {"PASS PASS": 149})], "identical arms", "at most 2 FAIL", "not settled"),
        ([many(0, {"PASS PASS": 147, "FAIL PASS": 3})], "identical arms", "at most 2 FAIL", "broken"),
        ([many(0, {"PASS PASS": 148, "FAIL PASS": 2})], "identical arms", "at most 2 FAIL", "holds"),
        ([many(0, {"PASS PASS": 100, "INCONCLUSIVE PASS": 50})], "identical arms", "at least 85", "broken"),
        ([many(0.2, {"FAIL FAIL": 57, "FAIL PASS": 3}, added=True)], "20% slower, added", "58 of 60", "broken"),
        ([many(0.2, {"FAIL FAIL": 30}, added=True)], "20% slower, added", "58 of 60", "not settled"),
        ([many(0.1, {"FAIL": 60})], "10% slower, worked", "never PASS", "holds"),
        ([many(0.1, {"FAIL": 60, "PASS": 1})], "10% slower, worked", "never PASS", "broken"),
        ([many(0.2, {"FAIL": 57, "INCONCLUSIVE": 3}, added=True)], "20% slower, added", "58 of 60", "broken"),
    ],
)
def test_the_rates_are_held_to_their_figures(scores: list[Score], name: str, wanted: str, verdict: str) -> None:
    found = [one for one in rates.findings(scores) if one.name == name and one.wanted.startswith(wanted)]
    assert [one.verdict for one in found] == [verdict]


def test_the_bounds_are_those_of_windows() -> None:
    """Which are independent. At most one direction of a window can FAIL: a gate does half as often as a window."""
    found = {one.wanted.partition(",")[0]: one.found for one in rates.findings([many(0, {"PASS PASS": 48})])}
    assert found["at most 2 FAIL in 300"] == "0 of 96 gates on 48 windows (95 %: at most 3.0%)"
    assert found["at least 85 % PASS"] == "96 of 96 gates on 48 windows (95 %: at least 93.9%)"
    assert found["at most 2 % INVALID"] == "0 of 96 gates on 48 windows (95 %: at most 6.1%)"
    found = {one.wanted.partition(",")[0]: one.found for one in rates.findings([many(0, {"FAIL": 1, "PASS": 47})])}
    assert found["at most 2 FAIL in 300"] == "1 of 48 gates on 48 windows (95 %: at most 9.5%)"


def test_so_many_clean_windows_bound_the_false_alarms_at_what_is_wanted() -> None:
    assert rates.upper_rate(0, 447) > 2 / 300 > rates.upper_rate(0, 448)


@pytest.mark.parametrize(
    ("seen", "of", "wanted"), [(0, 300, 0.0099), (2, 300, 0.0208), (0, 1, 0.95), (5, 5, 1.0), (15, 60, 0.3585)]
)
def test_upper_rate(seen: int, of: int, wanted: float) -> None:
    assert rates.upper_rate(seen, of) == pytest.approx(wanted, abs=2e-4)  # scipy.stats.beta.ppf(.95, k + 1, n - k)


def test_the_curves_are_by_the_gate_s_own_spread() -> None:
    found = rates.curves([many(0, {"PASS": 3}, spread=0.015), many(0, {"FAIL PASS": 1}, spread=0.2)])
    assert [(end, dict(counts)) for _, _, end, counts in found] == [
        (0.02, {"PASS": 3}),
        (float("inf"), {"FAIL": 1, "PASS": 1}),
    ]


def test_the_page_and_the_plot_say_every_verdict() -> None:
    parts = [collected([0.0] * 30)]
    made = {"idle": rates.scores(parts), "neighbour": []}
    text = gate_rates.page(made, rates.findings(made["idle"]), {"idle": parts, "neighbour": []})
    assert "idle: 0 of 6 gates FAIL, on 3 windows (95 %: at most 31.6%)" in text
    assert "neighbour: no window yet" in text and "0 of 6 gates on 3 windows (95 %: at most 31.6%)" in text
    assert "|         3 |       6 |" in text and "a, 2 cores, commit c" in text
    drawn = drawing.svg({"idle": [(0.0, False, 0.02, Counter(PASS=3, FAIL=1)), (0.2, True, 0.02, Counter(FAIL=4))]})
    assert drawn.startswith("<svg") and "identical arms" in drawn and "20% slower" in drawn


def test_pairs_are_read_as_they_were_collected(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results/reference/gate-2core/identical-arms", tmp_path / "here-commit-code" / "torch-20")
    (one,) = rates.collected(tmp_path)
    assert (one.step, one.effect, len(one.logs), one.cores, one.commit) == ("torch", 0.2, 90, 2, "edfdffd")
    assert [len(drift) for drift in one.drifts] == [1] * 90 and 1 < one.seconds < 20
    assert rates.collected(tmp_path / "here-commit-code") == []


@pytest.mark.parametrize("alternating", [True, False])
def test_what_moves_within_real_pairs_is_seen(alternating: bool) -> None:
    _, records = pairs.read(ROOT / "results/reference/gate-2core/identical-arms")
    one = next(r for r in records if isinstance(r, pairs.Pair))
    steady, growing = replace(one.base, wall_ns=(100,) * 20), replace(one.base, wall_ns=tuple(range(100, 120)))
    made = replace(one, base=steady, candidate=growing, alternating=alternating)
    grown = log(116.5 / 102.5)  # medians of the last and first six of twenty
    assert pairs.drifts(made) == pytest.approx((grown,) if alternating else (0.0, grown), abs=1e-4)
    broken = replace(made, candidate=replace(growing, wall_ns=(0,) * 20))
    assert set(pairs.drifts(broken)) == {0.0}


@pytest.mark.long
def test_a_gate_that_is_damaged_is_invalid() -> None:
    found = gate_faults.found()
    assert [(one.name, one.verdict) for one in found if one.verdict != "holds"] == [], found
    assert all(one.found.startswith("exit code 4") for one in found if one.name[0].isdigit()), found
    assert [one.name.partition(":")[0] for one in found] == [
        "honest gate",
        *["12", "13", "14"],
        "permuted pairs",
        *["14", "15"],
    ]


@pytest.mark.needs("torch")
def test_every_installed_framework_has_a_step_with_work() -> None:
    assert any("torch_work.py" in path for path in gating.steps())


def test_a_slower_arm_is_visited_in_turn_until_it_has_its_pairs() -> None:
    slower = [("a", 0.1), ("b", 0.1)]
    taken = {slower[0]: gating.WORKED - 1, slower[1]: gating.WORKED}
    assert [gating.due(number, slower, taken) for number in range(3)] == [[slower[0]], [], [slower[0]]]
