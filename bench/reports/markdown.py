"""`table.md`: a table per workload, phase and measure, fastest first, legible in a terminal and in a pull request."""

from collections.abc import Callable
from decimal import Decimal
from html import escape
from math import isfinite

from tabulate import tabulate

from bench.backends import OWN
from bench.case import Case
from bench.patience import BUSY
from bench.reports import joules
from bench.reports.names import SAID, USUAL, VARIED, called, called_together
from bench.reports.winners import winners
from bench.stats import samples_for
from bench.table import Report, Row

Format = Callable[[Row], str]


def render(report: Report) -> str:
    parts = [f"# Stepwatch: {report.run.suite.name}", machine_line(report), *money_lines(report)]
    parts += [*ceiling_lines(report), *noise_lines(report), *map(plain, joules.lines(report))]
    if report.run.suite.protocol.shortened():
        parts.append("**Shortened protocol: numbers to look at, not to quote.**")
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in report.rows:
        groups.setdefault((row.case.workload, row.case.phase, row.case.measure), []).append(row)
    for rows in groups.values():
        parts += section(report, rows)
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """A name or a reason that came from outside, as text: no tag, no cell border, no line of its own."""
    return " ".join(escape(text, quote=False).replace("|", "\\|").split())


def machine_line(report: Report) -> str:
    run, machine = report.run, report.run.machine
    devices = {row.case.device for row in report.rows}
    gpu = f", {machine.gpus[0].name} (driver {machine.gpus[0].driver})" if "gpu" in devices and machine.gpus else ""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    told = "".join(f"; {name}={value}" for name, value in run.variables.items())
    return plain(
        f"{machine.cpu}, {machine.cores} of {machine.cores_present} cores, {machine.memory_gib:g} GiB{gpu}; "
        f"{machine.system}, Python {machine.python}; {versions}{told}; commit {run.commit}; begun {run.started}."
    )


def money_lines(report: Report, *, alone: bool = True) -> list[str]:
    """Which price was used and how far it can be trusted; nothing where no price was given."""
    price = report.price
    if price is None:
        return []
    what = " ".join(word for word in (price.service, price.instance, price.region, price.price_model) if word)
    dated = f" as of {price.as_of}" if price.as_of else "" if price.from_command_line else ", undated"
    text = f"Price: {what or 'given on the command line'}, {price.usd_per_hour} USD/h{dated} ({price.source})."
    if report.price_age == "old":
        text += " The price is old: check it before you decide by it."
    if report.price_age == "stale":
        text += " The price is over a year old or undated: costs are marked ~."
    if price.usd_per_hour_share is not None and price.accelerator_count != 1:
        text += (
            f" The share is one of its {price.accelerator_count} accelerators and assumes that somebody rents the rest."
        )
    if price.accelerator and {row.case.device for row in report.rows} == {"cpu"}:
        text += f" The times are a CPU's, the price is for {price.accelerator}: no such run costs this."
    if price.vcpus and price.vcpus != report.run.machine.cores and not price.accelerator:
        text += f" Measured on {report.run.machine.cores} cores, the instance has {price.vcpus}:"
        text += " the cost is that of these times at its price."
    cancels = " On one machine the price cancels: between rows here the costs are as the times a sample."
    return [plain(text) + (cancels if alone else "")]


def ceiling_lines(report: Report) -> list[str]:
    """What the machine was seen to reach at best, which `bound by` is a share of; the bursts' least and most."""
    return [
        f"Ceilings{f' ({c.kind})' if len(report.ceilings) > 1 else ''}: "
        f"{rate(c.flops_per_second, c.flops_spread)} GFLOP/s of matrix products ({c.flops_by}), "
        f"{rate(c.bytes_per_second, c.bytes_spread)} GB/s of copying ({c.bytes_by})."
        + (f" Doubt them: other processes used {c.others_cores:.1f} cores." if (c.others_cores or 0.0) > BUSY else "")
        for c in report.ceilings
    ] + [plain(f"No ceilings by {why}.") for why in report.no_ceilings]


def rate(middle: float, spread: tuple[float, float]) -> str:
    low, high = spread
    return f"{digits(middle / 1e9)} ({digits(low / 1e9)}-{digits(high / 1e9)})"


