"""JSON: the columns of table.csv with their types, under the run's identity. Money is text: no digit is lost."""

import msgspec

from bench.reports.columns import values
from bench.table import Report


def render(report: Report) -> str:
    run = report.run
    body = {
        "schema": run.schema,
        "suite": run.suite.name,
        "started": run.started,
        "commit": run.commit,
        "machine": run.machine,
        "versions": run.versions,
        "rows": [values(report, row) for row in report.rows],
    }
    return msgspec.json.format(msgspec.json.encode(body)).decode() + "\n"
