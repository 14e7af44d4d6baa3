"""`table.md`: the tables of a run, and below them what only some runs have: what Keras costs, what everything costs."""

from bench.reports import markdown, money, overheads
from bench.table import Report


def render(report: Report) -> str:
    parts = (markdown.render(report), overheads.render(report), money.one(report))
    return "\n".join(part for part in parts if part)
