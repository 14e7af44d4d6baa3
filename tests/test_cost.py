"""What work costs: every amount against exact fractions, bills by their provider's rule, who is beaten by nobody."""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_table import CASE, PRICE, rounds_of, row_of

from bench.errors import BenchError
from bench.prices import billing, cost, pareto
from bench.prices.book import Price
from bench.prices.cost import Timed

P5EN = Price(
    provider="aws",
    service="ec2",
    instance="p5en.48xlarge",
    region="us-east-1",
    accelerator="H200",
    accelerator_count=8,
    usd_per_hour=Decimal("63.30"),
)
ONE_ROUNDING = Fraction(1, 10**27)  # of 28 digits, relative to the amount
prices = st.decimals("0.000001", "1000000", allow_nan=False, allow_infinity=False).map(lambda d: d.normalize())
times = st.floats(1e-9, 1e5)
batches = st.integers(1, 2**20)


def timed(step: float = 0.002, **more: Any) -> Timed:
    return Timed(**{"step": step, "low": None, "high": None, "batch": 64, "inference": False, **more})


def close(found: Decimal | None, wanted: Fraction) -> bool:
    """Equal but for one rounding."""
    assert found is not None
    return abs(Fraction(found) - wanted) <= abs(wanted) * ONE_ROUNDING


def seconds(value: float) -> Fraction:
    """What a time counts as: the shortest decimal that is the float."""
    return Fraction(repr(value))


# --- exactness --------------------------------------------------------------------------------------------------------


@given(prices, times, batches)
def test_amounts_are_exact_but_for_one_rounding(usd: Decimal, step: float, batch: int) -> None:
    price = replace(P5EN, usd_per_hour=usd)
    hour = Fraction(usd) / 3600
    trained = cost.of(price, timed(step, batch=batch, epoch=60_000, measured=step, break_even=step))
    assert close(trained.usd_per_million_samples, hour * seconds(step) * 10**6 / batch)
    assert close(trained.usd_per_epoch, hour * seconds(step) * 60_000 / batch)
    assert close(trained.usd_measured, hour * seconds(step))
    assert close(trained.usd_break_even, hour * seconds(step))
    inferred = cost.of(price, timed(step, batch=batch, inference=True))
    assert inferred.usd_per_million_inferences == inferred.usd_per_million_samples == trained.usd_per_million_samples


@given(prices, times, batches)
def test_inferences_for_a_dollar_are_the_exact_reciprocal(usd: Decimal, step: float, batch: int) -> None:
    found = cost.inferences(usd, step, batch)
    assert close(found, 1 / (Fraction(usd) / 3600 * seconds(step) / batch))
    million = cost.of(replace(P5EN, usd_per_hour=usd), timed(step, batch=batch, inference=True))
    assert million.inferences_per_usd == found and million.usd_per_million_inferences is not None
    assert abs(Fraction(found) * Fraction(million.usd_per_million_inferences) / 10**6 - 1) < 3 * ONE_ROUNDING


@given(prices, times, times)
def test_at_the_break_even_price_both_cost_the_same(usd: Decimal, ours: float, theirs: float) -> None:
    found = cost.break_even_price(usd, ours, theirs)
    assert close(found, Fraction(usd) * seconds(ours) / seconds(theirs))


def test_cheaper_is_what_costs_less_an_hour_than_the_break_even_price() -> None:
    # B takes a tenth of A's time: it is cheaper while its hour costs less than ten of A's.
    assert cost.break_even_price(Decimal("2.10"), 0.5, 0.05) == Decimal(21)


@pytest.mark.parametrize("digits", [3, 50])
def test_the_caller_s_own_precision_changes_no_amount(digits: int) -> None:
    work = timed(1 / 3, inference=True, measured=1 / 7, occupied=12345.6)
    wanted, price = cost.of(P5EN, work), cost.break_even_price(Decimal("1.23456789"), 1 / 3, 1 / 7)
    with localcontext(prec=digits):
        found = cost.of(P5EN, work)
        assert cost.break_even_price(Decimal("1.23456789"), 1 / 3, 1 / 7) == price
    assert found == wanted


