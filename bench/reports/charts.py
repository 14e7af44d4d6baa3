"""Reports to charts, by name: each plot is a list of panels that stand for themselves, at any width. Pure.

A row of a list has its name and its number as text above its marks, so that a chart can be read on a telephone, in
grey, and without a legend.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import altair as alt
import vl_convert

from bench.errors import BenchError
from bench.reports import colours, drawing, groups, money, pareto_chart
from bench.reports.groups import Group
from bench.reports.markdown import count, digits, interval
from bench.reports.marks import Panel, Sheets, Values, axis, colour, dash, identity, panel, shape, texts
from bench.reports.names import called
from bench.table import Report, Row

WIDTH = 460  # of a panel in an image, in pixels; in a page it is the page's
ROW, SHARES = 42, 66  # height of a row of a list, and of one with three bars
DECADES = [1, 2, 3, *(round(m * 10**e) for e in range(7) for m in (1, 1.8, 3.2, 5.6) if m * 10**e > 3), 10**7]
LONGEST = 10**5  # steps that a curve shows at least


def step(reports: Sequence[Report]) -> list[Panel]:
    """Step time with its 95 % interval, and each process's own."""
    panels: list[Panel] = []
    for group in _measured(reports):
        values = [
            {**one, "ms": row.step_ms, "low": row.step_ms_low, "high": row.step_ms_high, "value": _time(row)}
            for one, row in _named(group)
        ]
        each = [{**one, "ms": ms} for one, row in _named(group) for ms in row.process_ms or ()]
        most = max([row.step_ms_high or row.step_ms or 0.0 for _, row in _named(group)] + [e["ms"] for e in each])
        x = alt.X("ms:Q", title="ms a step", scale=alt.Scale(domain=[0, most * 1.02], nice=False), axis=axis())
        tip = [alt.Tooltip("name:N"), alt.Tooltip("value:N", title="ms (95 %)")]
        sheets = Sheets(panels)
        bars = sheets.listed(values)
        base = bars.encode(x=x, tooltip=tip)
        layers = [
            base.mark_bar(height=6, yOffset=9, opacity=0.35, cornerRadiusEnd=3).encode(color=colour(reports)),
            sheets.listed(each)
            .mark_tick(size=14, thickness=1, opacity=0.6, yOffset=9)
            .encode(x=x, color=colour(reports)),
            bars.mark_rule(strokeWidth=2, yOffset=9).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q")),
            base.mark_point(filled=True, opacity=1, size=85, yOffset=9).encode(
                color=colour(reports), shape=shape(reports)
            ),
            *texts(bars, dy=-8),
        ]
        panels.append(panel(group, "Step time in ms with its 95 % interval", values, sheets, layers, ROW))
    return panels


def batch(reports: Sequence[Report]) -> list[Panel]:
    """Throughput against batch size, where there are several."""
    panels: list[Panel] = []
    for group in groups.sections(reports):
        rows = [row for row in group.rows if row.samples_per_second is not None]
        if len(sizes := sorted({row.case.batch for row in rows})) < 2:
            continue
        values: Values = []
        for row in rows:
            ends = (row.step_ms_high, row.step_ms_low)
            low, high = (None if ms is None else row.case.batch / ms * 1e3 for ms in ends)
            name = called(row, [r for r in rows if r.case.batch == row.case.batch])
            said = f"{digits(row.samples_per_second)} at batch {row.case.batch}"
            own = {"batch": row.case.batch, "rate": row.samples_per_second, "low": low, "high": high, "value": said}
            values.append({**identity(row), "name": name, **own})
        x = alt.X("batch:Q", title="batch size", scale=alt.Scale(type="log", base=2), axis=axis(values=sizes))
        y = alt.Y("rate:Q", title="samples/s", scale=alt.Scale(type="log"), axis=axis(grid=True))
        sheets = Sheets(panels)
        base = sheets.chart(values).encode(x=x, color=colour(reports, legend=True), detail=alt.Detail("name:N"))
        tip = [alt.Tooltip("name:N"), alt.Tooltip("value:N", title="samples/s")]
        layers = [
            base.mark_line(strokeWidth=1.8).encode(y=y, strokeDash=dash()),
            base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
            base.mark_point(filled=True, opacity=1, size=70).encode(
                y=y, shape=shape(reports, legend=True), tooltip=tip
            ),
        ]
        panels.append(panel(group, "Samples a second against batch size", values, sheets, layers))
    return panels