def noise_lines(report: Report) -> list[str]:
    """Where nobody could look: that other processes are not in the table does not mean that there were none."""
    measured = [row for row in report.rows if row.step_ms is not None]
    if measured and all(row.others_cores is None for row in measured):
        return ["This system does not tell what other processes do: whether the machine was quiet is not known."]
    return []


def section(report: Report, rows: list[Row]) -> list[str]:
    case = rows[0].case
    title = f"## {case.workload}, {case.phase}" + (", latency" if case.measure == "latency" else "")
    measured = sorted((r for r in rows if r.step_ms is not None), key=lambda r: (r.case.batch, r.step_ms))
    rest = [row for row in rows if row.step_ms is None]
    columns = columns_of(report, rows)
    body = [[form(row) for _, form in columns] for row in (*measured, *rest)]
    align = ["left" if name in ("backend", "mode", "layout", "status") else "right" for name, _ in columns]
    table = tabulate(body, [name for name, _ in columns], tablefmt="pipe", colalign=align, disable_numparse=True)
    # What a backend does not have at one batch size it has at none: said once for all of them.
    reasons: dict[tuple[str, str, str], list[Row]] = {}
    for row in (*measured, *rest):
        if row.reason:
            name = called(row, [row]) if row.step_ms is None else called(row, rows)
            reasons.setdefault((name, row.status, row.reason), []).append(row)
    remarks = [
        f"- {called_together(alike, rows)}: **{status}**, {plain(reason)}"
        for (_, status, reason), alike in reasons.items()
    ]
    remarks += [f"- {called(row, rows)}: {too_few(row)}" for row in measured if too_few(row)]
    remarks += [f"- {called(row, rows)}: {repaid(row)}" for row in measured if row.break_even_steps is not None]
    return [title, caption(report, rows), table, *(["\n".join(remarks)] if remarks else [])]


def too_few(row: Row) -> str:
    """How many more calls the percentiles that are missing want."""
    if row.case.measure != "latency":
        return ""
    known = {50: row.latency_p50_ms, 90: row.latency_p90_ms, 99: row.latency_p99_ms}
    missing = [f"p{p} wants {samples_for(p) - row.samples} more calls" for p, value in known.items() if value is None]
    return "; ".join(missing)


def repaid(row: Row) -> str:
    """After how many steps the compilation has been worth it, with an empty and with a filled compile cache."""
    cold = after(row.break_even_steps, row.break_even_steps_low, row.break_even_steps_high, row.break_even_seconds)
    warm = after(
        row.break_even_warm_steps,
        row.break_even_warm_steps_low,
        row.break_even_warm_steps_high,
        row.break_even_warm_seconds,
    )
    dollars = "" if row.cost.usd_break_even is None else f", {money(row.cost.usd_break_even, '')} USD"
    text = f"repays its compilation against {row.break_even_against} {cold}{dollars}"
    return text + ("" if row.break_even_warm_steps is None else f"; with a filled cache {warm}") + "."


def after(steps: float | None, low: float | None, high: float | None, seconds: float | None) -> str:
    if steps is None or not isfinite(steps):
        return "never"
    between = "" if low is None or high is None else f" (95 %: {count(low)}-{count(high)})"
    return f"after {count(steps)} steps{between}" + ("" if seconds is None else f", {digits(seconds)} s")


def count(steps: float) -> str:
    return f"{steps:,.0f}" if isfinite(steps) else "never"


