"""JSON: the columns of table.csv with their types, under the run's identity. Money is text: no digit is lost."""

from collections.abc import Sequence

import msgspec

from bench.reports.columns import values
from bench.table import Report


def render(report: Report) -> str:
    return _json(_body(report))


def several(reports: Sequence[Report]) -> str:
    """The same bodies, as a list."""
    return _json([_body(report) for report in reports])


def _json(body: object) -> str:
    return msgspec.json.format(msgspec.json.encode(body)).decode() + "\n"


def _body(report: Report) -> dict[str, object]:
    run = report.run
    return {
        "schema": run.schema,
        "suite": run.suite.name,
        "started": run.started,
        "commit": run.commit,
        "machine": run.machine,
        "versions": run.versions,
        "rows": [values(report, row) for row in report.rows],
    }
