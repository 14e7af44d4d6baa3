"""What the fixture of stepwatch_pytest.py does: it times a file of the user's own as `run` does."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench import folder as folders
from bench import records, runner, table
from bench.errors import BenchError
from bench.status import FAILED
from bench.suite import Filters
from bench.table import Row
from bench.verbs import run as running


def measurer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Row]:
    """The function that a test is given; its run folders are in pytest's temporary folder."""

    def measure(path: str | Path, *, rounds: int = 5, phase: str = "train", device: str = "cpu") -> Row:
        asked = running.Request(
            None, None, rounds, Filters(device=(device,)), None, None, None, 0.0, running.FREE, (str(path),)
        )
        try:
            run = running.planned(asked)
            wanted = tuple(planned for planned in run.planned if planned.case.phase == phase)
            if not wanted:
                pytest.fail(f"{path} offers no phase {phase}", pytrace=False)
            run = replace(run, planned=wanted)
            folder = tmp_path_factory.mktemp("stepwatch") / "run"
            folders.make(folder, "run.json", run)
            runner.Runner(run, folder, patience=running.patience()).execute()
            found, _ = records.read(folder / "results.jsonl")
            (row,) = table.report(run, records.latest(found), None).rows
        except BenchError as error:
            pytest.fail(str(error), pytrace=False)
        if row.step_ms is None or row.status in FAILED:
            pytest.fail(f"{path}: {row.status}: {row.reason}", pytrace=False)
        return row

    return measure
