"""`table.md`: the tables of a run, and below them what only some runs have: searches, overheads, costs."""

from bench.reports import markdown, money, overheads, searches
from bench.table import Report


def render(report: Report) -> str:
    parts = (markdown.render(report), searches.render(report), overheads.render(report), money.one(report))
    return "\n".join(part for part in parts if part)
