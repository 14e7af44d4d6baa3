"""The report format `terse`: a line a row, its case and its step."""

from bench.table import Report


def render(report: Report) -> str:
    lines = [
        f"{row.case}: {row.status}" + ("" if row.step_ms is None else f", {row.step_ms:.3g} ms") for row in report.rows
    ]
    return "\n".join((f"{report.run.suite.name}, begun {report.run.started}", *lines)) + "\n"
