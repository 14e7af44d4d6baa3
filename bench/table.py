"""Records and a price -> rows: status, intervals, relative, money. The only place where they are derived."""

import hashlib
from collections.abc import Iterable
from datetime import date
from statistics import median

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench import backends, bounds, break_even, datasets, joules, noise, search, stats
from bench.bounds import Bounds, Ceilings
from bench.break_even import step_ns
from bench.case import Case
from bench.prices import cost
from bench.prices.book import Price, staleness
from bench.prices.cost import Cost
from bench.records import PILOT_ROUND, Ceiling, Key, Pilot, Proof, Record, Sample
from bench.run import Run
from bench.status import of as status_of
from bench.status import too_few
from bench.suite import Planned

# What two rows have in common that are compared: all but backend, mode, layout, threads and steps a call.
SAME = ("workload", "phase", "measure", "precision", "batch", "data", "device", "input", "recipe")
# What a mode's compilation is held against: the first of these that was measured.
LESS_COMPILED = {"compiled": ("eager", "graph"), "graph": ("eager",)}


class Row(Struct, frozen=True):
    """One case of the table. None is "not known": empty in CSV, a dash in Markdown.

    `process_ms`: a step in each process, the median of its bursts. `measured_seconds`: all timed bursts;
    `occupied_seconds`: all of its processes, with their start, compilation and warm-up. `epoch`: samples in one.
    """

    case: Case
    status: str
    reason: str
    rounds: int = 0
    samples: int = 0
    step_ms: float | None = None
    process_ms: tuple[float, ...] | None = None
    step_ms_low: float | None = None
    step_ms_high: float | None = None
    samples_per_second: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    first_step_cold_ms: float | None = None
    first_step_warm_ms: float | None = None
    second_step_cold_ms: float | None = None
    second_step_warm_ms: float | None = None
    third_step_cold_ms: float | None = None
    third_step_warm_ms: float | None = None
    break_even_against: str | None = None
    break_even_steps: float | None = None
    break_even_steps_low: float | None = None
    break_even_steps_high: float | None = None
    break_even_seconds: float | None = None
    break_even_warm_steps: float | None = None
    break_even_warm_steps_low: float | None = None
    break_even_warm_steps_high: float | None = None
    break_even_warm_seconds: float | None = None
    latency_p50_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_p99_ms: float | None = None
    peak_memory_mib: float | None = None
    utilisation: float | None = None
    memory_share: float | None = None
    dispatch_share: float | None = None
    input_share: float | None = None
    bound_by: str | None = None
    parity_fp64: float | None = None
    parity_error: float | None = None
    others_cores: float | None = None
    stolen_cores: float | None = None
    disturbed: bool | None = None
    evidence: str | None = None
    measured_seconds: float | None = None
    occupied_seconds: float | None = None
    epoch: int | None = None
    energy: joules.Joules = joules.UNKNOWN
    cost: Cost = cost.UNKNOWN


class Report(Struct, frozen=True):
    """All that a format needs: the run, its rows in the suite's order, the price used, and remarks for the caption."""

    run: Run
    rows: tuple[Row, ...]
    price: Price | None
    price_age: str
    ceilings: tuple[Ceilings, ...] = ()
    no_ceilings: tuple[str, ...] = ()
    searches: tuple[search.Search, ...] = ()


def report(run: Run, records: dict[Key, Record], price: Price | None) -> Report:
    samples: dict[Case, dict[int, Sample]] = {}
    for record in (record for record in records.values() if isinstance(record, Sample)):
        samples.setdefault(record.case, {})[record.origin.round] = record
    found = ceilings(run, records)
    rare: dict[Key, Record] = {key: one for key, one in records.items() if not isinstance(one, Sample)}
    rows = [_row(run, planned, rare, samples.get(planned.case, {}), found) for planned in run.planned]
    compared = _relative(run, _repaid(rows, records, samples), samples)
    lacking = [f"{r.backend} {r.mode}: {r.reason}" for r in records.values() if isinstance(r, Ceiling) and r.reason]
    rates = tuple(filter(None, found.values()))
    made = Report(run, tuple(compared), None, "", rates, tuple(lacking), search.of(run, records))
    return repriced(made, price)