def first(reports: Sequence[Report]) -> list[Panel]:
    """The first call, with an empty (filled mark) and with a filled (hollow mark) compile cache."""
    panels: list[Panel] = []
    for group in _measured(reports):
        values = [
            {**one, "cold": row.first_step_cold_ms, "warm": row.first_step_warm_ms, "value": _calls(row)}
            for one, row in _named(group)
            if row.first_step_cold_ms is not None
        ]
        if not values:
            continue
        tip = [alt.Tooltip("name:N"), alt.Tooltip("value:N", title="first call, cold / warm")]
        x = alt.X("cold:Q", title="ms, log scale", scale=alt.Scale(type="log"), axis=axis(grid=True))
        sheets = Sheets(panels)
        rows = sheets.listed(values)
        base = rows.encode(color=colour(reports), tooltip=tip)
        layers = [
            base.mark_rule(strokeWidth=2, opacity=0.6, yOffset=9).encode(x=x, x2=alt.X2("warm:Q")),
            base.mark_point(filled=True, opacity=1, size=85, yOffset=9).encode(x=x, shape=shape(reports)),
            base.mark_point(filled=False, strokeWidth=2, size=70, yOffset=9).encode(
                x=alt.X("warm:Q"), shape=shape(reports)
            ),
            *texts(rows, dy=-8),
        ]
        panels.append(
            panel(group, "First call in ms, cold and with a filled compile cache", values, sheets, layers, ROW)
        )
    return panels


def curve(reports: Sequence[Report]) -> list[Panel]:
    """Seconds until so many steps are done, from a cold start; a ring where a compilation has repaid itself."""
    panels: list[Panel] = []
    for group in _measured(reports):
        rows = [(one, row) for one, row in _named(group) if _until(row, 3) is not None]
        if not rows or rows[0][1].case.measure == "latency":
            continue
        repaid = [(one, row) for one, row in rows if isfinite(row.break_even_steps or float("inf"))]
        last = max([LONGEST, *(10 * (row.break_even_steps or 0) for _, row in repaid)])
        steps = [n for n in DECADES if n <= last]
        values = [{**one, "steps": n, "seconds": float(f"{_until(row, n):.4g}")} for one, row in rows for n in steps]
        rings = [
            {
                **one,
                "steps": row.break_even_steps,
                "seconds": _until(row, row.break_even_steps or 1),
                "value": _even(row),
            }
            for one, row in repaid
            if (row.break_even_steps or 0) >= 1
        ]
        x = alt.X("steps:Q", title="steps, log scale", scale=alt.Scale(type="log"), axis=axis(format="~s", grid=False))
        y = alt.Y(
            "seconds:Q",
            title="seconds so far, log scale",
            scale=alt.Scale(type="log"),
            axis=axis(format="~g", grid=True),
        )
        sheets = Sheets(panels)
        base = sheets.chart(values).encode(x=x, y=y, color=colour(reports, legend=True), detail=alt.Detail("name:N"))
        tip = [alt.Tooltip("name:N"), alt.Tooltip("steps:Q", format=",.0f"), alt.Tooltip("seconds:Q", format=".3~g")]
        marked = base.transform_filter("datum.steps == 1")
        layers = [
            base.mark_line(strokeWidth=1.8).encode(strokeDash=dash(), tooltip=tip),
            marked.mark_point(filled=True, opacity=1, size=70).encode(shape=shape(reports, legend=True), tooltip=tip),
        ]
        if rings:
            ring = sheets.chart(rings).mark_point(size=190, strokeWidth=2, opacity=1)
            tip = [alt.Tooltip("name:N"), alt.Tooltip("value:N", title="break-even")]
            layers.append(ring.encode(x=x, y=y, color=colour(reports, legend=True), tooltip=tip))
        said = [{"name": one["name"], "value": f"{digits(_until(row, 1000))} s for 1,000 steps"} for one, row in rows]
        panels.append(panel(group, "Seconds against steps from a cold start", said, sheets, layers))
    return panels