def caption(report: Report, rows: list[Row]) -> str:
    """What the rows have in common, what differs, and whether one of them is proved to be the fastest."""
    case = rows[0].case
    same = []
    differs = []
    axes = {
        "batch": "batch {}",
        "precision": "{}",
        "data": _data(report, case),
        "device": "on the {}",
        "threads": "{} threads",
    }
    axes |= {axis: SAID[axis] for axis, usual in USUAL.items() if any(getattr(r.case, axis) != usual for r in rows)}
    for axis, words in axes.items():
        found = sorted({getattr(row.case, axis) for row in rows})
        if found == [OWN]:
            continue
        same.append(words.format(" / ".join(map(str, found))))
    for axis in ("mode", "layout"):
        found = sorted({getattr(row.case, axis) for row in rows})
        if len(found) > 1:
            differs.append(f"{axis} ({', '.join(found)})")
        elif found not in (["flat"], [OWN]):
            same.append(f"{axis} {found[0]}")
    text = f"{', '.join(same)}."
    if case.workload == OWN:
        text = f"Programs of your own; {text} What they compute, they alone know."
    else:
        workload = report.run.workload(case.work if len({row.case.recipe for row in rows}) == 1 else case.workload)
        text = f"{workload.description}; {text} {workload.parameter_count():,} parameters, "
        text += f"{workload.flops_per_sample(case.phase) / 1e6:.3g} MFLOP a sample."
    if differs:
        text += f" Rows differ in {' and '.join(differs)}."
    return " ".join([text, *winners(rows)])


def _data(report: Report, case: Case) -> str:
    own = case.workload == OWN
    return "{} images" if own or report.run.workload(case.workload).takes_28x28() else "{} samples"


def columns_of(report: Report, rows: list[Row]) -> list[tuple[str, Format]]:
    def varies(axis: str) -> bool:
        return len({getattr(row.case, axis) for row in rows}) > 1

    latency = rows[0].case.measure == "latency"
    columns: list[tuple[str, Format]] = [("backend", lambda r: r.case.backend), ("mode", lambda r: r.case.mode)]
    columns += [("layout", lambda r: r.case.layout)] if any(r.case.layout != "flat" for r in rows) else []
    for axis in ("batch", *VARIED):
        if varies(axis):
            columns.append((axis, lambda r, axis=axis: str(getattr(r.case, axis))))  # type: ignore[misc]
    columns.append(("step ms (95 %)", lambda r: digits(r.step_ms) + interval(r.step_ms_low, r.step_ms_high)))
    if latency:
        columns += [
            ("p50 ms", lambda r: digits(r.latency_p50_ms)),
            ("p90", lambda r: digits(r.latency_p90_ms)),
            ("p99", lambda r: digits(r.latency_p99_ms)),
        ]
    else:
        columns.append(("samples/s", lambda r: digits(r.samples_per_second)))
    columns += [
        ("relative (95 %)", relative),
        ("first ms cold / warm", lambda r: f"{digits(r.first_step_cold_ms)} / {digits(r.first_step_warm_ms)}"),
        ("MiB", lambda r: digits(r.peak_memory_mib)),
        ("bound by", bound),
        ("parity fp64 / timed", lambda r: f"{error(r.parity_fp64)} / {error(r.parity_error)}"),
    ]
    if any(row.energy.joules_per_step for row in rows):
        columns.append(("J/step", lambda r: digits(r.energy.joules_per_step)))
    if report.price:
        mark = "~" if report.price_age == "stale" else ""
        columns.append(("USD/M samples", lambda r: money(r.cost.usd_per_million_samples, mark)))
        if report.price.usd_per_hour_share is not None and report.price.accelerator_count != 1:
            columns.append(("share", lambda r: money(r.cost.usd_per_million_samples_share, mark)))
    return [*columns, ("status", lambda r: r.status)]


def relative(row: Row) -> str:
    if row.relative is None:
        return "-"
    between = "" if row.relative_low is None else f" ({row.relative_low:.2f}-{row.relative_high:.2f})"
    return f"{row.relative:.2f}{between}"


def bound(row: Row) -> str:
    """The largest of the shares of the step's time."""
    share = {"dispatch": row.dispatch_share, "arithmetic": row.utilisation, "memory": row.memory_share}
    share["input"] = row.input_share
    found = share.get(row.bound_by or "")
    return "-" if found is None else f"{row.bound_by} {found:.0%}"


def digits(value: float | None) -> str:
    """Three significant digits, in full: no powers of ten."""
    if value is None:
        return "-"
    rounded = Decimal(f"{value:#.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:f}"


def interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({digits(low)}-{digits(high)})"


def error(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def money(value: object, mark: str) -> str:
    return "-" if value is None else mark + digits(float(str(value)))
