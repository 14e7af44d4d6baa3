"""The hand-written loops run and know nothing of bench; whether bench is as fast is for a quiet machine to say."""

import ast
import json
from pathlib import Path

import pytest
from conftest import each_framework, python

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*_loop.py")), ids=lambda path: path.stem)
def test_the_loops_import_nothing_of_bench(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert [name for name in named if name.split(".")[0] == "bench"] == []


@each_framework()
def test_the_comparison_runs(backend: str, tmp_path: Path) -> None:
    quick = ("--bursts", 6, "--milliseconds", 0.1, "--batch", 2, "--threads", 1)
    done = python(FOLDER / "compare.py", backend, "cnn", *quick, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert all(1 < loss < 10 for loss in found["idiom_losses"])  # ln 10 is what guessing costs, and labels are noise
    for phase in ("train", "infer"):
        low, high = found[phase]["interval"]
        assert 0 < low <= found[phase]["ratio"] <= high
        assert found[phase]["bench_us"] > 0 < found[phase]["idiom_us"]
