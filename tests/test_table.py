"""Rows from records made by hand: status, intervals, relative, percentiles, money. Other tests use the builders too."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import combinations

import pytest
from msgspec.structs import replace

from bench import stats, status, table, workloads
from bench.case import Case
from bench.errors import BenchError
from bench.machine import Machine
from bench.prices.book import Price
from bench.prices.cost import UNKNOWN
from bench.records import PILOT_ROUND, Ceiling, Failure, Origin, Pilot, Proof, Record, Sample, Session, latest
from bench.run import Run
from bench.sensors import Gpu, Reading, Sensed
from bench.status import STATUSES
from bench.suite import Filters, Matrix, Planned, Protocol, Suite
from bench.table import Row

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


def sensed(
    others: float | None = 0.0,
    stolen: float | None = 0.0,
    *,
    foreign: int | None = None,
    throttled: float | None = None,
    suspended: float | None = 0.0,
) -> Sensed:
    """One second beside neighbours that used so many cores; None where that is not to be seen."""
    busy = None if others is None else round((1 + others) * 1e9)  # one core's worth is this process's own
    steal = None if stolen is None else round(stolen * 1e9)
    first = Reading(0, 0, None if busy is None else 0, None if steal is None else 0)
    gpu = None if foreign is None else Gpu(1980, 2619, 350.0, 41, 0, foreign)
    return Sensed(
        readings=(first, Reading(10**9, 10**9, busy, steal)),
        load=1.0,
        pressure_seconds=0.0,
        cpu_mhz=2400.0,
        suspended_seconds=suspended,
        gpu=gpu,
        throttled_seconds=throttled,
    )


def sample(
    case: Case,
    number: int,
    milliseconds: float | list[float],
    *,
    steps: int = 10,
    warm: float = 0.5,
    seen: Sensed | None = None,
    compilations: int | None = 0,
) -> Sample:
    """A process whose bursts took so many milliseconds a step: all alike, or as listed."""
    values = milliseconds if isinstance(milliseconds, list) else [milliseconds] * 20
    wall = tuple(round(value * steps * 1e6) for value in values)
    return Sample(
        case=case,
        origin=origin(number),
        first_calls=(warm, 0.1, 0.1),
        steps=steps,
        wall_ns=wall,
        cpu_ns=wall,
        switches=(0,) * len(wall),
        cold=number == 0,
        losses=(),
        compilations=compilations,
        left_over=0.0,
        sensed=seen or sensed(),
        stages={"start": 1.0, "build": 0.1, "warm_up": 1.0, "bursts": 1.0},
    )


def pilot(
    case: Case,
    *,
    cold: float = 2.0,
    peak: int | None = 3 * 2**20,
    settled: bool = True,
    dispatch: float = 1e-5,
    one_image: float | None = None,
) -> Pilot:
    return Pilot(
        case=case,
        origin=origin(PILOT_ROUND),
        first_calls=(cold, 0.1, 0.1),
        warm_up_steps=100,
        settled=settled,
        compilations=0,
        steps_per_burst=10,
        fence_seconds=1e-7,
        dispatch_seconds=dispatch,
        one_image_seconds=one_image,
        quiet_seconds=0.002,
        left_over=0.0,
        peak_bytes=peak,
        sensed=sensed(),
        stages={"start": 1.0, "build": 0.1, "warm_up": 1.0, "bursts": 0.1},
    )


def ceiling(
    case: Case,
    flops: tuple[float, ...] = (9e10, 1e11, 1.1e11),
    moved: tuple[float, ...] = (9e9, 1e10, 1.1e10),
    reason: str = "",
) -> Ceiling:
    """What the case's backend reached, burst by burst: 100 GFLOP/s and 10 GB/s unless told."""
    axes = case.backend, case.mode, case.precision, case.device, case.threads
    return Ceiling(*axes, origin(PILOT_ROUND), flops, moved, reason)


def session(started: str = "2026-11-23T12:00:00Z") -> Session:
    return Session(started, 60.0, 0.1, 50.0, 0.0, {"pilots": 10.0, "bursts": 20.0})


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


@pytest.mark.parametrize("made", range(1, 6))
def test_an_interrupted_case_is_unsteady_only_where_its_numbers_are_told(made: int) -> None:
    row = row_of([replace(pilot(CASE), settled=False), *(sample(CASE, number, DRIFTING) for number in range(made))])
    assert row.status == ("unsteady" if row.step_ms else "skipped") == ("unsteady" if made >= 3 else "skipped")
    assert ("warm it up" in row.reason) is ("faster or slower" in row.reason) is (made >= 3)