def repriced(report: Report, price: Price | None) -> Report:
    """The same times at that price, or at none."""
    age = staleness(price, date.fromisoformat(report.run.started[:10])) if price else ""
    return replace(report, rows=tuple(priced(row, price) for row in report.rows), price=price, price_age=age)


def ceilings(run: Run, records: dict[Key, Record]) -> dict[tuple[str, str, int], Ceilings | None]:
    """For each precision, device and number of threads of the run."""
    kinds = {(p.case.precision, p.case.device, p.case.threads) for p in run.planned}
    return {
        kind: bounds.ceilings(records.values(), precision=kind[0], device=kind[1], threads=kind[2])
        for kind in sorted(kinds)
    }


def _row(
    run: Run,
    planned: Planned,
    records: dict[Key, Record],
    samples: dict[int, Sample],
    found: dict[tuple[str, str, int], Ceilings | None],
) -> Row:
    case = planned.case
    pilot = records.get((case, PILOT_ROUND))
    ordered = [samples[number] for number in sorted(samples)]
    seen = noise.of(ordered, run.machine.cores, pilot if isinstance(pilot, Pilot) else None)
    status, reason = status_of(run, planned, records, samples, seen.words)
    row = Row(case, status, reason, rounds=len(samples), samples=sum(len(s.wall_ns) for s in samples.values()))
    proof = records.get(case.worker)
    if isinstance(proof, Proof):
        row = replace(row, parity_fp64=proof.parity_fp64, parity_error=proof.parity_error)
    # No time beside a failed proof, and none from a case most of whose processes failed.
    if status == "parity_failed" or too_few(run, samples):
        return replace(row, rounds=0, samples=0)
    row = replace(row, others_cores=seen.others_cores, stolen_cores=seen.stolen_cores)
    row = replace(row, disturbed=seen.disturbed, evidence=digest(ordered))
    occupied: list[Pilot | Sample] = [*ordered, *([pilot] if isinstance(pilot, Pilot) else [])]
    row = replace(
        row,
        measured_seconds=sum(sum(sample.wall_ns) for sample in ordered) / 1e9,
        occupied_seconds=sum(sum(record.stages.values()) for record in occupied),
        epoch=None if case.workload == backends.OWN else datasets.epoch(run.workload(case.workload), case.data),
    )
    steps = [[ns / s.steps / 1e6 for ns in s.wall_ns] for s in ordered]
    step = stats.estimate(steps)
    low, high = stats.bootstrap(steps) or (None, None)
    row = replace(
        row,
        step_ms=step,
        process_ms=tuple(float(median(bursts)) for bursts in steps),
        step_ms_low=low,
        step_ms_high=high,
        samples_per_second=case.batch / step * 1e3,
    )
    row = _first_calls(row, samples)
    if isinstance(pilot, Pilot):
        first, second, third = (seconds * 1e3 for seconds in pilot.first_calls)
        row = replace(
            row,
            first_step_cold_ms=first,
            second_step_cold_ms=second,
            third_step_cold_ms=third,
            peak_memory_mib=None if pilot.peak_bytes is None else pilot.peak_bytes / 2**20,
            input_share=pilot.input_share,
            energy=joules.of(case, pilot.energy),
        )
        if backends.recorded(case.backend).packages:
            rates = found[case.precision, case.device, case.threads]
            row = _bounded(row, bounds.of(case, run.workload(case.work), step / 1e3, pilot, rates))
            row = _remarked(row, bounds.idle_threads(case, records.values()))
    if case.measure == "latency":
        calls = [call for process in steps for call in process]
        p50, p90, p99 = (stats.percentile(calls, wanted) for wanted in (50, 90, 99))
        row = replace(row, latency_p50_ms=p50, latency_p90_ms=p90, latency_p99_ms=p99)
    return row


def digest(samples: list[Sample]) -> str:
    """SHA-256 of the samples that a row was computed from: what, if it differs, is other evidence."""
    return hashlib.sha256(msgspec.json.encode(samples, order="sorted")).hexdigest()[:12]


