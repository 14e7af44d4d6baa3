"""One fixed colour per backend, one shape per mode, and how charts look on light and on dark ground.

After Okabe and Ito (2008); the lighter sibling of a framework's colour is Keras over that framework. Every two
backends differ for colour-blind eyes too (tests/test_charts.py simulates them), and no chart tells by colour alone.
"""

from collections.abc import Iterable
from typing import Any
from zlib import crc32

from bench.backends import OWN, is_own

BACKENDS = {
    "torch": "#d55e00",
    "tensorflow": "#009e73",
    "jax": "#0072b2",
    "keras-torch": "#e69f00",
    "keras-tensorflow": "#9fdf9f",
    "keras-jax": "#56b4e9",
    "null": "#6e7781",
    "control": "#7d604b",
}
REST = ("#cc79a7", "#a3345c", "#8c510a", "#7b4fa3")  # for backends of other packages, then programs of the user's own
SHAPES = {"eager": "circle", "graph": "square", "compiled": "diamond", OWN: "triangle-up"}
DASHES = {"flat": [1, 0], "nhwc": [1, 0], OWN: [1, 0], "nchw": [5, 3]}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"


def of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name: of a backend of ours always the same, of another package's too unless one beside it has
    the same; programs of the user's own take what is left, in the order of their names.
    """
    wanted = sorted(set(names), key=lambda name: (name not in BACKENDS, is_own(name), name))
    found: dict[str, str] = {}
    for name in wanted:
        free = [colour for colour in REST if colour not in found.values()]
        fixed = REST[crc32(name.encode()) % len(REST)]
        next_ = free[0] if free else REST[len(found) % len(REST)]
        found[name] = BACKENDS.get(name) or (fixed if fixed in free and not is_own(name) else next_)
    return found


def theme(*, dark: bool) -> dict[str, Any]:
    """Vega-Lite's `config`; the ground itself is the page's."""
    ink, quiet, line = ("#e8eaed", "#a3adb8", "#343b44") if dark else ("#1c2024", "#57606a", "#dfe2e6")
    axis = {
        **{"labelColor": quiet, "titleColor": quiet, "gridColor": line, "domainColor": line, "tickColor": line},
        **{"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "titlePadding": 8, "tickSize": 4},
        **{"labelFlush": True, "labelOverlap": "greedy"},
    }
    legend = {"labelColor": ink, "titleColor": quiet, "labelFontSize": 11, "titleFontSize": 11, "symbolSize": 70}
    return {
        "background": None,
        "font": FONT,
        "aria": False,  # the chart has a name and a table beside it; hundreds of unnamed marks would only be in the way
        "view": {"stroke": None},
        "axis": axis,
        "legend": {**legend, "titleFontWeight": "normal", "orient": "top", "symbolType": "circle", "columns": 3},
        "title": {"color": ink, "fontSize": 13, "fontWeight": 600, "anchor": "start", "offset": 10},
        "text": {"color": ink, "fontSize": 12},
        "rule": {"color": ink},
        "tick": {"color": ink},
    }
