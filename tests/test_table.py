"""Rows from records made by hand: status, intervals, relative, percentiles, money. Other tests use the builders too."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import combinations

import pytest
from msgspec.structs import replace

from bench import stats, table
from bench.machine import Machine
from bench.prices.book import Price
from bench.records import PILOT_ROUND, Case, Failure, Origin, Pilot, Proof, Record, Sample, latest
from bench.run import Run
from bench.suite import Filters, Matrix, Planned, Protocol, Suite
from bench.table import STATUSES, Row

MACHINE = Machine("Testor 9000", 4, 8, 16.0, (), "Testix 1", "6.1", "3.11.7", "")
CASE = Case(
    workload="mlp",
    phase="train",
    measure="throughput",
    backend="torch",
    mode="eager",
    precision="fp32",
    layout="flat",
    batch=64,
    data="synthetic",
    input="resident",
    steps_per_call=1,
    recipe="plain",
    device="cpu",
    threads=4,
)
JAX = replace(CASE, backend="jax", mode="compiled")
NULL = replace(CASE, backend="null")
ROUNDS = 6


def origin(number: int) -> Origin:
    return Origin("digest", "machine", {"torch": "2.9"}, "abc1234", number, "2026-11-23T12:00:00Z")


def sample(case: Case, number: int, milliseconds: float | list[float], *, steps: int = 10, warm: float = 0.5) -> Sample:
    """A process whose bursts took so many milliseconds a step: all alike, or as listed."""
    values = milliseconds if isinstance(milliseconds, list) else [milliseconds] * 20
    wall = tuple(round(value * steps * 1e6) for value in values)
    return Sample(case, origin(number), (warm, 0.1, 0.1), steps, wall, wall, (0,) * len(wall), ())


def pilot(case: Case, *, cold: float = 2.0, peak: int | None = 3 * 2**20) -> Pilot:
    return Pilot(
        case=case,
        origin=origin(PILOT_ROUND),
        first_calls=(cold, 0.1, 0.1),
        warm_up_steps=100,
        steps_per_burst=10,
        fence_seconds=1e-7,
        peak_bytes=peak,
    )


def failure(case: Case, number: int, status: str = "error", reason: str = "it broke", log: str = "") -> Failure:
    return Failure(case, origin(number), status, reason, log)


def proof(case: Case, *, broken: str = "", fp64: float | None = 1e-15, error: float | None = 1e-7) -> Proof:
    return Proof(case.worker, origin(PILOT_ROUND), fp64, error, broken, {}, False)


def rounds_of(case: Case, *milliseconds: float) -> list[Record]:
    """A pilot, and one steady process a round."""
    return [pilot(case), *(sample(case, number, value) for number, value in enumerate(milliseconds))]


def run_of(*planned: Case | Planned, rounds: int = ROUNDS, protocol: Protocol | None = None) -> Run:
    matrix = (Matrix(workload=("mlp",), backend=("torch",)),)
    suite = Suite("made", matrix, rounds=rounds, protocol=protocol or Protocol())
    plans = tuple(p if isinstance(p, Planned) else Planned(p) for p in planned)
    versions = {"stepwatch": "0.1.0", "numpy": "2.1", "torch": "2.9"}
    return Run(suite, plans, MACHINE, Filters(), versions, "abc1234", "h", 300.0, "2026-11-23T12:00:00Z")


def rows_of(run: Run, records: Iterable[Record], price: Price | None = None) -> tuple[Row, ...]:
    return table.report(run, latest(list(records)), price).rows


def row_of(records: Iterable[Record], case: Case = CASE, *, rounds: int = ROUNDS, price: Price | None = None) -> Row:
    (row,) = rows_of(run_of(case, rounds=rounds), records, price)
    return row


PRICE = Price(
    provider="cloud",
    service="compute",
    instance="box.8x",
    region="here-1",
    accelerator="H1",
    accelerator_count=8,
    usd_per_hour=Decimal("55.04"),
    as_of="2026-11-01",
    source="a page",
)
STEADY = rounds_of(CASE, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5)
FAILED = ("parity_failed", "error", "crashed", "oom", "timeout")
DRIFTING = [1.0] * 7 + [1.1] * 6 + [1.2] * 7


# --- status -----------------------------------------------------------------------------------------------------------


def test_a_steady_case_is_ok_with_all_its_numbers() -> None:
    row = row_of([proof(CASE), *STEADY])
    assert (row.status, row.reason, row.rounds, row.samples) == ("ok", "", 6, 120)
    assert row.step_ms == pytest.approx(2.25)
    assert row.step_ms_low is not None and row.step_ms_high is not None
    assert row.step_ms_low < row.step_ms < row.step_ms_high
    assert row.samples_per_second == pytest.approx(64 / 2.25e-3)
    assert (row.parity_fp64, row.parity_error) == (1e-15, 1e-7)
    assert row.first_step_cold_ms == pytest.approx(2000)
    assert row.peak_memory_mib == pytest.approx(3)


@pytest.mark.parametrize("kinds", list(combinations(FAILED, 2)), ids="+".join)
@pytest.mark.parametrize("worst_first", [True, False])
def test_the_worst_failure_names_the_row(kinds: tuple[str, str], worst_first: bool) -> None:
    order = kinds if worst_first else kinds[::-1]
    failures = [failure(CASE, number, kind, f"reason of {kind}") for number, kind in enumerate(order)]
    row = row_of([*failures, *(sample(CASE, number, 2.0) for number in range(2, 6))])
    assert row.status == kinds[0]
    assert f"2 of 6 rounds failed: reason of {kinds[0]}" in row.reason


def test_the_order_of_statuses_is_the_design_s() -> None:
    assert list(STATUSES) == [*FAILED, "unsteady", "unsupported", "skipped", "ok"]


def test_a_failed_pilot_names_its_reason_and_log() -> None:
    row = row_of([failure(CASE, PILOT_ROUND, "timeout", "no answer", "logs/pilot.log")])
    assert (row.status, row.reason) == ("timeout", "no answer (see logs/pilot.log)")
    assert row.step_ms is None


def test_a_broken_proof_alone_condemns_the_row() -> None:
    # The runner writes the broken proof first and a failure per case after it; a kill may fall between the two.
    row = row_of([proof(CASE, broken="fp32 against fp64: gradient of dense_1.kernel"), *STEADY])
    assert row.status == "parity_failed"
    assert "dense_1.kernel" in row.reason
    assert row.step_ms is None


@pytest.mark.parametrize("status", ["unsupported", "skipped"])
def test_a_case_that_is_not_measured_keeps_its_reason(status: str) -> None:
    (row,) = rows_of(run_of(Planned(CASE, status, "because")), [])
    assert (row.status, row.reason, row.step_ms, row.rounds) == (status, "because", None, 0)


@pytest.mark.parametrize("made", range(6))
def test_an_interrupted_case_is_skipped_and_says_how_far_it_came(made: int) -> None:
    row = row_of(STEADY[: made + 1])
    assert row.status == "skipped"
    assert f"{made} of 6 rounds are measured" in row.reason
    assert "--resume" in row.reason


@pytest.mark.parametrize(("drifting", "status"), [(0, "ok"), (1, "ok"), (2, "unsteady"), (6, "unsteady")])
def test_unsteady_once_more_than_a_quarter_drift(drifting: int, status: str) -> None:
    row = row_of([pilot(CASE), *(sample(CASE, n, DRIFTING if n < drifting else 1.0) for n in range(6))])
    assert row.status == status
    assert row.step_ms is not None  # an unsteady row keeps its numbers
    assert (f"{drifting} of 6 processes" in row.reason) is (status == "unsteady")


def test_unsteady_comes_before_skipped() -> None:
    row = row_of([pilot(CASE), *(sample(CASE, number, DRIFTING) for number in range(4))])
    assert row.status == "unsteady"


@pytest.mark.parametrize(("rounds", "failed"), [(r, f) for r in (1, 2, 5, 6) for f in range(r + 1)])
def test_a_time_needs_half_the_rounds(rounds: int, failed: int) -> None:
    failures = [failure(CASE, number) for number in range(failed)]
    row = row_of([pilot(CASE), *failures, *(sample(CASE, n, 2.0) for n in range(failed, rounds))], rounds=rounds)
    good = rounds - failed
    assert (row.step_ms is not None) is (2 * good >= rounds and good > 0)
    assert row.rounds == (good if row.step_ms is not None else 0)
    assert row.samples == 20 * row.rounds
    assert (row.status == "error") is (failed > 0)
    if failed:
        assert f"{failed} of {rounds} rounds failed" in row.reason


def test_a_failed_parity_has_no_time_however_many_rounds_are_good() -> None:
    row = row_of([proof(CASE), *STEADY, failure(CASE, 5, "parity_failed", "first losses differ")])
    assert row.status == "parity_failed"
    known = {name for name in Row.__struct_fields__ if getattr(row, name) is not None}
    assert known == {"case", "status", "reason", "rounds", "samples", "parity_fp64", "parity_error"}
    assert (row.rounds, row.samples) == (0, 0)


def test_a_later_record_replaces_the_failure_it_retries() -> None:
    assert row_of([*STEADY[:-1], failure(CASE, 5)]).status == "error"
    assert row_of([*STEADY[:-1], failure(CASE, 5), STEADY[-1]]).status == "ok"


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (["ok"], 0),
        (["ok", "unsupported", "skipped", "unsteady"], 0),
        (["ok", "error"], 3),
        (["crashed"], 3),
        (["oom"], 3),
        (["timeout", "ok"], 3),
        (["error", "parity_failed", "ok"], 1),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_exit_code(statuses: list[str], code: int) -> None:
    assert table.exit_code([Row(CASE, status, "") for status in statuses]) == code


# --- times ------------------------------------------------------------------------------------------------------------


def test_the_step_is_the_median_of_medians_and_a_burst_counts_its_steps() -> None:
    records = [pilot(CASE), *(sample(CASE, n, [1.0, 2.0, 9.0, value], steps=7) for n, value in enumerate((2, 3, 4)))]
    row = row_of(records, rounds=3)
    assert row.step_ms == pytest.approx(2.5)  # medians 2, 2.5 and 3
    assert row.samples == 12


@pytest.mark.parametrize("count", [1, 4, 5])
def test_too_few_processes_have_no_interval(count: int) -> None:
    row = row_of(rounds_of(CASE, *[2.0] * count), rounds=count)
    assert (row.step_ms_low is None) is (count < 5)


def test_the_warm_first_call_leaves_out_the_round_that_fills_the_cache() -> None:
    warm = {0: 9.0, 1: 0.2, 2: 0.4, 3: 0.3}
    records = [pilot(CASE), *(sample(CASE, number, 2.0, warm=value) for number, value in warm.items())]
    assert row_of(records, rounds=4).first_step_warm_ms == pytest.approx(300)
    assert row_of(records[:2], rounds=1).first_step_warm_ms is None


@pytest.mark.parametrize("rounds", [1, 6])
@pytest.mark.parametrize("calls", [1, 3, 11, 22, 110, 111])
def test_percentiles_of_latency_need_enough_calls(rounds: int, calls: int) -> None:
    case = replace(CASE, measure="latency", batch=1)
    values = [float(n % 7 + 1) for n in range(calls)]
    row = row_of([pilot(case), *(sample(case, n, values, steps=1) for n in range(rounds))], case, rounds=rounds)
    total = rounds * calls
    for value, least in ((row.latency_p50_ms, 11), (row.latency_p90_ms, 64), (row.latency_p99_ms, 662)):
        assert (value is not None) is (total >= least)


def test_throughput_has_no_percentiles() -> None:
    row = row_of(STEADY)
    assert (row.latency_p50_ms, row.latency_p90_ms, row.latency_p99_ms) == (None, None, None)


def test_what_nobody_measures_yet_is_unknown() -> None:
    row = row_of(STEADY)
    assert (row.break_even_steps, row.utilisation, row.bound_by) == (None, None, None)
    assert row_of([pilot(CASE, peak=None), *STEADY[1:]]).peak_memory_mib is None


# --- relative ---------------------------------------------------------------------------------------------------------


def test_relative_is_to_the_fastest_and_paired_by_round() -> None:
    base = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
    factors = (2.0, 2.2, 1.8, 2.1, 1.9, 2.05)
    slow = [factor * value for factor, value in zip(factors, base, strict=True)]
    fast, other = rows_of(run_of(CASE, JAX), [*rounds_of(CASE, *base), *rounds_of(JAX, *slow)])
    assert (fast.relative, fast.relative_low, fast.relative_high) == (1.0, None, None)
    assert other.relative == pytest.approx((2.0 * 2.05) ** 0.5)  # the median of the paired logarithms
    assert other.relative_low == pytest.approx(1.8)  # with six pairs, the exact interval is all of them
    assert other.relative_high == pytest.approx(2.2)


def test_relative_has_no_interval_under_six_pairs() -> None:
    both = [*rounds_of(CASE, *[1.0] * 5), *rounds_of(JAX, *[2.0] * 5)]
    _, other = rows_of(run_of(CASE, JAX, rounds=5), both)
    assert (other.relative, other.relative_low, other.relative_high) == (pytest.approx(2.0), None, None)


def test_relative_uses_only_rounds_that_both_have() -> None:
    ours = [pilot(JAX), failure(JAX, 0), *(sample(JAX, n, 3.0) for n in range(1, 6))]
    _, other = rows_of(run_of(CASE, JAX), [*rounds_of(CASE, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0), *ours])
    assert other.relative == pytest.approx(3.0)
    assert other.relative_low is None  # five pairs
    theirs = [pilot(JAX), *(sample(JAX, n, 3.0) for n in range(6))]
    _, other = rows_of(run_of(CASE, JAX), [*rounds_of(CASE, *[1.0] * 5), failure(CASE, 5), *theirs])
    assert (other.relative, other.relative_low) == (pytest.approx(3.0), None)


def test_without_a_round_in_common_there_is_no_relative() -> None:
    halves = [*(sample(CASE, n, 1.0) for n in range(3)), *(sample(JAX, n, 2.0) for n in range(3, 6))]
    failures = [*(failure(CASE, n) for n in range(3, 6)), *(failure(JAX, n) for n in range(3))]
    _, other = rows_of(run_of(CASE, JAX), [*halves, *failures])
    assert other.step_ms is not None
    assert (other.relative, other.relative_low) == (None, None)


@pytest.mark.parametrize(
    ("axis", "value", "compared"),
    [
        ("mode", "compiled", True),
        ("layout", "nchw", True),
        ("backend", "jax", True),
        ("workload", "cnn", False),
        ("phase", "infer", False),
        ("measure", "latency", False),
        ("precision", "fp64", False),
        ("batch", 65, False),
        ("data", "digits", False),
        ("device", "gpu", False),
    ],
)
def test_which_rows_are_rivals(axis: str, value: object, compared: bool) -> None:
    other = replace(CASE, **{axis: value})
    records = [*rounds_of(CASE, *[1.0] * 6), *rounds_of(other, *[2.0] * 6)]
    _, row = rows_of(run_of(CASE, other), records)
    assert row.relative == pytest.approx(2.0 if compared else 1.0)


def test_the_null_backend_is_never_the_base() -> None:
    null, row = rows_of(run_of(NULL, CASE), [*rounds_of(NULL, *[1e-4] * 6), *rounds_of(CASE, *[2.0] * 6)])
    assert (null.relative, null.relative_low) == (None, None)
    assert row.relative == 1.0


def test_a_row_without_a_time_is_never_the_base() -> None:
    failed = [pilot(JAX), *(sample(JAX, n, 0.5) for n in range(5)), failure(JAX, 5, "parity_failed")]
    row, other = rows_of(run_of(CASE, JAX), [*rounds_of(CASE, *[2.0] * 6), *failed])
    assert (row.relative, other.relative) == (1.0, None)


def test_rows_stay_in_the_suite_s_order() -> None:
    cases = (JAX, NULL, CASE)
    records = [record for case, value in zip(cases, (3.0, 1.0, 2.0), strict=True) for record in rounds_of(case, value)]
    assert tuple(row.case for row in rows_of(run_of(*cases, rounds=1), records)) == cases


# --- money ------------------------------------------------------------------------------------------------------------


def test_prices_are_exact_decimals() -> None:
    row = row_of(rounds_of(CASE, *[2.0] * 6), price=PRICE)
    # 55.04 USD / 3600 s x (2 ms / 64) x 10^6, and an eighth of it
    assert row.usd_per_million_samples == Decimal("55.04") * Decimal("0.00003125") * 10**6 / 3600
    assert row.usd_per_million_samples_share == Decimal("6.88") * Decimal("0.00003125") * 10**6 / 3600


def test_no_share_without_an_accelerator() -> None:
    row = row_of(STEADY, price=replace(PRICE, accelerator="", accelerator_count=None))
    assert row.usd_per_million_samples is not None
    assert row.usd_per_million_samples_share is None


@pytest.mark.parametrize("records", [[], [failure(CASE, PILOT_ROUND)]], ids=["nothing", "failed"])
def test_a_row_without_a_time_has_no_cost(records: list[Record]) -> None:
    assert row_of(records, price=PRICE).usd_per_million_samples is None


def test_what_computes_nothing_costs_nothing_and_has_no_price() -> None:
    assert row_of(rounds_of(NULL, *[2.0] * 6), NULL, price=PRICE).usd_per_million_samples is None


def test_no_price_no_cost() -> None:
    assert row_of(STEADY).usd_per_million_samples is None


@pytest.mark.parametrize(
    ("as_of", "model", "age"),
    [
        ("2026-11-01", "on_demand", ""),
        ("2026-08-24", "on_demand", "old"),
        ("2025-11-22", "on_demand", "stale"),
        ("2026-11-10", "spot", "old"),
        ("", "on_demand", "stale"),
    ],
)
def test_the_age_of_a_price_counts_from_the_run_s_start(as_of: str, model: str, age: str) -> None:
    price = replace(PRICE, as_of=as_of, price_model=model)
    assert table.report(run_of(CASE), latest(STEADY), price).price_age == age


def test_table_and_statistics_agree() -> None:
    row = row_of(STEADY)
    steps = [[ns / 10 / 1e6 for ns in record.wall_ns] for record in STEADY if isinstance(record, Sample)]
    assert row.step_ms == stats.estimate(steps)
    assert (row.step_ms_low, row.step_ms_high) == stats.bootstrap(steps)