def _first_calls(row: Row, samples: dict[int, Sample]) -> Row:
    """The warm ones: those of processes that found a filled compile cache."""
    warm = [s.first_calls for s in samples.values() if not s.cold]
    if not warm:
        return row
    first, second, third = (median([calls[i] for calls in warm]) * 1e3 for i in range(3))
    return replace(row, first_step_warm_ms=first, second_step_warm_ms=second, third_step_warm_ms=third)


def _bounded(row: Row, found: Bounds) -> Row:
    row = replace(row, **msgspec.structs.asdict(found))
    above = [
        f"{share:.2f} of the measured {name}"
        for name, share in (("arithmetic ceiling", found.utilisation), ("copy bandwidth", found.memory_share))
        if share is not None and share > 1
    ]
    if not above:
        return row
    why = "an algorithm with fewer operations, or a cache, does it honestly"
    said = f"faster than it should be, {' and '.join(above)}: {why}"
    return _remarked(row, said)


def _remarked(row: Row, said: str) -> Row:
    return replace(row, reason="; ".join(filter(None, (row.reason, said))))


def _repaid(rows: list[Row], records: dict[Key, Record], samples: dict[Case, dict[int, Sample]]) -> list[Row]:
    """Each row that compiles, held against the same work in a mode of its backend that compiles less."""
    # A neighbour slows one mode more than the other: no number of steps would be true.
    measured = {row.case: row for row in rows if row.step_ms is not None and not row.disturbed}
    repaid = []
    for row in rows:
        bases = [replace(row.case, mode=mode) for mode in LESS_COMPILED.get(row.case.mode, ())]
        base = next((case for case in bases if case in measured), None)
        found = break_even.of(row.case, base, records, samples) if base and row.case in measured else {}
        repaid.append(replace(row, **found))
    return repaid


def priced(row: Row, price: Price | None) -> Row:
    """The row at that price, whatever it cost before; without any where it has no time, or computes nothing."""
    if price is None or row.step_ms is None or not backends.recorded(row.case.backend).computes:
        return replace(row, cost=cost.UNKNOWN)
    timed = cost.Timed(
        step=row.step_ms / 1e3,
        low=None if row.step_ms_low is None else row.step_ms_low / 1e3,
        high=None if row.step_ms_high is None else row.step_ms_high / 1e3,
        batch=row.case.batch,
        inference=row.case.phase == "infer",
        epoch=row.epoch,
        measured=row.measured_seconds,
        occupied=row.occupied_seconds,
        break_even=row.break_even_seconds,
        break_even_warm=row.break_even_warm_seconds,
    )
    return replace(row, cost=cost.of(price, timed))


def rival(case: Case) -> tuple[object, ...]:
    return tuple(getattr(case, axis) for axis in SAME)


def _comparable(run: Run, case: Case) -> bool:
    """Whether its time may stand beside another's: it computes something, and is proved to compute the same."""
    own = backends.is_own(case.backend)
    return backends.recorded(case.backend).computes and (not own or case.backend in run.proved)


def _relative(run: Run, rows: Iterable[Row], samples: dict[Case, dict[int, Sample]]) -> list[Row]:
    """Each row's time over the fastest rival's, paired by round; the fastest itself is 1, without an interval."""
    listed = list(rows)
    fastest: dict[tuple[object, ...], Row] = {}
    for row in listed:
        if row.step_ms is None or not _comparable(run, row.case):
            continue
        best = fastest.get(rival(row.case))
        if best is None or best.step_ms is None or row.step_ms < best.step_ms:
            fastest[rival(row.case)] = row
    return [
        _against(row, fastest.get(rival(row.case)), samples) if _comparable(run, row.case) else row for row in listed
    ]


def _against(row: Row, base: Row | None, samples: dict[Case, dict[int, Sample]]) -> Row:
    if base is None or row.step_ms is None:
        return row
    if row.case == base.case:
        return replace(row, relative=1.0)
    ours, theirs = samples[row.case], samples[base.case]
    if not (both := sorted(ours.keys() & theirs.keys())):
        return row
    ratio, interval = stats.ratio([step_ns(ours[n]) for n in both], [step_ns(theirs[n]) for n in both])
    low, high = interval or (None, None)
    return replace(row, relative=ratio, relative_low=low, relative_high=high)