def utilisation(reports: Sequence[Report]) -> list[Panel]:
    """The three shares of a step: its arithmetic and its memory traffic at the ceilings, and the host's dispatch."""
    panels: list[Panel] = []
    for group in _measured(reports):
        rows = [(one, row) for one, row in _named(group) if row.utilisation is not None]
        if not rows:
            continue
        values, said, told = [], [], []
        for one, row in rows:
            shares = {"arithmetic": row.utilisation, "memory": row.memory_share, "dispatch": row.dispatch_share}
            said.append({**one, "value": f"bound by {row.bound_by}"})
            known = [(what, share) for what, share in shares.items() if share is not None]
            each = ", ".join(f"{what} {share:.0%}" for what, share in known)
            told.append({**one, "value": f"bound by {row.bound_by} ({each})"})
            values += [
                {**one, "what": w, "share": s, "value": f"{s:.0%}", "at": 2 + 13 * i} for i, (w, s) in enumerate(known)
            ]
        most = max([1.0, *(value["share"] for value in values)])
        x = alt.X("share:Q", title="share of the step", axis=axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]))
        x = x.scale(domain=[0, most * 1.3], nice=False)
        tip = [alt.Tooltip("name:N"), alt.Tooltip("what:N"), alt.Tooltip("share:Q", format=".1%")]
        sheets = Sheets(panels)
        layers = [
            sheets.chart([{"share": 1}]).mark_rule(strokeDash=[4, 3], strokeWidth=1).encode(x=x),
            *texts(sheets.listed(said), dy=-22),
        ]
        for place, (what, opacity) in enumerate((("arithmetic", 1.0), ("memory", 0.62), ("dispatch", 0.35))):
            part = sheets.listed([value for value in values if value["what"] == what]).encode(x=x, tooltip=tip)
            at = -4 + 13 * place
            layers.append(part.mark_bar(height=9, yOffset=at, opacity=opacity).encode(color=colour(reports)))
            layers.append(part.mark_text(align="left", dx=5, yOffset=at, fontSize=10).encode(text=alt.Text("label:N")))
        for value in values:
            value["label"] = f"{value['value']} {value['what']}"
        panels.append(panel(group, "Shares of the step", told, sheets, layers, SHARES))
    return panels


PLOTS: dict[str, Callable[[Sequence[Report]], list[Panel]]] = {
    "step": step,
    "batch": batch,
    "first": first,
    "curve": curve,
    "cost": pareto_chart.cost,
    "utilisation": utilisation,
}


def render_svg(reports: Sequence[Report], name: str) -> str:
    """One plot as an image on white; `BenchError` where there is no such plot, or nothing to draw."""
    return drawing.svg(image(reports, name))


def render_png(reports: Sequence[Report], name: str) -> bytes:
    """The same in pixels, two for each."""
    return bytes(vl_convert.vegalite_to_png(image(reports, name), scale=2))


def image(reports: Sequence[Report], name: str) -> dict[str, Any]:
    """All panels of a plot as one Vega-Lite specification, two beside each other."""
    if name not in PLOTS:
        raise BenchError(f"no plot '{name}'; there are {', '.join(PLOTS)}")
    unpriced = name == "cost" and all(report.price is None for report in reports)
    panels = [] if unpriced else PLOTS[name](reports)
    if not panels:
        lacks = {"cost": "it has no price", "batch": "it has one batch size"}.get(name, "it has no such number")
        raise BenchError(f"nothing to plot as '{name}': {lacks}")
    charts = [one.chart.properties(title=one.title, width=WIDTH) for one in panels]
    spec: dict[str, Any] = alt.concat(*charts, columns=2).to_dict(validate=False)
    spec["datasets"] = {name: values for one in panels for name, values in one.datasets.items()}
    prices = {report.price for report in reports if report.price}
    if name == "cost" and len(prices) == 1:
        (price,) = prices
        dated = f" as of {price.as_of}" if price.as_of else ""
        spec["title"] = f"{money.named(price)}, {price.usd_per_hour} USD/h{dated}"
    return spec | {"config": colours.theme(dark=False) | {"background": "#ffffff"}, "padding": 12}


def _measured(reports: Sequence[Report]) -> list[Group]:
    return [group for group in groups.rivals(reports) if any(row.step_ms is not None for row in group.rows)]


def _named(group: Group) -> list[tuple[dict[str, Any], Row]]:
    pairs = zip(group.names(), group.rows, strict=True)
    return [({"place": i, "name": name, **identity(row)}, row) for i, (name, row) in enumerate(pairs) if row.step_ms]


def _time(row: Row) -> str:
    mark = "" if row.status == "ok" else f", {row.status}"
    return digits(row.step_ms) + interval(row.step_ms_low, row.step_ms_high) + mark


def _calls(row: Row) -> str:
    warm = "" if row.first_step_warm_ms is None else f" / {digits(row.first_step_warm_ms)}"
    return f"{digits(row.first_step_cold_ms)}{warm} ms"


def _even(row: Row) -> str:
    return f"{count(row.break_even_steps or 0.0)} steps against {row.break_even_against}"


def _until(row: Row, steps: float) -> float | None:
    """Seconds that the first so many calls take, the first three as they were with an empty compile cache."""
    calls = (row.first_step_cold_ms, row.second_step_cold_ms, row.third_step_cold_ms)
    early = [ms for ms in calls if ms is not None][: max(1, int(min(steps, 3)))]
    if row.step_ms is None or len(early) < min(int(steps), 3):
        return None
    return (sum(early) + max(0.0, steps - 3) * row.step_ms) / 1e3
