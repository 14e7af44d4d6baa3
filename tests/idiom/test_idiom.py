"""The hand-written loops run and know nothing of bench; whether bench is as fast is for a quiet machine to say."""

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import compare
import every
import pytest
from conftest import python, unless
from every import installed, rows, table, there

from bench import backends, workloads

FOLDER = Path(__file__).parent
WANTED = {"commit": "abc1234", "sources": "0123456789ab", "cpu": "Abacus 3", "cores": 4}


def each_mode() -> pytest.MarkDecorator:
    quick = (("torch", "eager"), ("keras-jax", "compiled"))
    return pytest.mark.parametrize(
        ("backend", "mode"),
        [
            pytest.param(name, mode, marks=[pytest.mark.needs(name), *unless((name, mode) in quick)])
            for name in compare.FRAMEWORKS
            for mode in backends.get(name).modes
        ],
    )


def result(bench_us: float, idiom_us: float, interval: list[float] | None, **others: Any) -> dict[str, Any]:
    """A comparison of inference with made-up numbers."""
    timed = {"steps": 7, "bench_us": bench_us, "idiom_us": idiom_us, "ratio": bench_us / idiom_us, "interval": interval}
    named = {"framework": "torch", "model": "mlp", "mode": "eager", "versions": backends.get("torch").versions()}
    return WANTED | named | {"batch": 64, "feed": 32, "threads": 4, "bursts": 60, "infer": timed} | others


LOOPS = sorted([*FOLDER.glob("*_loop.py"), *FOLDER.glob("*_models.py"), FOLDER / "sizes.py"])


