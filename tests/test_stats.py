"""The statistics against straightforward references written here, with no NumPy, and against simulated data."""

import itertools
import random
import tracemalloc
from collections import Counter
from fractions import Fraction
from math import comb, exp, inf, log
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import stats

finite = st.floats(-1e6, 1e6)
durations = st.floats(1e-9, 1e9)


# --- references -------------------------------------------------------------------------------------------------------


def reference_sign_interval(values: list[float], confidence: Fraction) -> tuple[float, float, float]:
    """The narrowest pair of order statistics (k-th from below, k-th from above) whose exact coverage suffices."""
    n, ordered = len(values), sorted(values)
    best = (-inf, inf, 1.0)
    for k in range(1, n // 2 + 1):
        # The median lies between them unless fewer than k of n fair coins fall on one side.
        coverage = 1 - 2 * Fraction(sum(comb(n, i) for i in range(k)), 2**n)
        if coverage >= confidence:
            best = (ordered[k - 1], ordered[n - k], float(coverage))
    return best


def reference_bootstrap(processes: list[list[float]], draws: int, draw: random.Random) -> tuple[float, float]:
    found = []
    for _ in range(draws):
        chosen = [processes[draw.randrange(len(processes))] for _ in processes]
        found.append(median(median([own[draw.randrange(len(own))] for _ in own]) for own in chosen))
    found.sort()
    return found[round(0.025 * draws)], found[round(0.975 * draws) - 1]


def reference_samples_for(percentile: Fraction) -> int:
    share, n = 1 - percentile / 100, 2
    while (1 - share) ** n + n * share * (1 - share) ** (n - 1) > Fraction(1, 100):
        n += 1
    return n


def simulated(draw: random.Random, *, processes: int, bursts: int, between: float, within: float) -> list[list[float]]:
    """Processes that differ by `between` and bursts by `within` around a step of 1."""
    centres = [1 + draw.gauss(0, between) for _ in range(processes)]
    return [[centre + draw.gauss(0, within) for _ in range(bursts)] for centre in centres]


# --- the sign test's interval -----------------------------------------------------------------------------------------


@given(st.lists(finite, max_size=40), st.sampled_from([Fraction(9, 10), Fraction(19, 20), Fraction(99, 100)]))
def test_sign_interval_is_the_reference_s(values: list[float], confidence: Fraction) -> None:
    low, high, coverage = stats.sign_interval(values, float(confidence))
    wanted = reference_sign_interval(values, confidence)
    assert (low, high) == wanted[:2]
    assert coverage == pytest.approx(wanted[2], abs=1e-12)


@pytest.mark.parametrize(
    ("n", "low", "high", "coverage"),
    [(6, 1, 6, 0.96875), (10, 2, 9, 0.978515625), (16, 4, 13, 0.978729248046875), (20, 6, 15, 0.958610534667968)],
)
def test_sign_interval_of_known_sizes(n: int, low: int, high: int, coverage: float) -> None:
    values = [float(value) for value in range(1, n + 1)]
    random.Random(1).shuffle(values)
    found = stats.sign_interval(values)
    assert found[:2] == (low, high)
    assert found[2] == pytest.approx(coverage)


@pytest.mark.parametrize("n", range(6))
def test_no_sign_interval_under_six(n: int) -> None:
    assert stats.sign_interval([1.0] * n) == (-inf, inf, 1.0)


def test_sign_interval_covers_what_it_says() -> None:
    draw = random.Random(2)
    hits = 0
    for _ in range(4000):
        low, high, _ = stats.sign_interval([draw.lognormvariate(0, 2) for _ in range(10)])
        hits += low <= 1 <= high
    assert hits / 4000 == pytest.approx(0.9785, abs=0.01)  # 4 standard errors are 0.009


# --- ratios -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(durations, durations), min_size=1, max_size=20))
def test_ratio_is_the_median_of_the_paired_logarithms(pairs: list[tuple[float, float]]) -> None:
    candidate, base = zip(*pairs, strict=True)
    found, interval = stats.ratio(candidate, base)
    logs = sorted(log(c / b) for c, b in pairs)
    assert found == pytest.approx(exp(median(logs)))
    low, high, _ = reference_sign_interval(logs, Fraction(19, 20))
    assert interval == (None if len(pairs) < 6 else (pytest.approx(exp(low)), pytest.approx(exp(high))))
    if interval:
        assert interval[0] <= found * (1 + 1e-12) and found <= interval[1] * (1 + 1e-12)


def test_ratio_wants_pairs() -> None:
    with pytest.raises(ValueError):
        stats.ratio([1.0, 2.0], [1.0])


def test_pairing_takes_out_what_both_sides_share() -> None:
    # A round in which the machine is three times slower for both must not widen the interval.
    base = [1.0, 3.0, 1.1, 0.9, 2.5, 1.0]
    _, interval = stats.ratio([1.2 * value for value in base], base)
    assert interval == (pytest.approx(1.2), pytest.approx(1.2))


# --- estimate and bootstrap -------------------------------------------------------------------------------------------


@given(st.lists(st.lists(finite, min_size=1, max_size=9), min_size=1, max_size=9))
def test_estimate_is_the_median_of_medians(processes: list[list[float]]) -> None:
    assert stats.estimate(processes) == pytest.approx(median(map(median, processes)))


def test_an_outlier_of_one_process_does_not_move_the_estimate() -> None:
    assert stats.estimate([[1.0] * 9, [1.0] * 9, [1.0] * 4 + [1000.0] * 5]) == 1.0


@pytest.mark.parametrize(("processes", "bursts"), [(5, 5), (6, 20), (10, 9)])
def test_bootstrap_agrees_with_a_plain_one(processes: int, bursts: int) -> None:
    data = simulated(random.Random(3), processes=processes, bursts=bursts, between=0.05, within=0.02)
    found = stats.bootstrap(data)
    assert found is not None
    wanted = reference_bootstrap(data, 2000, random.Random(4))
    # The spread of a simulated 2.5 % quantile of 2 000 draws is itself simulated: from ten more of the references.
    again = [reference_bootstrap(data, 400, random.Random(seed)) for seed in range(10)]
    for side in (0, 1):
        spread = float(np.std([pair[side] for pair in again], ddof=1)) * (400 / 2000) ** 0.5
        assert abs(found[side] - wanted[side]) <= 5 * spread + 1e-3


@pytest.mark.parametrize("n", range(1, 7))
def test_the_middle_of_a_resample_is_as_probable_as_counted(n: int) -> None:
    counted: Counter[tuple[int, int]] = Counter()
    for drawn in itertools.product(range(n), repeat=n):
        ordered = sorted(drawn)
        counted[ordered[(n - 1) // 2], ordered[n // 2]] += 1
    lower, upper, share = stats._middle_of_resample(n)
    found = {(int(a), int(b)): float(p) for a, b, p in zip(lower, upper, share, strict=True)}
    assert found == pytest.approx({pair: many / n**n for pair, many in counted.items()}, abs=1e-12)


@pytest.mark.parametrize("n", [20, 21, 200, 2001, 100_000])
def test_the_middles_of_a_resample_are_all_there(n: int) -> None:
    lower, upper, share = stats._middle_of_resample(n)
    assert float(share.sum()) == pytest.approx(1, abs=1e-9) and (upper - lower).max() <= 40
    assert float(share @ (lower + upper)) / 2 == pytest.approx((n - 1) / 2, rel=1e-8)  # it has no leaning


def test_bootstrap_is_the_same_every_time_and_depends_on_its_seed() -> None:
    data = simulated(random.Random(5), processes=6, bursts=20, between=0.05, within=0.02)
    assert stats.bootstrap(data) == stats.bootstrap(data)
    assert stats.bootstrap(data, seed=1) != stats.bootstrap(data, seed=2)


@pytest.mark.parametrize("count", range(7))
def test_too_few_processes_have_no_interval(count: int) -> None:
    # Simulated, "95 %" intervals of 2, 3 and 4 processes cover 60, 81 and 86 %.
    assert (stats.bootstrap([[1.0, 2.0, 3.0]] * count) is None) is (count < 5)


def test_bootstrap_of_processes_with_different_numbers_of_bursts() -> None:
    low, high = stats.bootstrap([[1.0] * 3, [1.0], [2.0] * 20, [3.0], [3.0] * 7]) or (0.0, 0.0)
    assert (low, high) == (1.0, 3.0)


def test_bootstrap_of_many_calls_needs_little_memory() -> None:
    # A suite may ask for a million calls; 10 000 resamples of them at once would be 80 GB a process.
    data = simulated(random.Random(9), processes=5, bursts=2000, between=0.05, within=0.02)
    tracemalloc.start()
    try:
        stats.bootstrap(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50e6


def test_the_process_is_the_unit_not_the_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ten times the bursts of the same six processes must not narrow the interval by the root of ten.
    monkeypatch.setattr(stats, "DRAWS", 2000)
    few = simulated(random.Random(6), processes=6, bursts=20, between=0.05, within=0.01)
    many = [own * 10 for own in few]
    widths = [high - low for low, high in filter(None, map(stats.bootstrap, (few, many)))]
    assert widths[1] > 0.8 * widths[0]


@pytest.mark.parametrize(("between", "within"), [(0.02, 0.01), (0.02, 0.05), (0.0, 0.02)])
def test_bootstrap_covers_at_least_what_it_promises(
    between: float, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "DRAWS", 1000)
    draw = random.Random(7)
    hits = 0
    for seed in range(200):
        found = stats.bootstrap(simulated(draw, processes=6, bursts=20, between=between, within=within), seed=seed)
        hits += found is not None and found[0] <= 1 <= found[1]
    assert hits / 200 >= 0.90  # 95 % promised; four standard errors of 200 trials are 6 %, and the seed is fixed


# --- percentiles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percentile", "wanted"), [("50", 11), ("90", 64), ("95", 130), ("99", 662), ("99.9", 6636)], ids=str
)
def test_samples_for(percentile: str, wanted: int) -> None:
    assert stats.samples_for(float(percentile)) == wanted
    if wanted < 1000:  # exact fractions of thousands of digits are slow
        assert reference_samples_for(Fraction(percentile)) == wanted


@pytest.mark.parametrize(("wanted", "least"), [(50, 11), (90, 64), (99, 662)])
def test_a_percentile_of_too_few_values_is_unknown(wanted: float, least: int) -> None:
    values = [float(n) for n in range(least)]
    assert stats.percentile(values[:-1], wanted) is None
    assert stats.percentile(values, wanted) == pytest.approx(wanted / 100 * (least - 1))


# --- drift ------------------------------------------------------------------------------------------------------------


def bursts(change: float, noise: float, *, count: int = 20, seed: int = 8) -> list[float]:
    """Bursts that grow by the factor 1 + `change` from first to last, with log-normal noise."""
    draw = random.Random(seed)
    return [exp(log(1 + change) * n / (count - 1) + draw.gauss(0, noise)) for n in range(count)]


@pytest.mark.parametrize(
    ("change", "noise", "wanted"),
    [
        (0.10, 0.001, True),
        (-0.10, 0.001, True),
        (0.50, 0.02, True),
        (-0.40, 0.02, True),
        (0.03, 0.0001, False),  # last third against first: 2 %
        (-0.03, 0.0001, False),
        (0.0, 0.0, False),
    ],
)
@pytest.mark.parametrize("count", [20, 200])
def test_drifting(change: float, noise: float, wanted: bool, count: int) -> None:
    assert stats.drifting(bursts(change, noise, count=count)) is wanted


@pytest.mark.parametrize(("count", "noise", "most"), [(20, 0.01, 0.01), (20, 0.2, 0.06), (200, 0.2, 0.02)])
def test_noise_alone_seldom_drifts(count: int, noise: float, most: float) -> None:
    found = [stats.drifting(bursts(0.0, noise, count=count, seed=seed)) for seed in range(500)]
    assert sum(found) / 500 <= most


def test_one_slow_burst_is_no_drift() -> None:
    for place in range(20):
        steady = bursts(0.0, 0.01)
        steady[place] *= 50
        assert not stats.drifting(steady)


@pytest.mark.parametrize("count", range(9))
def test_under_nine_bursts_never_drift(count: int) -> None:
    assert not stats.drifting([2.0**n for n in range(count)])


@pytest.mark.parametrize("order", [1, -1])
def test_nine_bursts_can_drift(order: int) -> None:
    assert stats.drifting(([1.0] * 3 + [1.5] * 3 + [2.0] * 3)[::order])
