"""Priced rows as FOCUS charges: the specification's columns, exact products, what is not invoiced, and when.

`focus_validate.py` has the specification's own validator read such a file; it wants an environment of its own.
"""

import csv
import io
import json
import re
from datetime import datetime
from decimal import Context, Decimal
from fractions import Fraction

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_table import CASE, JAX, NULL, PRICE, failure, rounds_of, run_of

from bench import api, table
from bench.prices.book import PRICE_MODELS, Price, bundled, hourly
from bench.records import PILOT_ROUND, latest
from bench.reports import focus
from bench.table import Report

# The columns that FOCUS 1.2 calls mandatory.
FOCUS_1_2 = """
BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodEnd BillingPeriodStart ChargeCategory
ChargeClass ChargeDescription ChargePeriodEnd ChargePeriodStart ContractedCost EffectiveCost InvoiceIssuerName ListCost
PricingQuantity PricingUnit ProviderName PublisherName ServiceCategory ServiceName
"""
MANDATORY = set(FOCUS_1_2.split())
MAY_BE_EMPTY = {"ChargeClass", "InvoiceId", "RegionId", "RegionName", "x_PriceAsOf", "x_PriceModel", "x_PriceSource"}
RUN = run_of(CASE, JAX, NULL, replace(CASE, batch=1))
RECORDS = [*rounds_of(CASE, *[2.0] * 6), *rounds_of(JAX, *[3.0] * 6), *rounds_of(NULL, *[1e-4] * 6)]


def report(price: Price | None = PRICE, started: str = RUN.started) -> Report:
    failed = failure(replace(CASE, batch=1), PILOT_ROUND)
    return table.report(replace(RUN, started=started), latest([*RECORDS, failed]), price)


def charges(*reports: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(focus.render(reports), newline="")))


def test_it_has_the_specification_s_columns_and_marks_its_own() -> None:
    header = focus.render([report()]).splitlines()[0].split(",")
    assert set(header) >= MANDATORY
    assert len(set(header)) == len(header)
    for name in header:
        assert name.startswith("x_") or (name[0].isupper() and name.isalnum())


def test_one_line_a_priced_row_and_none_for_others() -> None:
    found = charges(report())
    assert [(row["x_Backend"], json.loads(row["Tags"])["batch"]) for row in found] == [("torch", "64"), ("jax", "64")]


def test_without_a_price_there_is_no_line() -> None:
    assert charges(report(None)) == []


def test_several_runs_and_prices_stand_in_one_file() -> None:
    found = charges(report(), report(None), report(hourly("2.10")))
    assert [row["ListUnitPrice"] for row in found] == ["55.04", "55.04", "2.1", "2.1"]


def test_only_what_may_be_empty_is() -> None:
    for price in (PRICE, hourly("2.10")):
        for row in charges(report(price)):
            assert {name for name, cell in row.items() if not cell} <= MAY_BE_EMPTY


def test_an_estimate_is_billed_to_nobody() -> None:
    for row in charges(report()):
        assert (row["BilledCost"], row["EffectiveCost"], row["InvoiceId"]) == ("0.0", "0.0", "")
        assert "estimate" in row["InvoiceIssuerName"] and "not invoiced" in row["ChargeDescription"]
        assert Decimal(row["ListCost"]) > 0


def test_the_cost_is_the_exact_product_of_price_and_hours() -> None:
    (row, _) = charges(report())
    # A pilot of 2.2 s and six processes of 3.1 s.
    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("20.8", "Seconds")
    assert (row["PricingQuantity"], row["PricingUnit"]) == ("0.005777778", "Hours")
    assert row["ListCost"] == row["ContractedCost"] == "0.31800890112"


@given(st.floats(1e-3, 1e7), st.sampled_from(["0.000001", "63.30", "12.3456789", "1000000"]))
def test_no_product_is_rounded(occupied: float, usd: str) -> None:
    made = report(hourly(usd))
    row = focus.charge(made.run, hourly(usd), made.rows[0], occupied)
    assert Fraction(row["ListCost"]) == Fraction(row["ListUnitPrice"]) * Fraction(row["PricingQuantity"])
    assert abs(Fraction(row["PricingQuantity"]) - Fraction(repr(occupied)) / 3600) <= Fraction(1, 2 * 10**9)
    numbers = [row[name] for name in ("ListCost", "ListUnitPrice", "PricingQuantity", "ConsumedQuantity")]
    assert all(re.fullmatch(r"\d+\.\d+", number) for number in numbers), numbers


@pytest.mark.parametrize(
    ("model", "category"),
    [
        ("on_demand", "Standard"),
        ("spot", "Dynamic"),
        ("committed_1y", "Committed"),
        ("committed_3y", "Committed"),
        ("capacity_block", "Other"),
        ("calendar", "Other"),
        ("flex_start", "Other"),
        ("", "Other"),
    ],
)
def test_the_pricing_category_is_the_model_s(model: str, category: str) -> None:
    assert charges(report(replace(PRICE, price_model=model)))[0]["PricingCategory"] == category


def test_every_model_has_one_of_the_specification_s_categories() -> None:
    allowed = {"Standard", "Dynamic", "Committed", "Other"}
    assert {charges(report(replace(PRICE, price_model=m)))[0]["PricingCategory"] for m in PRICE_MODELS} == allowed


def test_every_service_of_the_book_has_a_name_and_every_provider_is_known() -> None:
    assert {price.provider for price in bundled()} <= focus.PROVIDERS.keys()
    assert {price.service for price in bundled()} <= focus.SERVICES.keys()


@pytest.mark.parametrize(
    ("started", "billed"),
    [
        ("2026-11-23T12:00:00Z", ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")),
        ("2026-12-31T23:59:59Z", ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")),
        ("2024-02-01T00:00:00Z", ("2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")),
    ],
)
def test_the_periods_are_the_run_s(started: str, billed: tuple[str, str]) -> None:
    row = charges(report(started=started))[0]
    assert row["ChargePeriodStart"] == started
    took = datetime.fromisoformat(row["ChargePeriodEnd"]) - datetime.fromisoformat(started)
    assert took.total_seconds() == 21  # the end is not part of it: 20.8 s, in whole seconds
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == billed


def test_the_tags_are_the_case() -> None:
    assert json.loads(charges(report())[0]["Tags"]) == {n: str(getattr(CASE, n)) for n in CASE.__struct_fields__}


def test_a_real_run_costs_its_processes_time() -> None:
    run = api.load(ROOT / "results/reference/quick-2core").reprice(instance="m7i.4xlarge")
    found = charges(run.report)
    assert len(found) == len(run.report.rows)
    exact = Context(prec=60)
    for row, charge in zip(run.report.rows, found, strict=True):
        assert Decimal(charge["ConsumedQuantity"]) == Decimal(repr(row.occupied_seconds))
        assert Decimal(charge["ListCost"]) == exact.multiply(Decimal("0.8064"), Decimal(charge["PricingQuantity"]))
        assert (charge["ProviderName"], charge["RegionId"]) == ("AWS", "us-east-1")
