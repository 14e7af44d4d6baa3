"""A history as a table, as CSV of every point, or as one chart a case."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import altair
import pandas as pd
from tabulate import tabulate

from bench.history import AXES, MOST, Trend
from bench.reports import drawing
from bench.reports.markdown import digits, plain

HEAD = ("case", "machine", "runs", "first ms", "last ms", "last seen", "drift", "last change")
ADVICE = "Advisory: the runs were measured at different times, and machines drift. `stepwatch gate` gives verdicts."
# Of a case; beside them whatever else is not the same in all of them.
SHOWN = ("workload", "phase", "measure", "backend", "mode", "layout", "precision", "device", "threads", "batch")


def markdown(trends: Sequence[Trend]) -> str:
    rows = []
    for one, case in zip(trends, names(trends), strict=True):
        points = one.series.points
        change = ""
        if one.changes:
            started, before, after = one.changes[-1]
            change = f"{started[:10]}: {digits(before)} to {digits(after)} ms ({after / before - 1:+.1%})"
        drift = "-" if one.drift is None else f"{one.drift:+.1%}"
        first, last = (digits(p.step_ms) + " unsteady" * (p.status == "unsteady") for p in (points[0], points[-1]))
        seen = points[-1].started[:10]
        if one.series.later:
            seen += f", not in {one.series.later} later"
        rows.append([plain(case), plain(one.series.where), str(len(points)), first, last, seen, drift, change])
    align = ("left", "left", "right", "right", "right", "left", "right", "left")
    table = tabulate(rows, HEAD, tablefmt="pipe", colalign=align, disable_numparse=True)
    return f"# History\n\n{ADVICE}\n\n{table}\n"


def names(trends: Sequence[Trend]) -> list[str]:
    """A name for each, by which it can be told from the others: on whichever axes they differ."""
    axes = [dict(zip(AXES, one.series.case, strict=True)) for one in trends]
    more = [axis for axis in AXES if axis not in SHOWN and len({case[axis] for case in axes}) > 1]
    return [" ".join([*(case[axis] for axis in SHOWN), *(f"{axis}={case[axis]}" for axis in more)]) for case in axes]


def points(trends: Sequence[Trend]) -> str:
    """Every point of every series: CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [*AXES, "machine", "cpu", "started", "commit", "step_ms", "step_ms_low", "step_ms_high", "status", "change"]
    )
    for one in trends:
        starts = {started for started, _, _ in one.changes}
        for p in one.series.points:
            ends = ["" if end is None else f"{end:.6g}" for end in (p.low, p.high)]
            change = "change" if p.started in starts else ""
            where = [one.series.machine, one.series.cpu, p.started, p.commit]
            writer.writerow([*one.series.case, *where, f"{p.step_ms:.6g}", *ends, p.status, change])
    return text.getvalue()


def chart(trends: Sequence[Trend]) -> Any:
    """A small chart a case and machine: time over time, its interval, and where the level moved."""
    rows: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for one, case in zip(trends, names(trends), strict=True):
        title = f"{case} on {one.series.where}"
        # A chart is a few hundred pixels wide: of more runs every so-many-th is drawn.
        shown = one.series.points[:: -(-len(one.series.points) // MOST)]
        rows += [
            {"case": title, "started": p.started, "step ms": p.step_ms, "low": p.low, "high": p.high} for p in shown
        ]
        moved += [{"case": title, "started": started, "moved": True} for started, _, _ in one.changes]
    altair.data_transformers.disable_max_rows()
    base = altair.Chart(pd.DataFrame(rows + moved)).encode(x=altair.X("started:T", title=None))
    y = altair.Y("step ms:Q", title="ms a step", scale=altair.Scale(zero=False))
    layers = [
        base.mark_area(opacity=0.25).encode(y=altair.Y("low:Q", title="ms a step"), y2="high:Q"),
        base.mark_line(point=True).encode(y=y),
    ]
    if moved:
        layers.append(base.transform_filter("datum.moved").mark_rule(strokeDash=[4, 4], color="#b03a2e"))
    drawn = altair.layer(*layers).properties(width=360, height=140)
    return drawn.facet(altair.Facet("case:N", title=None), columns=2).resolve_scale(y="independent")


def svg(trends: Sequence[Trend]) -> str:
    return drawing.svg(chart(trends).to_dict())
