"""The building blocks of charts: a panel, a list of rows with their texts, the scales that all charts share. Pure.

Channels are spelled out, `alt.Text("name:N")`: of a bare string Altair looks for the schema, 3 ms each time.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
from msgspec import Struct

from bench.reports import colours
from bench.reports.groups import Group
from bench.table import Report, Row

Values = list[dict[str, Any]]


class Panel(Struct, frozen=True):
    """One chart. `says`: what it shows, for those who do not see it. `reprices`: its money is the page's to change.

    `datasets`: what the chart draws, by the names that it has for it.
    """

    title: str
    says: str
    chart: Any
    datasets: dict[str, Values]
    reprices: bool = False


class Sheets:
    """The data of a plot's panel, held once and named in its charts: Altair copies what a chart holds at every step."""

    def __init__(self, panels: Sequence[Panel]) -> None:
        self.panel = len(panels) + 1
        self.datasets: dict[str, Values] = {}

    def chart(self, values: Values) -> Any:
        name = f"{self.panel}-{len(self.datasets) + 1}"
        self.datasets[name] = values
        return alt.Chart(alt.NamedData(name=name))

    def listed(self, values: Values) -> Any:
        return self.chart(values).encode(y=alt.Y("place:O", axis=None, scale=alt.Scale(padding=0)))


def identity(row: Row) -> dict[str, Any]:
    return {"backend": row.case.backend, "mode": row.case.mode, "layout": row.case.layout}


def texts(base: Any, dy: int) -> list[Any]:
    name = base.mark_text(align="left", baseline="middle", dy=dy, fontWeight=600, limit=210)
    value = base.mark_text(align="right", baseline="middle", dy=dy)
    return [
        name.encode(x=alt.value(0), text=alt.Text("name:N")),
        value.encode(x=alt.value("width"), text=alt.Text("value:N")),
    ]


def axis(**more: Any) -> Any:
    return alt.Axis(**{"grid": False, "tickCount": 5, "domain": False, **more})


def colour(reports: Sequence[Report], *, legend: bool = False) -> Any:
    known = colours.of(row.case.backend for row in _timed(reports))
    scale = alt.Scale(domain=list(known), range=list(known.values()))
    return alt.Color("backend:N", scale=scale, legend=alt.Legend(title=None) if legend else None)


def shape(reports: Sequence[Report], *, legend: bool = False) -> Any:
    modes = {row.case.mode for row in _timed(reports)}
    known = {mode: symbol for mode, symbol in colours.SHAPES.items() if mode in modes}
    scale = alt.Scale(domain=list(known), range=list(known.values()))
    return alt.Shape("mode:N", scale=scale, legend=alt.Legend(title=None) if legend else None)


def _timed(reports: Sequence[Report]) -> list[Row]:
    return [row for report in reports for row in report.rows if row.step_ms is not None]


def dash() -> Any:
    scale = alt.Scale(domain=list(colours.DASHES), range=list(colours.DASHES.values()))
    return alt.StrokeDash("layout:N", scale=scale, legend=None)


def panel(
    group: Group, what: str, said: Values, sheets: Sheets, layers: list[Any], row: int = 0, *, reprices: bool = False
) -> Panel:
    names = list(dict.fromkeys(value["name"] for value in said))
    read = "; ".join(f"{name}: {', '.join(v['value'] for v in said if v['name'] == name)}" for name in names)
    drawn = alt.layer(*layers).properties(height=row * len(names) or 240)
    return Panel(group.title, f"{what}, {group.title}. {read}.", drawn, sheets.datasets, reprices)
