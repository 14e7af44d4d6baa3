"""A report as the design's columns: the one list that CSV and JSON share."""

from decimal import Decimal
from math import isinf

from bench.table import Report, Row

COLUMNS = (
    *("workload", "phase", "measure", "backend", "mode", "precision", "layout", "batch", "data", "device"),
    *("input", "steps_per_call", "recipe", "threads"),
    *("status", "reason", "rounds", "samples"),
    *("step_ms", "step_ms_low", "step_ms_high", "samples_per_second", "relative", "relative_low", "relative_high"),
    *("first_step_cold_ms", "first_step_warm_ms"),
    *("second_step_cold_ms", "second_step_warm_ms", "third_step_cold_ms", "third_step_warm_ms"),
    *("break_even_against", "break_even_steps", "break_even_steps_low", "break_even_steps_high", "break_even_seconds"),
    *("break_even_warm_steps", "break_even_warm_steps_low", "break_even_warm_steps_high", "break_even_warm_seconds"),
    *("latency_p50_ms", "latency_p90_ms", "latency_p99_ms"),
    *("peak_memory_mib", "utilisation", "memory_share", "dispatch_share", "bound_by", "input_share"),
    *("parity_fp64", "parity_error"),
    *("joules_per_step", "joules_per_sample", "watts", "joules_note"),
    *("others_cores", "stolen_cores", "disturbed", "evidence", "measured_seconds", "occupied_seconds"),
    *("provider", "service", "instance", "region", "price_model", "price_as_of"),
    *("usd_per_hour", "usd_per_hour_share"),
    *("usd_per_million_samples", "usd_per_million_samples_low", "usd_per_million_samples_high"),
    *("usd_per_million_samples_share", "usd_per_million_samples_share_low", "usd_per_million_samples_share_high"),
    *("usd_per_epoch", "usd_per_epoch_low", "usd_per_epoch_high"),
    *("usd_per_million_inferences", "usd_per_million_inferences_low", "usd_per_million_inferences_high"),
    *("inferences_per_usd", "inferences_per_usd_low", "inferences_per_usd_high"),
    *("usd_measured", "usd_billed", "usd_break_even", "usd_break_even_warm"),
)
ORIGIN = ("run_started", "suite", "commit", "cpu", "cores", "gpu")  # whose run a row is, where there are several
NEVER = "never"  # in a column of numbers: a break-even that does not come, which is not the same as not known
Value = str | int | float | Decimal | None


def origin(report: Report) -> dict[str, Value]:
    run, machine = report.run, report.run.machine
    gpu = machine.gpus[0].name if machine.gpus else None
    return dict(zip(ORIGIN, (run.started, run.suite.name, run.commit, machine.cpu, machine.cores, gpu), strict=True))


def values(report: Report, row: Row) -> dict[str, Value]:
    """A row by column. What is not known is None."""
    price = report.price
    money: dict[str, Value] = {
        "provider": (price.provider or None) if price else None,
        "service": (price.service or None) if price else None,
        "instance": (price.instance or None) if price else None,
        "region": (price.region or None) if price else None,
        "price_model": (price.price_model or None) if price else None,
        "price_as_of": (price.as_of or None) if price else None,
        "usd_per_hour": price.usd_per_hour if price else None,
        "usd_per_hour_share": price.usd_per_hour_share if price else None,
    }
    found: dict[str, Value] = {}
    for column in COLUMNS:
        owner = next(
            owner for owner in (row.case, row.cost, row.energy, row) if column in money or hasattr(owner, column)
        )
        value: Value = money[column] if column in money else getattr(owner, column)
        found[column] = NEVER if isinstance(value, float) and isinf(value) else value
    return found