@pytest.mark.parametrize(("drifting", "status"), [(0, "ok"), (1, "ok"), (2, "unsteady"), (6, "unsteady")])
def test_unsteady_once_more_than_a_quarter_drift(drifting: int, status: str) -> None:
    row = row_of([pilot(CASE), *(sample(CASE, n, DRIFTING if n < drifting else 1.0) for n in range(6))])
    assert row.status == status
    assert row.step_ms is not None  # an unsteady row keeps its numbers
    assert (f"{drifting} of 6 processes" in row.reason) is (status == "unsteady")


OTHER = replace(CASE, backend="jax", mode="compiled")


@pytest.mark.parametrize(
    ("proofs", "alone"),
    [
        ([proof(CASE, fp64=None)], True),
        ([proof(CASE)], False),
        ([proof(CASE, fp64=None), proof(OTHER)], False),
        ([proof(CASE, fp64=None), proof(OTHER, fp64=None)], True),
        ([proof(CASE, fp64=None), proof(replace(OTHER, recipe="l2"))], True),  # other work
        ([], False),  # a record that is not there says nothing of the work
    ],
)
def test_what_was_held_against_nothing_says_so(proofs: list[Record], alone: bool) -> None:
    run = run_of(CASE, OTHER, replace(OTHER, recipe="l2"))
    row = rows_of(run, [*proofs, *STEADY])[0]
    assert (row.status, "held against nothing" in row.reason) == ("ok", alone)


def test_what_stands_alone_and_counts_no_compilations_says_both() -> None:
    samples = [sample(CASE, number, 2.0, compilations=None) for number in range(6)]
    row = row_of([proof(CASE, fp64=None), pilot(CASE), *samples])
    assert "taken on trust" in row.reason and "held against nothing" in row.reason


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
    row = row_of([proof(CASE), *STEADY[:-1], failure(CASE, 5, "parity_failed", "first losses differ")])
    assert row.status == "parity_failed"
    known = {name for name in Row.__struct_fields__ if getattr(row, name) is not None}
    assert known == {"case", "status", "reason", "rounds", "samples", "parity_fp64", "parity_error", "cost", "energy"}
    assert row.cost == UNKNOWN
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
    assert status.exit_code(statuses) == code


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


def test_what_was_not_measured_is_unknown() -> None:
    row = row_of(STEADY)  # no ceilings, and no mode to hold this one against
    assert (row.break_even_steps, row.utilisation, row.bound_by) == (None, None, None)
    assert row_of([pilot(CASE, peak=None), *STEADY[1:]]).peak_memory_mib is None


# --- what disturbed it ------------------------------------------------------------------------------------------------


def beside(others: float | None, milliseconds: float = 2.0, case: Case = CASE, *, count: int = ROUNDS) -> list[Record]:
    """A pilot, and a process a round beside such neighbours."""
    return [pilot(case), *(sample(case, n, milliseconds, seen=sensed(others)) for n in range(count))]


def test_a_busy_neighbour_makes_a_row_unsteady_that_keeps_its_numbers() -> None:
    row = row_of(beside(0.9))
    assert row.status == "unsteady"
    assert row.reason == "other processes used 0.9 of 4 cores beside 6 of 6 processes"
    assert row.disturbed
    assert row.others_cores == pytest.approx(0.9, abs=0.05)
    assert row.stolen_cores == pytest.approx(0.0)
    assert row.step_ms == pytest.approx(2.0)


def test_where_neighbours_are_not_to_be_seen_the_row_says_nothing_of_them() -> None:
    row = row_of(beside(None))
    assert (row.status, row.others_cores, row.disturbed) == ("ok", None, False)


def test_a_row_without_a_time_says_nothing_of_its_neighbours() -> None:
    records = [*beside(0.9, count=2), *(failure(CASE, n) for n in range(2, 6))]
    row = row_of(records)
    assert (row.status, row.others_cores, row.disturbed) == ("error", None, None)


def test_a_warm_up_that_its_cap_ended_is_unsteady() -> None:
    row = row_of([pilot(CASE, settled=False), *STEADY[1:]])
    assert (row.status, row.reason) == ("unsteady", "100 steps in 30 s did not warm it up")
    assert row.step_ms is not None
    both = row_of([pilot(CASE, settled=False), *beside(0.9)[1:]])
    assert both.reason == f"{row.reason}; other processes used 0.9 of 4 cores beside 6 of 6 processes"


def test_a_framework_that_cannot_say_how_often_it_compiled_is_taken_on_trust() -> None:
    row = row_of([pilot(CASE), *(sample(CASE, n, 2.0, compilations=None if n else 1) for n in range(6))])
    assert row.status == "ok"
    assert row.reason.startswith("its framework cannot say how often it compiled")


