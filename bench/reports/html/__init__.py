"""`report.html`: one page that opens from disk, asks no network and re-prices itself.

The template, the style and the script lie beside this file; Vega comes out of vl-convert, whole. The page's own policy
lets nothing run but these two scripts, by their digests, and lets nothing be fetched.
"""

import hashlib
import json
import os
from base64 import b64encode
from collections.abc import Sequence
from datetime import date
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from msgspec import to_builtins
from msgspec.structs import replace

from bench import __version__, datasets
from bench.prices import billing
from bench.prices.book import Price, staleness
from bench.reports import charts, colours, groups, joules, markdown, money
from bench.reports.html import content
from bench.reports.marks import Panel
from bench.table import Report

VEGA = "window.vegaEmbed = vegaEmbed;"


def render(reports: Sequence[Report], offers: Sequence[Price] = ()) -> str:
    """The page of one run, of several, or of one at several prices; `offers`: the other prices to switch to."""
    plots = {name: plot(reports) for name, plot in charts.PLOTS.items()}
    drawn = {name: [(f"{name}-{i}", panel) for i, panel in enumerate(panels, 1)] for name, panels in plots.items()}
    sold = [for_sale(report, offers) for report in reports]
    data = {
        "themes": {name: colours.theme(dark=name == "dark") for name in ("light", "dark")},
        "charts": {key: specification(panel) for panels in drawn.values() for key, panel in panels},
        "repriced": [key for panels in drawn.values() for key, panel in panels if panel.reprices],
        "offers": sold,
    }
    style, script, vega = _text("style.css"), _text("page.js"), bundle()
    environment = Environment(
        autoescape=True,
        loader=DictLoader({"page.html.j2": _text("page.html.j2")}),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        reports=reports,
        runs=groups.runs(reports),
        numbers=groups.numbers(reports),
        names=[money.named(report.price) for report in reports],
        verdicts=content.verdicts(reports),
        plots=drawn,
        results=content.results(reports),
        costs=content.costs(reports),
        overheads=content.overheads(reports),
        searches=content.searches(reports),
        proofs=content.proofs(reports),
        noise=content.noise(reports),
        without=content.without_number(reports),
        colours=colours.of(row.case.backend for report in reports for row in report.rows),
        modes=[mode for mode in colours.SHAPES if any(row.case.mode == mode for r in reports for row in r.rows)],
        shapes=colours.SHAPES,
        offers=sold,
        ceilings=[content.plain_lines(markdown.ceiling_lines(report)) for report in groups.runs(reports)],
        unseen=[markdown.noise_lines(report) for report in groups.runs(reports)],
        joules=dict.fromkeys(line for report in groups.runs(reports) for line in joules.lines(report)),
        protocols=[to_builtins(report.run.suite.protocol) for report in groups.runs(reports)],
        version=__version__,
        data=embedded(data),
        style=Markup(style),
        scripts=[Markup(vega), Markup(script)],
        digests=[digest(vega), digest(script)],
    )


def specification(panel: Panel) -> dict[str, Any]:
    """The chart as wide as its container, coloured by the page's theme; the page's legend is that of all its charts."""
    fit = {"type": "fit-x", "contains": "padding"}
    made: dict[str, Any] = panel.chart.properties(width="container", autosize=fit).to_dict(validate=False)
    kept = {key: value for key, value in made.items() if key not in ("$schema", "config")}
    page: dict[str, Any] = without_legends(kept)
    return page | {"datasets": panel.datasets}


def without_legends(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: None if key == "legend" else without_legends(value) for key, value in part.items()}
    return [without_legends(each) for each in part] if isinstance(part, list) else part


def for_sale(report: Report, offers: Sequence[Price]) -> list[dict[str, Any]]:
    """The prices that a report may be switched to, its own first; `said`: what `table.md` would say of each."""
    day = date.fromisoformat(report.run.started[:10])
    mine = [] if report.price is None else [report.price]
    found = []
    for price in dict.fromkeys([*mine, *offers]):
        aged = staleness(price, day)
        (said,) = markdown.money_lines(replace(report, price=price, price_age=aged), alone=False)
        rule = billing.RULES.get((price.provider, price.service))
        found.append(
            {
                "seller": f"{price.provider} {price.service}".strip() or "given",
                "what": ", ".join(filter(None, (price.instance, price.region))),
                "name": money.named(price),
                "model": price.price_model,
                "usd": str(price.usd_per_hour),
                "count": price.accelerator_count,
                "unit": rule.unit if rule else None,
                "minimum": rule.minimum if rule else None,
                "mark": "~" if aged == "stale" else "",
                "said": content.text(said),
            }
        )
    return found


def embedded(data: object) -> Markup:
    """JSON that no text in it can end: `<` only ever begins a tag of ours."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def digest(script: str) -> str:
    """What the page's policy knows a script by."""
    return f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


@cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script. It takes vl-convert over a second, so the user's cache keeps it."""
    name = f"vega-{version('vl-convert-python')}-{hashlib.sha256(VEGA.encode()).hexdigest()[:8]}.js"
    path = datasets.cache_folder() / "pages" / name
    try:
        if _embeddable(kept := path.read_text(encoding="utf-8")):
            return kept
    except (OSError, UnicodeDecodeError):
        pass  # the first page of this version
    text = vl_convert.javascript_bundle(VEGA)
    assert _embeddable(text), "Vega's scripts would end the page's script"
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # the name must not be on disk before the content
        draft.replace(path)
    except OSError:  # a home that cannot be written costs every page that second
        try:
            draft.unlink()
        except OSError:
            pass  # it was never there
    return text


def _embeddable(script: str) -> bool:
    """Whether it is a script at all, and one that a page's script tag can hold."""
    return bool(script) and "</script" not in script and "<!--" not in script


def _text(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")
