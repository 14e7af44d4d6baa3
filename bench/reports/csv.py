"""`table.csv`: one line a row, six significant digits, nothing where nothing is known. Several runs in one file."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal

from bench.reports.columns import COLUMNS, ORIGIN, Value, origin, values
from bench.table import Report


def render(report: Report) -> str:
    return _csv((values(report, row) for row in report.rows), COLUMNS)


def several(reports: Sequence[Report]) -> str:
    """Before each row, whose run it is."""
    rows = (origin(report) | values(report, row) for report in reports for row in report.rows)
    return _csv(rows, (*ORIGIN, *COLUMNS))


def _csv(rows: Iterable[dict[str, Value]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([plain(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def plain(value: Value) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.6g}"
        case Decimal():
            # A price keeps its own digits; a quotient has as many as the context gave it, which say nothing.
            # In full: other columns have no powers of ten either.
            return f"{value if len(value.as_tuple().digits) <= 12 else Decimal(f'{value:.6g}'):f}"
        case _:
            return str(value)
