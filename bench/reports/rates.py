"""A gate's error rates as a plot: the share of each verdict against the spread of a gate's pairs, by effect."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import altair
import pandas as pd

from bench.reports import drawing

COLOURS = {"FAIL": "#d55e00", "INCONCLUSIVE": "#999999", "PASS": "#0072b2", "INVALID": "#000000"}
Curve = tuple[float, bool, float, Counter[str]]  # effect, added, upper end of the spread's bin, verdicts


def label(end: float) -> str:
    """A bin of spreads by its upper end."""
    return "more" if end == inf else f"{end:.0%}"


def svg(curves: Mapping[str, Sequence[Curve]]) -> str:
    """A panel an effect and state; arms with the effect added, identical ones at 0 %."""
    rows: list[dict[str, Any]] = [
        {
            "beside": state,
            "effect": f"{effect:.0%} slower" if effect else "identical arms",
            "spread": label(end),
            "place": min(end, 1.0),
            "verdict": word,
            "gates": counts[word],
        }
        for state, found in curves.items()
        for effect, added, end, counts in found
        if added or not effect
        for word in COLOURS
        if counts[word]
    ]
    order = ["identical arms", *sorted({r["effect"] for r in rows} - {"identical arms"}, key=_leading)]
    places = sorted({(r["place"], r["spread"]) for r in rows})
    drawn = (
        altair.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            x=altair.X("spread:N", sort=[text for _, text in places], title="spread of a gate's pairs, up to"),
            y=altair.Y("gates:Q", stack="normalize", title="share of gates", axis=altair.Axis(format="%")),
            color=altair.Color(
                "verdict:N", scale=altair.Scale(domain=list(COLOURS), range=list(COLOURS.values())), title=None
            ),
            column=altair.Column("effect:N", sort=order, title=None),
            row=altair.Row("beside:N", title=None),
        )
        .properties(width=150, height=110)
    )
    return drawing.svg(drawn.to_dict())


def _leading(text: object) -> int:
    return int(str(text).partition("%")[0])
