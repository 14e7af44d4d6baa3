"""Records and a price -> rows: status, intervals, relative, money. The only place where they are derived."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from bench import stats
from bench.prices.book import Price, staleness, usd_per_million_samples
from bench.records import PILOT_ROUND, Case, Failure, Key, Pilot, Proof, Record, Sample
from bench.run import Run
from bench.suite import Planned

# Worst first.
STATUSES = ("parity_failed", "error", "crashed", "oom", "timeout", "unsteady", "unsupported", "skipped", "ok")
FRAMEWORK_FREE = "null"


class Row(Struct, frozen=True):
    """One case of the table. None is "not known": empty in CSV, a dash in Markdown."""

    case: Case
    status: str
    reason: str
    rounds: int = 0
    samples: int = 0
    step_ms: float | None = None
    step_ms_low: float | None = None
    step_ms_high: float | None = None
    samples_per_second: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    first_step_cold_ms: float | None = None
    first_step_warm_ms: float | None = None
    break_even_steps: float | None = None
    latency_p50_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_p99_ms: float | None = None
    peak_memory_mib: float | None = None
    utilisation: float | None = None
    bound_by: str | None = None
    parity_fp64: float | None = None
    parity_error: float | None = None
    usd_per_million_samples: Decimal | None = None
    usd_per_million_samples_share: Decimal | None = None


class Report(Struct, frozen=True):
    """All that a format needs: the run, its rows in the suite's order, the price used, and remarks for the caption."""

    run: Run
    rows: tuple[Row, ...]
    price: Price | None
    price_age: str


def report(run: Run, records: dict[Key, Record], price: Price | None) -> Report:
    samples: dict[Case, dict[int, Sample]] = {}
    for record in records.values():
        if isinstance(record, Sample):
            samples.setdefault(record.case, {})[record.origin.round] = record
    rows = [_priced(_row(run, planned, records, samples.get(planned.case, {})), price) for planned in run.planned]
    compared = _relative(rows, samples)
    age = staleness(price, date.fromisoformat(run.started[:10])) if price else ""
    return Report(run, tuple(compared), price, age)


def _row(run: Run, planned: Planned, records: dict[Key, Record], samples: dict[int, Sample]) -> Row:
    case = planned.case
    status, reason = _status(run, planned, records, samples)
    row = Row(case, status, reason, rounds=len(samples), samples=sum(len(s.wall_ns) for s in samples.values()))
    proof = records.get(case.worker)
    if isinstance(proof, Proof):
        row = replace(row, parity_fp64=proof.parity_fp64, parity_error=proof.parity_error)
    # No time beside a failed proof, and none from a case most of whose processes failed.
    if status == "parity_failed" or not samples or 2 * len(samples) < run.suite.rounds:
        return replace(row, rounds=0, samples=0)
    ordered = [samples[number] for number in sorted(samples)]
    steps = [[ns / s.steps / 1e6 for ns in s.wall_ns] for s in ordered]
    step = stats.estimate(steps)
    low, high = stats.bootstrap(steps) or (None, None)
    row = replace(
        row,
        step_ms=step,
        step_ms_low=low,
        step_ms_high=high,
        samples_per_second=case.batch / step * 1e3,
    )
    pilot = records.get((case, PILOT_ROUND))
    if isinstance(pilot, Pilot):
        row = replace(
            row,
            first_step_cold_ms=pilot.first_calls[0] * 1e3,
            peak_memory_mib=None if pilot.peak_bytes is None else pilot.peak_bytes / 2**20,
        )
    # The first round fills the compile caches that the later ones find warm.
    if warm := [s.first_calls[0] * 1e3 for number, s in samples.items() if number > 0]:
        row = replace(row, first_step_warm_ms=float(np.median(warm)))
    if case.measure == "latency":
        calls = [call for process in steps for call in process]
        p50, p90, p99 = (stats.percentile(calls, wanted) for wanted in (50, 90, 99))
        row = replace(row, latency_p50_ms=p50, latency_p90_ms=p90, latency_p99_ms=p99)
    return row


def _status(run: Run, planned: Planned, records: dict[Key, Record], samples: dict[int, Sample]) -> tuple[str, str]:
    """The worst of what happened to a case, with the reason of that."""
    if planned.status:
        return planned.status, planned.reason
    proof = records.get(planned.case.worker)
    if isinstance(proof, Proof) and proof.broken:
        return "parity_failed", proof.broken
    failures = [r for r in records.values() if isinstance(r, Failure) and r.case == planned.case]
    if failures:
        worst = min(failures, key=lambda r: (STATUSES.index(r.status), r.origin.round))
        where = f" (see {worst.log})" if worst.log else ""
        if worst.origin.round == PILOT_ROUND:
            return worst.status, worst.reason + where
        return worst.status, f"{len(failures)} of {run.suite.rounds} rounds failed: {worst.reason}{where}"
    drifting = sum(stats.drifting(sample.wall_ns) for sample in samples.values())
    if 4 * drifting > len(samples):
        what = f"{drifting} of {len(samples)} processes grew faster or slower by over 3 % while they were timed"
        return "unsteady", what
    if len(samples) < run.suite.rounds:
        what = f"{len(samples)} of {run.suite.rounds} rounds are measured: the run was interrupted, --resume it"
        return "skipped", what
    return "ok", ""


def _priced(row: Row, price: Price | None) -> Row:
    if price is None or row.step_ms is None or row.case.backend == FRAMEWORK_FREE:
        return row
    seconds = row.step_ms / 1e3 / row.case.batch
    share = price.usd_per_hour_share
    return replace(
        row,
        usd_per_million_samples=usd_per_million_samples(price.usd_per_hour, seconds),
        usd_per_million_samples_share=None if share is None else usd_per_million_samples(share, seconds),
    )


def rival(case: Case) -> tuple[object, ...]:
    """What two rows have in common that are compared: everything but backend, mode and layout."""
    return (case.workload, case.phase, case.measure, case.precision, case.batch, case.data, case.device)


def _relative(rows: Iterable[Row], samples: dict[Case, dict[int, Sample]]) -> list[Row]:
    """Each row's time over the fastest rival's, paired by round; the fastest itself is 1, without an interval."""
    listed = list(rows)
    fastest: dict[tuple[object, ...], Row] = {}
    for row in listed:
        if row.step_ms is None or row.case.backend == FRAMEWORK_FREE:
            continue
        best = fastest.get(rival(row.case))
        if best is None or best.step_ms is None or row.step_ms < best.step_ms:
            fastest[rival(row.case)] = row
    return [_against(row, fastest.get(rival(row.case)), samples) for row in listed]


def _against(row: Row, base: Row | None, samples: dict[Case, dict[int, Sample]]) -> Row:
    if base is None or row.step_ms is None or row.case.backend == FRAMEWORK_FREE:
        return row
    if row.case == base.case:
        return replace(row, relative=1.0)
    ours, theirs = samples[row.case], samples[base.case]
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return row
    ratio, interval = stats.ratio([_median(ours[n]) for n in both], [_median(theirs[n]) for n in both])
    low, high = interval or (None, None)
    return replace(row, relative=ratio, relative_low=low, relative_high=high)


def _median(sample: Sample) -> float:
    return float(np.median(sample.wall_ns)) / sample.steps


def exit_code(rows: Iterable[Row]) -> int:
    """1 for a failed proof, 3 for another failed row, else 0."""
    found = {row.status for row in rows}
    if "parity_failed" in found:
        return 1
    return 3 if found & {"error", "crashed", "oom", "timeout"} else 0