@pytest.mark.parametrize("path", LOOPS, ids=lambda path: path.stem)
def test_the_loops_import_nothing_of_bench(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert [name for name in named if name.split(".")[0] == "bench"] == []


@pytest.mark.parametrize(
    "backend", [pytest.param(n, marks=[pytest.mark.needs(n), *unless(n == "torch")]) for n in backends.NATIVE]
)
def test_a_loop_refuses_a_mode_that_it_lacks(backend: str) -> None:
    done = python("-c", f"import {backend}_loop as l; l.make('mlp', 'woven', 2, None, None)", PYTHONPATH=str(FOLDER))
    assert "ValueError: no mode 'woven' in" in done.stderr


@each_mode()
def test_the_comparison_runs(backend: str, mode: str, tmp_path: Path) -> None:
    if backend.endswith("torch") and mode == "compiled" and shutil.which("g++") is None:
        pytest.skip("torch.compile wants a C++ compiler")
    quick = ("--bursts", 6, "--milliseconds", 0.1, "--batch", 2, "--threads", 1)
    done = python(FOLDER / "compare.py", backend, "cnn", "--mode", mode, *quick, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["mode"] == mode
    assert all(1 < loss < 10 for loss in found["idiom_losses"])  # ln 10 is what guessing costs, and labels are noise
    for phase in ("train", "infer"):
        low, high = found[phase]["interval"]
        assert 0 < low <= found[phase]["ratio"] <= high
        assert found[phase]["bench_us"] > 0 < found[phase]["idiom_us"]


COUNTS = {  # expressions: the numbers of parameters of what `make` returns
    "torch": "sum(p.numel() for p in make()[0].parameters())",
    "jax": "sum(array.size for array in __import__('jax').tree.leaves(make()[0]))",
    "tensorflow": "sum(p.shape.num_elements() for p in make().parameters)",
}


@pytest.mark.parametrize(
    "backend", [pytest.param(n, marks=[pytest.mark.needs(n), *unless(n == "torch")]) for n in backends.NATIVE]
)
def test_the_large_models_have_as_many_parameters_as_ours(backend: str) -> None:
    named = ("ResNet50", "GPT") if backend == "tensorflow" else ("resnet50", "gpt")
    count = f"from {backend}_models import *\nfor make in ({', '.join(named)}): print({COUNTS[backend]})"
    done = python("-c", count, PYTHONPATH=str(FOLDER))
    wanted = [workloads.get(name).parameter_count() for name in ("resnet50", "gpt")]
    assert done.stdout.split() == list(map(str, wanted)), done.stderr[-2000:]


@pytest.mark.long
@pytest.mark.parametrize("model", ["resnet50", "gpt"])
@pytest.mark.parametrize("backend", [pytest.param(n, marks=pytest.mark.needs(n)) for n in backends.NATIVE])
def test_the_comparison_of_a_large_model_runs(backend: str, model: str, tmp_path: Path) -> None:
    quick = ("--bursts", 6, "--milliseconds", 0.1, "--batch", 1, "--feed", 2, "--phase", "train")
    done = python(FOLDER / "compare.py", backend, model, *quick, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(1 < loss < 20 for loss in json.loads(done.stdout)["idiom_losses"])


@pytest.mark.long
@pytest.mark.parametrize("backend", [pytest.param(n, marks=pytest.mark.needs(n)) for n in compare.KERAS])
def test_keras_s_gpt_by_hand_has_as_many_parameters_as_keras_s_attention_makes_of_ours(backend: str) -> None:
    """Its attention makes queries, keys and values by three products, of as many weights as our one."""
    count = "import keras_loop as l; print(l.gpt().count_params(), l.cnn().count_params(), l.mlp().count_params())"
    done = python("-c", count, PYTHONPATH=str(FOLDER), KERAS_BACKEND=backends.get(backend).engine)
    wanted = [workloads.get(name).parameter_count() for name in ("gpt", "cnn", "mlp")]
    assert done.stdout.split() == list(map(str, wanted)), done.stderr[-2000:]


def test_keras_has_no_resnet_by_hand() -> None:
    done = python(FOLDER / "compare.py", "keras-jax", "resnet50")
    assert done.returncode == 2 and "no ResNet-50 by hand in Keras" in done.stderr


def test_every_takes_the_native_frameworks_unless_told_others() -> None:
    here = {framework for framework, _, _ in installed()}
    assert here <= set(backends.NATIVE)
    assert {framework for framework, _, _ in installed(names=compare.KERAS)} <= set(compare.KERAS)


@pytest.mark.parametrize("framework", backends.NATIVE)
def test_the_comparison_refuses_a_mode_that_the_backend_lacks(framework: str) -> None:
    done = python(FOLDER / "compare.py", framework, "mlp", "--mode", "woven")
    assert done.returncode == 2
    assert f"{framework} has no mode woven" in done.stderr


@pytest.mark.parametrize(
    ("idiom_us", "interval", "bound", "verdict"),
    [
        (4999, [0.90, 1.049], "1.05", "holds"),
        (5000, [0.90, 1.049], "1.02", "not settled"),
        (5000, [0.90, 1.019], "1.02", "holds"),
        (5000, [1.021, 1.04], "1.02", "broken"),
        (4999, [1.021, 1.04], "1.05", "holds"),
        (100, [1.051, 1.30], "1.05", "broken"),
        (100, [1.05, 1.30], "1.05", "not settled"),  # an end on the bound settles nothing
        (100, [0.90, 1.05], "1.05", "not settled"),
        (100, None, "1.05", "not settled"),  # fewer than six pairs have no interval
    ],
)
def test_the_verdict_is_the_intervals(idiom_us: float, interval: list[float], bound: str, verdict: str) -> None:
    (row,) = rows([result(idiom_us, idiom_us, interval)])
    assert row[-2:] == [bound, verdict]


def test_a_row_is_one_phase_of_one_comparison() -> None:
    both = result(2040, 2000, [0.99, 1.04], train={"bench_us": 6060, "idiom_us": 6000, "ratio": 1.01, "interval": None})
    names = ["torch", "eager", "mlp"]
    assert rows([both]) == [
        [*names, "train", "6.060", "6.000", "1.010", "none", "1.02", "not settled"],
        [*names, "infer", "2.040", "2.000", "1.020", "0.990-1.040", "1.05", "holds"],
    ]


def test_the_tables_head_says_where_and_of_what() -> None:
    first = result(1, 1, None, versions={"torch": "9.9"})
    text = table([first, result(1, 1, None, framework="jax", mode="compiled", versions={"jax": "8.8"}, bursts=90)])
    assert "Abacus 3, cores 4; commit abc1234; torch 9.9, jax 8.8" in text
    assert "60 or 90 pairs" in text
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == 1 + 2


def test_the_table_has_what_earlier_calls_measured_of_other_frameworks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(combination: every.Combination, bursts: int, options: object) -> dict[str, Any]:
        named = dict(zip(("framework", "mode", "model"), combination, strict=True))
        versions = backends.get(combination[0]).versions()
        found = result(1, 1, None, bursts=bursts, feed=32, versions=versions, **named)
        return {key: value for key, value in found.items() if key not in WANTED}

    monkeypatch.setattr(every, "installed", lambda models, names: [(name, "compiled", "mlp") for name in names])
    monkeypatch.setattr(every, "compare", made)
    for framework in ("jax", "torch"):
        monkeypatch.setattr("sys.argv", ["every.py", "--bursts", "6", "--out", str(tmp_path), "--framework", framework])
        with pytest.raises(SystemExit) as ended:
            every.main()
        assert ended.value.code is None
    text = (tmp_path / "table.md").read_text()
    assert "| jax " in text and "| torch " in text


def test_only_what_was_measured_here_of_this_code_counts_as_there() -> None:
    first, again = result(1, 1, None), result(2, 1, None)
    others = [{"commit": "fed4321"}, {"sources": ""}, {"cpu": "Abacus 2"}, {"versions": {"torch": "0"}}, {"bursts": 59}]
    assert there([first, again, *(result(3, 1, None, **one) for one in others)], WANTED, 60) == {
        ("torch", "eager", "mlp"): again
    }
