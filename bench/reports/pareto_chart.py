"""Time against money: every row of every report, and the line of those that nobody beats in both. Pure."""

from collections.abc import Sequence

import altair as alt

from bench.reports import groups, money
from bench.reports.groups import Group
from bench.reports.markdown import digits
from bench.reports.marks import Panel, Sheets, Values, axis, colour, identity, panel, shape
from bench.reports.winners import SOUND
from bench.table import Report


def cost(reports: Sequence[Report]) -> list[Panel]:
    """Time against money a sample, and the line of those that nobody beats in both; without a price, no money."""
    panels: list[Panel] = []
    several = len(groups.runs(reports)) > 1
    for found in groups.gathered(money.lines(reports), lambda line: groups.titled(line.row)):
        on, beside = money.best(found), money.Beside(found)
        values: Values = []
        for line, best in zip(found, on, strict=True):
            name = beside.name(line)
            place = next(i for i, report in enumerate(reports) if report is line.report)
            name += f" (run {line.number})" if several else ""
            usd = None if line.usd is None else float(line.usd)
            price = money.named(line.price)
            own = {"us": line.seconds * 1e6, "usd": usd, "best": best, "sound": line.row.status in SOUND}
            said = f"{digits(own['us'])} us, {'-' if usd is None else digits(usd)} USD/M"
            values.append({**identity(line.row), "name": name, "report": place, "price": price, "value": said, **own})
        named(values)
        scale = alt.Scale(type="log", nice=False, padding=24)
        x = alt.X("us:Q", title="us a sample, log scale", scale=scale, axis=axis(grid=True))
        y = alt.Y("usd:Q", title="USD per million samples, log scale", scale=scale, axis=axis(grid=True))
        sheets = Sheets(panels)
        base = sheets.chart(values).encode(x=x, y=y)
        nobody = base.transform_filter("datum.best")
        tip = [
            alt.Tooltip("name:N"),
            alt.Tooltip("price:N"),
            alt.Tooltip("us:Q", format=".3~g"),
            alt.Tooltip("usd:Q", format=".3~g"),
        ]
        layers = [
            base.mark_text(align="left", dx=10, dy=10, fontSize=10).encode(text=alt.Text("label:N")),
            nobody.mark_line(interpolate="step-after", strokeWidth=1.2, color="#808890").encode(
                order=alt.Order("us:Q")
            ),
            nobody.mark_point(size=230, strokeWidth=1.5, color="#808890", opacity=1),
            base.mark_point(filled=True, opacity=1, size=70).encode(
                color=colour(reports, legend=True), shape=shape(reports, legend=True), tooltip=tip
            ),
        ]
        group = Group(0, reports[0], groups.titled(found[0].row), tuple(line.row for line in found))
        panels.append(panel(group, "Time against money a sample", values, sheets, layers, reprices=True))
    return panels


def named(values: Values) -> None:
    """Of several prices each is named once, at its cheapest row. The page's script does the same."""
    several = len({value["price"] for value in values}) > 1
    for value in values:
        same = [v for v in values if v["price"] == value["price"] and v["usd"] is not None]
        first = min(same, key=lambda v: v["usd"], default=None)
        value["label"] = value["price"] if several and value is first else ""