@pytest.mark.parametrize(("foreign", "told"), [(None, True), (0, False)])
def test_a_gpu_whose_processes_nobody_names_is_told(foreign: int | None, told: bool) -> None:
    gpu = Gpu(1980, 2619, 350.0, 41, 0, foreign)
    row = row_of([pilot(CASE), *(replace(sample(CASE, n, 2.0), sensed=replace(sensed(), gpu=gpu)) for n in range(6))])
    assert (row.status, "others may have used the GPU" in row.reason) == ("ok", told)


def test_a_thread_pool_that_is_smaller_than_its_threads_is_told_in_the_row() -> None:
    row = row_of([*STEADY, replace(ceiling(CASE), cores=1.0)])
    assert (row.status, "used 1.0 cores of 4 threads" in row.reason) == ("ok", True)


# --- what bounds it ---------------------------------------------------------------------------------------------------


def test_the_shares_of_a_step_come_from_the_run_s_own_ceilings() -> None:
    row = row_of([*STEADY, ceiling(CASE), ceiling(JAX, flops=(1e9,), moved=(1e9,))])
    mlp = workloads.get("mlp")
    assert row.utilisation == pytest.approx(64 * mlp.flops_per_sample("train") / 1e11 / 2.25e-3)
    assert row.memory_share == pytest.approx(mlp.bytes_per_step("train", 64, 4) / 1e10 / 2.25e-3)
    assert row.dispatch_share == pytest.approx(1e-5 / 2.25e-3)
    shares = {"arithmetic": row.utilisation, "memory": row.memory_share, "dispatch": row.dispatch_share}
    assert row.bound_by == max(shares, key=lambda name: shares[name] or 0)
    assert row.reason == ""


@pytest.mark.parametrize("other", [{"precision": "fp64"}, {"threads": 1}, {"device": "gpu"}])
def test_ceilings_of_another_kind_say_nothing_of_a_row(other: dict[str, object]) -> None:
    row = row_of([*STEADY, ceiling(replace(CASE, **other))])
    assert (row.utilisation, row.memory_share, row.dispatch_share, row.bound_by) == (None,) * 4


def test_other_packages_work_is_reckoned_as_the_run_has_it() -> None:
    """Neither the workload nor the backend is here."""
    case = replace(CASE, workload="gone", backend="gone-too")
    records = [*rounds_of(case, *[2.0] * 6), ceiling(CASE)]
    work = replace(workloads.get("mlp_dropout"), name="gone")
    (row,) = rows_of(replace(run_of(case), declared=(work,)), records, PRICE)
    assert row.utilisation == pytest.approx(64 * work.flops_per_sample("train") / 1e11 / 2e-3)
    assert (row.status, row.relative) == ("ok", 1.0) and row.cost != UNKNOWN
    with pytest.raises(BenchError, match="no workload 'gone'"):
        rows_of(run_of(case), records)


def test_what_computes_nothing_is_bounded_by_nothing() -> None:
    assert row_of([*rounds_of(NULL, *[2.0] * 6), ceiling(CASE)], NULL).bound_by is None


def test_a_rate_above_the_measured_ceiling_is_said() -> None:
    row = row_of([*STEADY, ceiling(CASE, flops=(1e8,), moved=(1e10,))])
    assert row.utilisation is not None and row.utilisation > 1
    assert row.status == "ok"
    said = f"faster than it should be, {row.utilisation:.2f} of the measured arithmetic ceiling"
    assert row.reason.startswith(said) and "copy bandwidth" not in row.reason
    both = row_of([*beside(0.9), ceiling(CASE, flops=(1e8,), moved=(1e7,))])
    assert both.reason.startswith("other processes used 0.9 of 4 cores")
    assert "arithmetic ceiling and " in both.reason and "of the measured copy bandwidth" in both.reason


def test_a_report_names_each_kind_of_ceiling_once() -> None:
    double = replace(CASE, precision="fp64")
    run = run_of(CASE, JAX, double)
    records = latest([ceiling(CASE), ceiling(JAX), ceiling(double)])
    assert len(table.report(run, records, None).ceilings) == 2
    assert table.report(run, {}, None).ceilings == ()


# --- break-even -------------------------------------------------------------------------------------------------------

COMPILED = replace(CASE, mode="compiled")
GRAPH = replace(CASE, mode="graph")


def mode_of(case: Case, milliseconds: float, *, cold: float, warm: float) -> list[Record]:
    return [pilot(case, cold=cold), *(sample(case, number, milliseconds, warm=warm) for number in range(ROUNDS))]


