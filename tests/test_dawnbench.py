"""Hours x price per hour, against what the public entries of DAWNBench (2017 to 2020) say that they cost.

`dawnbench.csv` holds the numbers of github.com/stanford-futuredata/dawn-bench-entries. `time`: milliseconds of one
inference, or hours until the first epoch over the threshold. `price_from`: which entry states the price of that
hardware. `agrees`: `unpriced` where none does, `unpublished` where a training entry's cost is nowhere to be compared.
"""

import csv
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from conftest import ROOT

from bench.prices import cost
from bench.prices.book import Price

Fact = dict[str, str]
with open(ROOT / "tests/dawnbench.csv", newline="") as file:
    FACTS: list[Fact] = list(csv.DictReader(file))
DIGITS = 15  # a float holds so many; entries with more were computed in floats, and their last digits drifted
DRIFT = Fraction(1, 10**15)


def facts(agrees: str) -> list[Fact]:
    return [fact for fact in FACTS if fact["agrees"] == agrees]


def each(agrees: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fact", facts(agrees), ids=lambda fact: fact["entry"])


def price_of(fact: Fact, usd_per_hour: str = "") -> Price:
    return Price(instance="there", usd_per_hour=Decimal(usd_per_hour or fact["usd_per_hour"]))


def usd(fact: Fact, usd_per_hour: str = "") -> Decimal:
    """What the entry cost, by `bench.prices.cost`: one inference, or a training."""
    price = price_of(fact, usd_per_hour)
    if fact["unit"] == "h":
        found = cost.usd(price, float(Decimal(fact["time"]) * 3600))
        assert found is not None
        return found
    timed = cost.Timed(step=float(Decimal(fact["time"]) / 1000), low=None, high=None, batch=1, inference=True)
    million = cost.of(price, timed).usd_per_million_inferences
    assert million is not None
    return million / 10**6


def exact(fact: Fact) -> Fraction:
    per_hour = {"h": 1, "ms": 3_600_000}[fact["unit"]]
    return Fraction(fact["time"]) * Fraction(fact["usd_per_hour"]) / per_hour


def digits(published: str) -> int:
    return len(Decimal(published).as_tuple().digits)


def rounded(fact: Fact) -> Decimal:
    """As many decimals as were published."""
    return usd(fact).quantize(Decimal(fact["published"]), ROUND_HALF_UP)


@each("yes")
def test_the_published_cost_follows_from_time_and_price(fact: Fact) -> None:
    if digits(fact["published"]) <= DIGITS:
        assert rounded(fact) == Decimal(fact["published"])
    else:
        assert abs(Fraction(fact["published"]) / exact(fact) - 1) < DRIFT
        assert abs(Fraction(usd(fact)) / exact(fact) - 1) < DRIFT


def test_costs_published_as_floats_have_drifted_and_ours_do_not() -> None:
    floats = [fact for fact in facts("yes") if digits(fact["published"]) > DIGITS]
    drifted = [fact for fact in floats if rounded(fact) != Decimal(fact["published"])]
    assert (len(floats), len(drifted)) == (12, 10)
    for fact in floats:
        # 28 digits, of which the last is rounded once; the time itself was made a float of seconds.
        seconds = Fraction(Decimal(repr(float(Decimal(fact["time"]) / 1000))))
        wanted = seconds * Fraction(fact["usd_per_hour"]) / 3600
        assert abs(Fraction(usd(fact)) / wanted - 1) < Fraction(1, 10**27)


@each("no")
def test_what_is_listed_as_not_following_does_not(fact: Fact) -> None:
    assert rounded(fact) != Decimal(fact["published"])


@each("unpriced")
def test_of_an_entry_without_a_price_the_price_follows_from_its_cost(fact: Fact) -> None:
    implied = Decimal(fact["published"]) * 3_600_000 / Decimal(fact["time"])
    assert usd(fact, str(implied)).quantize(Decimal(fact["published"])) == Decimal(fact["published"])


@each("unpublished")
def test_a_training_costs_its_hours_times_its_price(fact: Fact) -> None:
    assert fact["published"] == ""
    assert abs(Fraction(usd(fact)) / exact(fact) - 1) < DRIFT


def test_inferences_for_a_dollar_are_the_reciprocal() -> None:
    for fact in facts("yes"):
        if fact["unit"] == "ms":
            found = cost.inferences(Decimal(fact["usd_per_hour"]), float(Decimal(fact["time"]) / 1000), 1)
            assert abs(Fraction(found) * Fraction(usd(fact)) - 1) < Fraction(1, 10**26), fact["entry"]


def test_how_many_could_be_checked() -> None:
    assert Counter((fact["agrees"], fact["unit"]) for fact in FACTS) == {
        ("yes", "ms"): 18,
        ("yes", "h"): 6,
        ("no", "ms"): 1,  # a made-up sample
        ("no", "h"): 1,  # the 40 USD are its authors' spot price, the entry states the list price
        ("unpriced", "ms"): 8,
        ("unpublished", "h"): 25,
    }