def test_a_numpy_number_is_a_number() -> None:
    assert cost.of(P5EN, timed(np.float64(0.002))) == cost.of(P5EN, timed(0.002))


@pytest.mark.parametrize("step", [0.0, -1e-3, inf, nan])
def test_a_step_that_takes_no_time_has_no_cost(step: float) -> None:
    with pytest.raises(BenchError, match="wanted a step of finite seconds above 0"):
        cost.of(P5EN, timed(step))


# --- which amounts there are ------------------------------------------------------------------------------------------


def test_an_epoch_of_fashion_mnist_is_60_000_samples() -> None:
    row = row_of(rounds_of(case := replace(CASE, data="fashion-mnist"), *[2.0] * 6), case, price=PRICE)
    assert row.cost.usd_per_epoch == Decimal("55.04") * Decimal("0.002") * 60_000 / 64 / 3600
    assert row.cost.usd_per_million_inferences is row.cost.inferences_per_usd is None


def test_inference_has_inferences_and_no_epoch() -> None:
    row = row_of(rounds_of(case := replace(CASE, phase="infer"), *[2.0] * 6), case, price=PRICE)
    assert row.cost.usd_per_epoch is None
    assert row.cost.usd_per_million_inferences == row.cost.usd_per_million_samples
    assert row.cost.inferences_per_usd == Decimal(3600 * 64) / (Decimal("55.04") * Decimal("0.002"))


def test_of_unknown_images_an_epoch_has_no_cost() -> None:
    assert cost.of(P5EN, timed(epoch=None)).usd_per_epoch is None


@given(st.lists(times, min_size=3, max_size=3).map(sorted), st.booleans())
def test_intervals_of_money_are_ordered_as_those_of_time(ends: list[float], inference: bool) -> None:
    low, step, high = ends
    found = cost.of(P5EN, timed(step, low=low, high=high, inference=inference, epoch=60_000))
    for name in ("usd_per_million_samples", "usd_per_million_inferences" if inference else "usd_per_epoch"):
        a, b, c = (getattr(found, name + end) for end in ("_low", "", "_high"))
        assert a <= b <= c


def test_without_an_interval_of_time_there_is_none_of_money() -> None:
    found = cost.of(P5EN, timed(epoch=60_000))
    assert found.usd_per_million_samples_low is found.usd_per_epoch_high is None


def test_the_share_is_one_accelerator_s() -> None:
    found = cost.of(P5EN, timed())
    assert close(found.usd_per_million_samples_share, Fraction("63.30") * Fraction("0.002") * 10**6 / 64 / 8 / 3600)
    assert cost.of(replace(P5EN, accelerator_count=None), timed()).usd_per_million_samples_share is None


@pytest.mark.parametrize("seconds", [None, inf, nan])
def test_a_compilation_that_is_never_repaid_has_no_cost(seconds: float | None) -> None:
    found = cost.of(P5EN, timed(break_even=seconds, break_even_warm=seconds, measured=seconds, occupied=seconds))
    assert found.usd_break_even is found.usd_break_even_warm is found.usd_measured is found.usd_billed is None


def test_on_one_machine_the_price_cancels() -> None:
    for usd in ("0.01", "63.30"):
        a, b = (cost.of(replace(P5EN, usd_per_hour=Decimal(usd)), timed(s)).usd_per_million_samples for s in (0.3, 0.1))
        assert a is not None and b is not None and close(a / b, Fraction(3))


# --- bills ------------------------------------------------------------------------------------------------------------