def test_a_compiled_mode_repays_its_compilation() -> None:
    eager = mode_of(CASE, 20.0, cold=1.0, warm=0.5)
    compiled = mode_of(COMPILED, 10.0, cold=9.0, warm=2.5)
    base, row = rows_of(run_of(CASE, COMPILED), [*eager, *compiled], PRICE)
    assert (base.break_even_against, base.break_even_steps, base.cost.usd_break_even) == (None, None, None)
    assert row.break_even_against == "eager"
    # Extra seconds beyond three steady steps: 9.2 - 0.03 and 1.2 - 0.06; warm 2.7 - 0.03 and 0.7 - 0.06; the builds are
    # of 0.1 s in both.
    assert row.break_even_steps == pytest.approx((9.17 - 1.14) / 0.01)
    assert row.break_even_warm_steps == pytest.approx((2.67 - 0.64) / 0.01)
    assert row.break_even_seconds == pytest.approx(9.27 + 803 * 0.01)
    assert row.break_even_warm_seconds == pytest.approx(2.77 + 203 * 0.01)
    assert row.break_even_steps_low == pytest.approx(803)
    assert row.break_even_steps_high == pytest.approx(803)
    assert row.break_even_warm_steps_low == pytest.approx(203)  # five rounds: the first fills the cache
    assert row.cost.usd_break_even == pytest.approx(Decimal("55.04") * Decimal("17.3") / 3600, rel=Decimal("1e-9"))


def test_what_never_repays_has_no_cost_of_it() -> None:
    slower = [*mode_of(CASE, 10.0, cold=1.0, warm=0.5), *mode_of(COMPILED, 20.0, cold=9.0, warm=2.5)]
    _, row = rows_of(run_of(CASE, COMPILED), slower, PRICE)
    assert (row.break_even_steps, row.break_even_seconds) == (float("inf"), float("inf"))
    assert (row.cost.usd_break_even, row.cost.usd_break_even_warm) == (None, None)


@pytest.mark.parametrize(
    ("measured", "against"),
    [((CASE, GRAPH, COMPILED), "eager"), ((GRAPH, COMPILED), "graph"), ((COMPILED,), None)],
)
def test_which_mode_it_is_held_against(measured: tuple[Case, ...], against: str | None) -> None:
    records = [record for case in measured for record in mode_of(case, 10.0, cold=2.0, warm=1.0)]
    rows = rows_of(run_of(*measured), records)
    assert rows[-1].break_even_against == against
    if GRAPH in measured:
        assert rows[measured.index(GRAPH)].break_even_against == ("eager" if CASE in measured else None)


@pytest.mark.parametrize("axis", [{"backend": "jax"}, {"batch": 65}, {"phase": "infer"}, {"layout": "nchw"}])
def test_it_is_never_held_against_other_work(axis: dict[str, object]) -> None:
    other = replace(CASE, **axis)
    records = [*mode_of(other, 20.0, cold=1.0, warm=0.5), *mode_of(COMPILED, 10.0, cold=9.0, warm=2.5)]
    assert rows_of(run_of(other, COMPILED), records)[1].break_even_steps is None


def test_a_base_without_a_time_is_none() -> None:
    records = [failure(CASE, PILOT_ROUND), *mode_of(COMPILED, 10.0, cold=9.0, warm=2.5)]
    assert rows_of(run_of(CASE, COMPILED), records)[1].break_even_steps is None


def test_only_rounds_that_both_modes_have_count() -> None:
    eager = [pilot(CASE), *(sample(CASE, n, 20.0) for n in range(5)), failure(CASE, 5)]
    _, row = rows_of(run_of(CASE, COMPILED), [*eager, *mode_of(COMPILED, 10.0, cold=9.0, warm=2.5)])
    assert row.break_even_steps_low is not None  # five pairs
    assert row.break_even_warm_steps is not None and row.break_even_warm_steps_low is None  # four


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
    assert row.cost.usd_per_million_samples == Decimal("55.04") * Decimal("0.00003125") * 10**6 / 3600
    assert row.cost.usd_per_million_samples_share == Decimal("6.88") * Decimal("0.00003125") * 10**6 / 3600


def test_no_share_without_an_accelerator() -> None:
    row = row_of(STEADY, price=replace(PRICE, accelerator="", accelerator_count=None))
    assert row.cost.usd_per_million_samples is not None
    assert row.cost.usd_per_million_samples_share is None


@pytest.mark.parametrize("records", [[], [failure(CASE, PILOT_ROUND)]], ids=["nothing", "failed"])
def test_a_row_without_a_time_has_no_cost(records: list[Record]) -> None:
    assert row_of(records, price=PRICE).cost.usd_per_million_samples is None


def test_what_computes_nothing_costs_nothing_and_has_no_price() -> None:
    assert row_of(rounds_of(NULL, *[2.0] * 6), NULL, price=PRICE).cost.usd_per_million_samples is None


def test_no_price_no_cost() -> None:
    assert row_of(STEADY).cost.usd_per_million_samples is None


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
