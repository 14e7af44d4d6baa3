"""Rows that are not plain fp32 steps, through the command line: bf16, several steps a call, recipes, loaders."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from conftest import python, unless

from bench import backends, records
from bench.records import Proof

# As short as may be: what is looked at are the canaries, the proofs and the first losses, which no time can mend.
PROTOCOL = """
name = "options"
rounds = 1
[protocol]
warm_up_seconds = 0.0
bursts = 3
burst_seconds = 0.01
feed = 8
ceilings = false
"""
CHAINED = """
[[matrix]]
workload = ["{workload}"]
backend = ["{backend}"]
phase = ["train"]
steps_per_call = [3]
batch = [16]
"""
SUITE = (
    PROTOCOL
    + CHAINED
    + """
[[matrix]]
workload = ["{workload}"]
backend = ["{backend}"]
phase = ["train"]
precision = ["bf16"]
batch = [16]
data = ["auto"]
[[matrix]]
workload = ["{workload}"]
backend = ["{backend}"]
phase = ["train"]
recipe = ["plain", "{recipe}"]
input = ["resident", "host"]
batch = [16]
"""
)
# JAX and TensorFlow compile each of a dozen programs for seconds: the quick tests have torch, by the smaller model.
MODEL = dict.fromkeys(backends.NATIVE, ("cnn", "augment")) | {"torch": ("mlp", "smoothing")}
NATIVE = [pytest.param(name, marks=[pytest.mark.needs(name), *unless(name == "torch")]) for name in backends.NATIVE]


def run(folder: Path, suite: str) -> Path:
    """The run folder that such a suite leaves."""
    (folder / "suite.toml").write_text(suite)
    told = ("--out", "out", "--patience", "0", "--device", "cpu")
    done = python("-m", "bench", "run", "./suite.toml", *told, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The rows of that suite by a backend, made once."""
    made: dict[str, list[dict[str, str]]] = {}

    def of(backend: str) -> list[dict[str, str]]:
        if backend not in made:
            workload, recipe = MODEL[backend]
            suite = SUITE.format(backend=backend, workload=workload, recipe=recipe)
            out = run(tmp_path_factory.mktemp(backend), suite)
            table, text = ((out / name).read_text() for name in ("table.md", "table.csv"))
            found, _ = records.read(out / "results.jsonl")
            losses = {name for record in found if isinstance(record, Proof) for name in record.first_losses}
            phases = " ".join(sorted({name.split("/")[0] for name in losses}))
            made[backend] = [*csv.DictReader(io.StringIO(text)), {"table": table, "phases": phases}]
        return made[backend]

    return of


@pytest.mark.needs("tensorflow")
def test_several_steps_in_a_call_of_one_framework(tmp_path: Path) -> None:
    """The quick one of those below: a call of several steps by the command line, its proof and its first losses."""
    out = run(tmp_path, PROTOCOL + CHAINED.format(workload="mlp", backend="tensorflow"))
    (row,) = csv.DictReader(io.StringIO((out / "table.csv").read_text()))
    assert row["status"] in ("ok", "unsteady") and float(row["parity_fp64"]) < 1e-12, row
    assert row["steps_per_call"] == "3"


def picked(rows: list[dict[str, str]], **wanted: str) -> list[dict[str, str]]:
    return [row for row in rows[:-1] if all(row[axis] == value for axis, value in wanted.items())]


@pytest.mark.parametrize("backend", NATIVE)
def test_bf16_is_rounded_as_it_says_and_proved(rows: Any, backend: str) -> None:
    found = picked(rows(backend), precision="bf16")
    assert [row["workload"] for row in found] == [MODEL[backend][0]]
    for row in found:
        assert row["status"] in ("ok", "unsteady"), row
        assert float(row["parity_fp64"]) < 1e-12
        assert 1e-4 < float(row["parity_error"]) < 0.2, "as exact as fp32, or grossly wrong"


@pytest.mark.parametrize("backend", NATIVE)
def test_nothing_is_computed_for_a_phase_that_is_not_measured(rows: Any, backend: str) -> None:
    assert rows(backend)[-1]["phases"] == "train"


@pytest.mark.parametrize("backend", NATIVE)
def test_several_steps_in_a_call_are_the_same_steps(rows: Any, backend: str) -> None:
    found = picked(rows(backend), steps_per_call="3")
    assert [row["phase"] for row in found] == ["train"]
    for row in found:
        if backend == "torch":
            assert row["status"] == "unsupported"
        else:
            assert row["status"] in ("ok", "unsteady"), row
            assert float(row["parity_fp64"]) < 1e-12


@pytest.mark.parametrize("backend", NATIVE)
def test_recipes_have_rows_of_their_own_and_a_table(rows: Any, backend: str) -> None:
    made = rows(backend)
    found = picked(made, steps_per_call="1", precision="fp32", input="resident")
    assert [row["recipe"] for row in found] == ["plain", MODEL[backend][1]]
    assert {row["status"] for row in found} <= {"ok", "unsteady"}
    assert found[1]["relative"] == "1", "rows by different recipes are no rivals"
    assert "## What recipes cost" in made[-1]["table"]
    assert f"| {MODEL[backend][1]} " in made[-1]["table"]


@pytest.mark.parametrize("backend", NATIVE)
def test_a_loader_feeds_the_same_steps(rows: Any, backend: str) -> None:
    made = rows(backend)
    found = picked(made, input="host")
    assert [row["recipe"] for row in found] == ["plain", MODEL[backend][1]]
    for row in found:
        assert row["status"] in ("ok", "unsteady"), row  # its first losses are those that the proof foretells
        assert row["recipe"] != "plain" or float(row["parity_fp64"]) < 1e-12  # alone, a recipe has no second witness
        assert float(row["input_share"]) < 1
    assert "## What input from the host costs" in made[-1]["table"]
