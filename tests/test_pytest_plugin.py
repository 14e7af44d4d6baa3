"""Stepwatch inside other people's pytest: the plugin's fixture, and the suites as benchmarks of pytest-benchmark."""

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from msgspec.structs import replace
from test_table import CASE, run_of

from bench import pytest_fixture, runner
from bench.errors import BenchError
from bench.run import Run
from bench.verbs import run as running

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed: make setup")

ROOT = Path(__file__).parent.parent
STEP = """
    import time
    def make_step():
        def step():
            until = time.perf_counter_ns() + 200_000
            while time.perf_counter_ns() < until:
                pass
            return 1.0
        return step
"""


def inner(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A pytest of its own, in a folder of its own, as a user of the installed package has it."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    told = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, timeout=300)


def test_the_fixture_times_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(dedent(STEP))
    (tmp_path / "broken.py").write_text("def make_step(): return 3")
    (tmp_path / "test_mine.py").write_text(
        dedent(
            """
            def test_step(stepwatch_program):
                row = stepwatch_program("model.py", rounds=2)
                assert 0.19 < row.step_ms < 20 and len(row.process_ms) == 2 and row.status in ("ok", "unsteady")
            def test_broken(stepwatch_program):
                stepwatch_program("broken.py", rounds=1)
            def test_gone(stepwatch_program):
                stepwatch_program("gone.py")
            def test_phase(stepwatch_program):
                stepwatch_program("model.py", rounds=1, phase="infer")
            """
        )
    )
    ended = inner(tmp_path, *plugin(), "test_mine.py", "--benchmark-disable")
    assert "1 passed, 3 failed" in ended.stdout or "3 failed, 1 passed" in ended.stdout, ended.stdout
    for words in (
        "make_step() wants to return a function, found int",
        "cannot read --program gone.py",
        "no phase infer",
    ):
        assert words in ended.stdout


def test_a_package_bench_of_the_user_s_own_is_left_alone(tmp_path: Path) -> None:
    """By `python -m pytest` it comes before ours; only who asks for the fixture is told."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("MINE = 1")
    (tmp_path / "test_mine.py").write_text(
        "import bench\ndef test_mine(): assert bench.MINE\ndef test_step(stepwatch_program): pass\n"
    )
    ended = inner(tmp_path, *plugin(), "test_mine.py", "--benchmark-disable")
    assert "1 passed, 1 error" in ended.stdout, ended.stdout + ended.stderr
    assert f"found {tmp_path}/bench/__init__.py" in ended.stdout and "run `pytest`" in ended.stdout


@pytest.mark.parametrize("phase", ["train", "infer"])
def test_one_phase_is_measured_and_what_goes_wrong_fails_the_test(
    phase: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    class Full:
        def __init__(self, run: Run, folder: Path, *, patience: float) -> None:
            seen.append([planned.case.phase for planned in run.planned])

        def execute(self) -> None:
            raise BenchError("cannot write results.jsonl: No space left on device", exit_code=74)

    monkeypatch.setattr(running, "planned", lambda _: run_of(CASE, replace(CASE, phase="infer")))
    monkeypatch.setattr(runner, "Runner", Full)
    times = pytest_fixture.measurer(tmp_path_factory)
    with pytest.raises(pytest.fail.Exception, match="No space left on device"):
        times("model.py", phase=phase)
    assert seen == [[phase]]


def test_a_suite_is_benchmarked_by_pytest_benchmark(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(
        dedent(
            """
            name = "tiny"
            rounds = 3
            [protocol]
            warm_up_seconds = 0.02
            bursts = 5
            burst_seconds = 0.002
            ceilings = false
            [[matrix]]
            workload = ["mlp"]
            backend = ["null"]
            data = ["synthetic"]
            mode = ["eager", "graph"]
            """
        )
    )
    told = ("--rootdir", str(tmp_path), "--benchmark-json", "out.json", str(ROOT / "suites" / "test_suites.py"))
    ended = inner(tmp_path, *told, STEPWATCH_SUITE=str(tmp_path / "tiny.toml"))
    assert ended.returncode == 0 and "2 passed, 2 skipped" in ended.stdout, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    assert [one["stats"]["rounds"] for one in found] == [3, 3]
    # The clock that only the workers advance: a null step's nanoseconds, not the seconds that its process took.
    assert all(0 < one["stats"]["median"] < 1e-4 for one in found)
    assert {one["extra_info"]["status"] for one in found} <= {"ok", "unsteady"}
    # A stored run that was a thousand times faster: one flag is enough to fail.
    stored = json.loads((tmp_path / "out.json").read_text())
    stored["benchmarks"].pop()
    stored["benchmarks"][0]["stats"]["median"] /= 1000
    kept = tmp_path / "store" / "Linux-CPython-3.11-64bit" / "0001_one.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps(stored))
    flags = ("--benchmark-storage", f"file://{tmp_path / 'store'}", "--benchmark-compare=*/0001")
    fail = "--benchmark-compare-fail=median:10%"
    again = inner(tmp_path, *told[:2], *flags, fail, *told[-1:], STEPWATCH_SUITE=str(tmp_path / "tiny.toml"))
    assert again.returncode == 1 and "Performance has regressed" in again.stdout + again.stderr
    assert "1 of 2 cases are not compared, the stored run lacks them" in again.stdout


def plugin() -> tuple[str, ...]:
    """Where the installed distribution does not offer the plugin, as an editable install made before it was added."""
    from importlib.metadata import entry_points

    there = {point.value for point in entry_points(group="pytest11")}
    return () if "stepwatch_pytest" in there else ("-p", "stepwatch_pytest", "-p", "no:stepwatch")
