"""`table.csv`: one line a row, six significant digits, nothing where nothing is known."""

from decimal import Decimal

import pandas as pd

from bench.reports.columns import COLUMNS, Value, values
from bench.table import Report


def render(report: Report) -> str:
    frame = pd.DataFrame([values(report, row) for row in report.rows], columns=list(COLUMNS), dtype=object)
    text: str = frame.map(plain).to_csv(index=False, lineterminator="\n")
    return text


def plain(value: Value) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.6g}"
        case Decimal():
            # A price keeps its own digits; a quotient has as many as the context gave it, which say nothing.
            return str(value) if len(value.as_tuple().digits) <= 12 else f"{value:.6g}"
        case _:
            return str(value)
