"""The JSON of pytest-benchmark: the same statistics as its own, and read by the tool itself."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from msgspec.structs import replace
from test_compare import kept, times
from test_table import CASE, JAX, failure, pilot, run_of, sample

from bench.__main__ import main
from bench.reports import pytest_benchmark
from bench.reports.pytest_benchmark import stats
from bench.run import Program

NEEDS = pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed: make setup")


def written(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    records = [*times(1), pilot(JAX), *(failure(JAX, number) for number in range(6))]
    kept(path, run_of(CASE, JAX), records)
    assert main(["report", str(path), "--format", "pytest-benchmark"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_statistics_are_its_own() -> None:
    from pytest_benchmark.stats import Stats

    for data in ([0.5], [0.1, 0.2], [0.1, 0.11, 0.12, 0.13, 0.5], [0.3, 0.1, 0.2, 0.25, 0.22, 0.21, 0.2]):
        theirs = Stats()
        for value in data:
            theirs.update(value)
        ours = stats(data)
        for name in ("min", "max", "mean", "stddev", "median", "rounds", "total", "ops", "stddev_outliers"):
            assert ours[name] == pytest.approx(getattr(theirs, name)), name
        assert ours["ld15iqr"] <= ours["median"] <= ours["hd15iqr"]
        assert set(theirs.as_dict()) <= set(ours) | {"iterations"}


def test_an_entry_a_measured_case_and_no_number_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = written(tmp_path / "run", capsys)
    (entry,) = found["benchmarks"]
    assert entry["fullname"].startswith("suites/test_suites.py::test_case[mlp-train-throughput-torch-eager")
    assert entry["stats"]["median"] == pytest.approx(2e-3) and len(entry["stats"]["data"]) == 6
    assert entry["stats"]["rounds"] == 6 and entry["stats"]["stddev"] > 0
    assert found["machine_info"]["node"] == "" and found["commit_info"]["id"] == "abc1234"
    assert all(math.isfinite(v) for v in entry["stats"].values() if isinstance(v, float))


def test_pytest_benchmark_reads_and_compares_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = tmp_path / "storage" / "Linux-CPython-3.11-64bit"
    storage.mkdir(parents=True)
    for number, name in enumerate(("one", "two"), 1):
        (storage / f"000{number}_{name}.json").write_text(json.dumps(written(tmp_path / name, capsys)))
    command = [sys.executable, "-m", "pytest_benchmark", "--storage", str(tmp_path / "storage"), "compare"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test_case[mlp-train-throughput-torch") >= 2


def test_a_program_of_the_user_s_has_no_commit_of_stepwatch_s() -> None:
    run = run_of(CASE)
    assert pytest_benchmark.commit_info(run)["id"] == "abc1234"
    found = pytest_benchmark.commit_info(replace(run, programs=(Program("model.py", "0", 8, ("train",), False),)))
    assert (found["id"], found["project"], found["time"]) == ("unversioned", "", None)


def test_the_readers_find_what_they_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """github-action-benchmark takes fullname, stats.ops, stddev, rounds and mean; Bencher fullname, mean and stddev."""
    (entry,) = written(tmp_path / "run", capsys)["benchmarks"][:1]
    assert entry["fullname"].startswith("suites/test_suites.py::test_case[")
    for name in ("ops", "stddev", "rounds", "mean"):
        assert isinstance(entry["stats"][name], int | float), name
    assert entry["stats"]["ops"] == pytest.approx(1 / entry["stats"]["mean"])


def test_one_process_has_no_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept(tmp_path / "run", run_of(CASE, rounds=1), [pilot(CASE), sample(CASE, 0, 2.0)])
    assert main(["report", path, "--format", "pytest-benchmark"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["benchmarks"]
    assert (entry["stats"]["stddev"], entry["stats"]["rounds"]) == (0.0, 1)


SHORT = "rounds = 1\n[protocol]\nwarm_up_seconds = 0.02\nbursts = 3\nburst_seconds = 0.002\nceilings = false\n"


def suites(folder: Path, *more: str, suite: str = "", mode: str = "graph") -> "subprocess.CompletedProcess[str]":
    """`pytest suites/` on a suite whose two cases no backend has: they are skipped, and nothing is measured."""
    path = folder / "tiny.toml"
    matrix = f'[[matrix]]\nworkload = ["mlp"]\nbackend = ["null"]\ndata = ["synthetic"]\nmode = ["{mode}"]\n'
    path.write_text(f'name = "tiny"\n{SHORT}{matrix}')
    told = ("-p", "no:cacheprovider", "--rootdir", str(folder), "--benchmark-storage", f"file://{folder / 'store'}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *told, *more, str(ROOT / "suites")],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "STEPWATCH_SUITE": suite or str(path)},
        capture_output=True,
        text=True,
    )


FAIL = "--benchmark-compare-fail=median:10%"


@pytest.mark.parametrize("more", [("--benchmark-compare", FAIL), (FAIL,)])
def test_the_first_run_has_nothing_to_be_held_against(tmp_path: Path, more: tuple[str, ...]) -> None:
    ended = suites(tmp_path, *more)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "no run is stored yet, so nothing is compared" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_run_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    ended = suites(tmp_path, "--benchmark-compare=0007", FAIL)
    assert ended.returncode == 4 and ended.stderr == "ERROR: no stored run matches --benchmark-compare=0007\n\n"


def test_a_stored_run_is_compared_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept_ = tmp_path / "store" / "Linux-CPython-3.11-64bit"
    kept_.mkdir(parents=True)
    file, stored = kept_ / "0001_one.json", written(tmp_path / "one", capsys)
    file.write_text(json.dumps(stored))
    ended = suites(tmp_path, "--benchmark-compare=*/0001", FAIL)
    assert ended.returncode == 0 and "2 skipped" in ended.stdout, "what is not measured is in no stored run"
    ended = suites(tmp_path, "--benchmark-compare=*/0001", FAIL, mode="eager")
    assert ended.returncode == 4, ended.stdout + ended.stderr
    assert "none of the 2 cases is in " in ended.stderr and "nothing would be compared" in ended.stderr
    ids = suites(tmp_path, "--collect-only", "-q", mode="eager").stdout.splitlines()[0]
    stored["benchmarks"][0]["fullname"] = ids
    file.write_text(json.dumps(stored))
    ended = suites(tmp_path, "--benchmark-compare=*/0001", FAIL, mode="eager")
    assert ended.returncode == 0 and "2 passed" in ended.stdout, ended.stdout + ended.stderr
    assert "nothing is compared" not in ended.stdout and "Comparing against benchmarks from" in ended.stderr


def test_a_suite_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    ended = suites(tmp_path, suite="nope")
    assert ended.returncode == 4 and ended.stderr.startswith("ERROR: STEPWATCH_SUITE=nope: no suite 'nope'; there are")
    assert len(ended.stderr.strip().splitlines()) == 1 and "Traceback" not in ended.stdout + ended.stderr