def test_eight_seconds_of_p5en_are_14_cents_and_a_bill_of_a_minute() -> None:
    found = cost.of(P5EN, timed(measured=8.0, occupied=8.0))
    assert found.usd_measured is not None
    assert round(found.usd_measured, 2) == Decimal("0.14")
    assert found.usd_billed == Decimal("1.055")


@pytest.mark.parametrize(
    ("used", "billed"), [(0.0, 60), (59.999, 60), (60.0, 60), (60.000001, 61), (61.5, 62), (3600.0, 3600)]
)
@pytest.mark.parametrize("seller", list(billing.RULES))
def test_a_bill_is_by_the_second_and_a_minute_at_least(seller: tuple[str, str], used: float, billed: int) -> None:
    assert billing.seconds(*seller, used) == billed


@pytest.mark.parametrize("seller", [("own", ""), ("aws", "sagemaker"), ("azure", "virtual-machines"), ("", "")])
def test_where_the_rule_is_not_known_there_is_no_bill(seller: tuple[str, str]) -> None:
    assert billing.seconds(*seller, 100.0) is None
    price = replace(P5EN, provider=seller[0], service=seller[1])
    assert cost.of(price, timed(measured=8.0, occupied=8.0)).usd_billed is None


@given(st.floats(0, 1e6), prices)
def test_a_bill_is_never_less_than_the_arithmetic(used: float, usd: Decimal) -> None:
    price = replace(P5EN, usd_per_hour=usd)
    billed, measured = cost.billed(price, used), cost.usd(price, used)
    assert billed is not None and measured is not None
    assert billed >= measured
    assert Fraction(billed) - Fraction(measured) <= Fraction(usd) / 60 + Fraction(usd) * ONE_ROUNDING * 10**6


# --- who is beaten by nobody ------------------------------------------------------------------------------------------

points = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.5]), st.integers(1, 5).map(Decimal)), max_size=12)


def beats(a: tuple[float, Decimal], b: tuple[float, Decimal]) -> bool:
    return a[0] <= b[0] and a[1] <= b[1] and (a[0] < b[0] or a[1] < b[1])


@given(points)
def test_the_front_is_exactly_what_nobody_beats(found: list[tuple[float, Decimal]]) -> None:
    front = pareto.front(found)
    assert front == [not any(beats(other, point) for other in found) for point in found]


@given(points)
def test_whoever_is_not_on_the_front_is_beaten_by_one_who_is(found: list[tuple[float, Decimal]]) -> None:
    on = [point for point, best in zip(found, pareto.front(found), strict=True) if best]
    assert bool(on) == bool(found)
    for point in found:
        assert point in on or any(beats(other, point) for other in on)


@given(points, st.randoms())
def test_the_order_of_the_points_changes_nothing(found: list[tuple[float, Decimal]], random: Any) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert sorted(zip(found, pareto.front(found), strict=True)) == sorted(
        zip(shuffled, pareto.front(shuffled), strict=True)
    )


def test_a_tie_is_beaten_by_nobody() -> None:
    twice = (0.2, Decimal(1))
    assert pareto.front([twice, twice, (0.2, Decimal(2)), (0.1, Decimal(3))]) == [True, True, False, True]


def test_the_ends_of_an_interval_are_those_of_its_time() -> None:
    found = cost.of(P5EN, timed(0.002, low=0.001, high=0.004))
    share = found.usd_per_million_samples_share
    low, high = found.usd_per_million_samples_share_low, found.usd_per_million_samples_share_high
    assert low is not None and share is not None and high is not None
    assert (float(share / low), float(high / share)) == pytest.approx((2, 2))
    # The longer a step takes, the fewer there are for a dollar.
    answered = cost.of(P5EN, timed(0.002, low=0.001, high=0.004, inference=True))
    low, middle, high = answered.inferences_per_usd_low, answered.inferences_per_usd, answered.inferences_per_usd_high
    assert low is not None and middle is not None and high is not None
    assert low < middle < high and float(high / low) == pytest.approx(4)
