"""The cases of a suite as benchmarks of pytest-benchmark, for teams that live in pytest.

`pytest suites/ --benchmark-autosave` measures the suite `quick`, or that of the variable STEPWATCH_SUITE, and keeps it;
with `--benchmark-compare-fail=median:10%` besides it is held against the one that was kept last.
All selected cases are measured first, in rounds of fresh processes as `stepwatch run` does; then each test tells
pytest-benchmark the seconds that its processes measured, by a timer that only they advance.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import folder as folders
from bench import machine, records, runner, suite, table
from bench import run as runs
from bench.reports.pytest_benchmark import identity
from bench.status import FAILED
from bench.table import Row
from bench.verbs.run import DEADLINE, patience

SUITE = suite.load(suite.find(os.environ.get("STEPWATCH_SUITE", "quick")))
PLANNED = {identity(planned.case): planned for planned in suite.plan(SUITE, machine.read())}


SPENT = [0.0]  # seconds that the workers have measured


def measured_seconds() -> float:
    """The timer that pytest-benchmark reads: it stands still but for what the workers have measured."""
    return SPENT[0]


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """The rows of the selected cases, measured together."""
    names = [item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")]
    planned = [PLANNED[name] for name in dict.fromkeys(names) if name in PLANNED]
    run = runs.create(SUITE, planned, machine.read(), suite.NO_FILTERS, DEADLINE, "")
    path: Path = tmp_path_factory.mktemp("stepwatch") / "run"
    folders.make(path, "run.json", run)
    runner.Runner(run, path, patience=patience()).execute()
    found, _ = records.read(path / "results.jsonl")
    return {identity(row.case): row for row in table.report(run, records.latest(found), None).rows}


@pytest.mark.parametrize("name", PLANNED)
@pytest.mark.benchmark(timer=measured_seconds)
def test_case(name: str, rows: dict[str, Row], benchmark: Any) -> None:
    row = rows[name]
    if row.status in ("unsupported", "skipped"):
        pytest.skip(f"{row.status}: {row.reason}")
    if row.process_ms is None or row.status in FAILED:
        pytest.fail(f"{row.status}: {row.reason}", pytrace=False)
    measured: Iterator[float] = iter(row.process_ms)

    def one_process() -> None:
        SPENT[0] += next(measured) / 1e3

    benchmark.extra_info |= {"status": row.status, "reason": row.reason}
    benchmark.pedantic(one_process, rounds=len(row.process_ms), iterations=1)
