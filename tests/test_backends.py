"""Every backend's registry row, folder and programs. Programs run in one subprocess a framework: see frameworks/."""

import ast
import json
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import FRAMEWORKS, ROOT, each_framework, python, unless
from frameworks.programs import SMALL, WHOLE, chosen
from msgspec.structs import replace
from numpy_model import forward
from test_table import CASE

from bench import backend as registry_row
from bench import backends, compile_cache, machine, parity, sensors, worker, workloads
from bench.__main__ import main
from bench.errors import BenchError
from bench.evidence import cross_entropy, proof_batches
from bench.measuring import opening
from bench.messages import Failed
from bench.program import Settings
from bench.run import adapter_digest
from bench.workload import SGD, Workload

FOLDER = Path(backends.__file__).parent
BROWSER = "chromium"  # tests/test_page.py
REQUIRED = [name for name in os.environ.get("BENCH_REQUIRE", "").split(",") if name]


# --- what is required is here -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*FRAMEWORKS, *REQUIRED} - {BROWSER}))
def test_required_frameworks(name: str) -> None:
    reason = backends.get(name).missing()
    assert not (reason and name in REQUIRED), f"BENCH_REQUIRE={','.join(REQUIRED)} names {name}: {reason}"
    if reason:
        pytest.skip(reason)


ABSENT = """
import bench.backend
found = bench.backend.find_spec
bench.backend.find_spec = lambda package: None if package == "torch" else found(package)
"""


@pytest.mark.parametrize(("required", "code", "says"), [("torch,jax", 1, "1 failed"), ("jax", 0, "skipped")])
def test_an_absent_framework_fails_once_where_it_is_required_and_skips_elsewhere(
    tmp_path: Path, required: str, code: int, says: str
) -> None:
    if backends.get("jax").missing():
        pytest.skip("another framework is needed, to be required and there")
    (tmp_path / "absent.py").write_text(ABSENT)
    chosen = (f"{__file__}::{test}" for test in ("test_required_frameworks", "test_canaries_agree[torch]"))
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    options = ("-p", "absent", "-p", "no:cacheprovider", "-q", "-rfs")
    done = python("-m", "pytest", *options, *chosen, folder=ROOT, PYTHONPATH=path, BENCH_REQUIRE=required)
    assert done.returncode == code, done.stdout
    assert says in done.stdout.splitlines()[-1]
    assert f"torch not installed: {backends.install('torch')}" in done.stdout


# --- the registry -----------------------------------------------------------------------------------------------------


def test_names_are_the_keys_and_the_folders() -> None:
    folders = sorted(path.name for path in FOLDER.iterdir() if (path / "__init__.py").exists())
    assert sorted({row.folder for row in backends.REGISTRY.values()}) == folders
    assert all(row.name == name for name, row in backends.REGISTRY.items())


@pytest.mark.parametrize("name", backends.REGISTRY)
def test_a_proof_depends_on_the_adapter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = backends.get(name)
    assert set(row.sources()) == set((FOLDER / row.folder).glob("*.py"))
    before = adapter_digest(name)
    monkeypatch.setattr(backends.Backend, "sources", lambda self: [])
    assert adapter_digest(name) != before


def test_an_unknown_backend_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(BenchError, match="no backend 'pytorch'; there are control, jax, keras-jax, keras-te"):
        backends.get("pytorch")


def combinations() -> list[tuple[str, str, str, str]]:
    """Every backend with every word that one of its axes does not have."""
    found = []
    for name, row in backends.REGISTRY.items():
        mode, layout, device = row.modes[0], row.layouts[0], row.devices[0]
        found += [(name, absent, layout, device) for absent in backends.MODES if absent not in row.modes]
        found += [(name, mode, absent, device) for absent in backends.LAYOUTS if absent not in row.layouts]
        found += [(name, mode, layout, absent) for absent in backends.DEVICES if absent not in row.devices]
    return found


@pytest.mark.parametrize(("name", "mode", "layout", "device"), combinations())
def test_every_absent_combination_says_why_in_words_of_its_own(name: str, mode: str, layout: str, device: str) -> None:
    reason = backends.get(name).why_not(mode=mode, layout=layout, device=device)
    assert reason in backends.get(name).lacks.values()
    assert len(reason.split()) >= 4


@pytest.mark.parametrize("name", backends.REGISTRY)
def test_coarser_precisions_and_several_steps_a_call_exist_or_say_why_not(name: str) -> None:
    row = backends.get(name)

    def asked(device: str, **more: Any) -> str:
        return row.why_not(mode=row.modes[0], layout="flat", device=device, **more)

    assert "loss scaled" in asked("cpu", precision="fp16")
    assert "use fp32 or bf16" in asked("cpu", precision="tf32")
    assert bool(asked("cpu", precision="bf16")) is not bool(row.packages)
    chains = {"tensorflow", "jax"}
    assert bool(asked("cpu", steps_per_call=8)) is (name not in chains), asked("cpu", steps_per_call=8)
    if row.packages:
        assert asked("gpu", precision="tf32") == ""
        assert "for proofs" in asked("gpu", precision="fp64") and asked("cpu", precision="fp64") == ""
        assert bool(asked("gpu", steps_per_call=8)) is (name not in chains | {"torch"})
    assert "eager" not in row.modes or row.why_not(mode="eager", layout="flat", device="cpu", steps_per_call=8)


@pytest.mark.parametrize(
    ("precision", "capability", "lacks"),
    [
        *(("tf32", (7, 5), True), ("bf16", (7, 0), True), ("tf32", (8, 0), False), ("bf16", (9, 0), False)),
        *(("fp32", (3, 5), False), ("fp64", (7, 5), False), ("bf16", None, False)),
    ],
)
def test_an_old_gpu_lacks_coarse_arithmetic(precision: str, capability: tuple[int, int] | None, lacks: bool) -> None:
    reason = registry_row.lacked(precision, capability)
    assert bool(reason) is lacks
    assert not lacks or (precision in reason and "8.0 or more" in reason and "use fp32" in reason)


def test_a_worker_on_an_old_gpu_says_so_before_it_imports_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "capability", lambda: (7, 5))
    monkeypatch.setattr(worker, "show_one_gpu", lambda settings: None)
    imported: list[Settings] = []
    adapter = SimpleNamespace(before_import=imported.append, after_import=imported.append)
    monkeypatch.setattr(backends.Backend, "module", lambda self: adapter)
    asked = opening("torch", Settings("eager", "tf32", "flat", "gpu", 1))
    answer = worker.Worker().answer(asked)
    assert isinstance(answer, Failed) and answer.status == "unsupported" and "this one has 7.5" in answer.reason
    assert imported == []


UNSEEN = """
import sys
from bench import backends
from bench.program import Settings
row = backends.get(sys.argv[1])
adapter, settings = row.module(), Settings(row.modes[0], "fp32", "flat", "gpu", 1)
adapter.before_import(settings)
adapter.after_import(settings)
"""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.needs(name), *unless(name == "jax")]) for name in backends.NATIVE]
)
def test_a_framework_that_sees_no_gpu_says_what_to_uninstall(name: str) -> None:
    if machine.gpus():
        pytest.skip("there is a GPU, and it would be seen")
    done = python("-c", UNSEEN, name, JAX_PLATFORMS="cpu")
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and said.startswith("bench.errors.NoGpu: ") and f"{name} " in said
    assert f"sees no GPU: if its build is without CUDA, pip uninstall {name}" in said


@pytest.mark.parametrize("name", backends.REGISTRY)
def test_every_other_combination_exists_as_far_as_the_registry_knows(name: str) -> None:
    row = backends.get(name)
    for mode in row.modes:
        for layout in (*row.layouts, "flat"):
            for device in row.devices:
                assert row.why_not(mode=mode, layout=layout, device=device) == ""
    known = {*backends.MODES, *backends.LAYOUTS, *backends.DEVICES, "precision", "input", "steps_per_call"}
    assert {*row.modes, *row.layouts, *row.devices, *row.lacks} <= known
    assert not {*row.modes, *row.layouts, *row.devices} & {*row.lacks}


def test_missing_names_each_absent_package_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_row, "find_spec", lambda package: None if package in ("flax", "optax") else object())
    assert backends.get("jax").missing() == f"flax and optax not installed: {backends.install('jax')}"
    assert backends.get("torch").missing() == ""
    monkeypatch.setattr(registry_row, "find_spec", lambda package: None)
    assert backends.get("torch").missing() == f"torch not installed: {backends.install('torch')}"
    assert backends.get("null").missing() == ""


def test_how_to_install_an_extra_depends_on_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backends.install("jax") == "pip install -c constraints.txt -e '.[jax]'"  # this is a checkout
    monkeypatch.setattr(registry_row, "__file__", str(tmp_path / "bench" / "backend.py"))
    assert backends.install("jax") == "pip install 'stepwatch[jax]'"


def test_versions_are_those_of_the_distributions_that_are_here() -> None:
    for row in backends.REGISTRY.values():
        versions = row.versions()
        assert set(versions) <= set(row.distributions)
        assert bool(versions) == bool(row.packages and not row.missing())
        assert all(version[0].isdigit() for version in versions.values())


ROOMS = {"__init__.py", "device.py", "layers.py", "optimiser.py", "program.py"}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_has_the_same_rooms(name: str) -> None:
    row = backends.get(name)
    # And what else a framework wants rooms for: attention, recurrence, Keras's gradients.
    assert {path.name for path in (FOLDER / row.folder).glob("*.py")} >= ROOMS


@pytest.mark.parametrize("name", backends.REGISTRY)
def test_every_backend_offers_what_the_protocol_asks(name: str) -> None:
    module = backends.get(name).module()
    assert all(callable(getattr(module, wanted)) for wanted in ("before_import", "after_import", "build"))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_program_has_the_protocols_methods(name: str) -> None:
    from bench.program import Program

    wanted = {word for word, value in vars(Program).items() if callable(value) and not word.startswith("_")}
    tree = ast.parse((FOLDER / backends.get(name).folder / "program.py").read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    (program,) = (node for class_name, node in classes.items() if class_name.endswith("Program"))
    assert wanted <= {node.name for node in program.body if isinstance(node, ast.FunctionDef)}


def test_the_null_backend_computes_nothing_and_proves_nothing() -> None:
    row = backends.get("null")
    module, settings = row.module(), Settings("eager", "fp32", "flat", "cpu", 3)
    module.before_import(settings)
    assert module.after_import(settings).threads == 3
    program = module.build(workloads.get("mlp"), settings)
    x, y = np.zeros((2, 784), np.float32), np.zeros(2, np.int32)
    batch = program.put(x, y)
    assert [program.train(batch), program.infer(batch), program.fence(), program.peak_bytes()] == [None] * 4
    assert (program.compilations(), len(program.losses()), program.weights()) == (0, 0, {})
    assert program.describe()
    for call in (lambda: program.logits(x), lambda: program.gradients(x, y)):
        with pytest.raises(NotImplementedError):
            call()


# --- programs, as their own process saw them --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def observed(framework: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """What `frameworks/programs.py` saw of a backend. All that this session asks for run side by side."""
    items = [item for item in request.session.items if "observed" in getattr(item, "fixturenames", ())]
    names = {item.callspec.params["backend"] for item in items}  # type: ignore[attr-defined]
    here = [name for name in FRAMEWORKS if name in names and not backends.get(name).missing()]
    with ThreadPoolExecutor(2) as pool:
        runs: dict[str, Future[Any]] = {name: pool.submit(framework, "programs.py", name) for name in here}
    return lambda name: runs[name].result()


def cases(found: dict[str, Any]) -> list[tuple[str, Workload, dict[str, np.ndarray], dict[str, Any]]]:
    """Every program: its name, its workload, what it computed and what it did."""
    listed = []
    for case, facts in found["programs"].items():
        with np.load(Path(found["folder"]) / f"{case}.npz") as file:
            listed.append((case, workloads.get(case.split("-")[0]).deterministic(), dict(file), facts))
    return listed


def _double(x: np.ndarray) -> np.ndarray:
    return x if x.dtype == np.int32 else x.astype(np.float64)


def broken(found: dict[str, Any], judge: Callable[..., object]) -> dict[str, object]:
    """The programs of which `judge(workload, evidence, facts)` is false or says something, with what it says."""
    said = {case: judge(workload, evidence, facts) for case, workload, evidence, facts in cases(found)}
    return {case: what for case, what in said.items() if what is not True}


@each_framework()
def test_every_combination_of_the_registry_was_built_or_says_why_not(observed: Any, backend: str) -> None:
    found, row = observed(backend), backends.get(backend)
    wanted = {f"{workload.name}-{mode}-{layout}" for workload, mode, layout in chosen(row)}
    assert {*found["programs"], *found["unsupported"]} == wanted
    assert all(len(reason.split()) >= 4 for reason in found["unsupported"].values())
    built = {tuple(case.split("-")[:2]) for case in found["programs"]}
    assert built == {tuple(case.split("-")[:2]) for case in wanted}, "a mode has no program at all"


@each_framework()
def test_nothing_of_the_framework_was_imported_before_it_was_told_to(observed: Any, backend: str) -> None:
    assert observed(backend)["imported"] == []


@each_framework()
def test_threads_are_those_asked_for(observed: Any, backend: str) -> None:
    found = observed(backend)
    assert found["threads"] == 1
    assert set(found["pools"]) == {1}
    assert found["device"] == "cpu"


@each_framework()
def test_fp64_agrees_with_the_golden_evidence(observed: Any, backend: str) -> None:
    def judge(workload: Workload, evidence: dict[str, np.ndarray], facts: Any) -> object:
        brief = parity.golden(workload)
        assert brief is not None, f"{workload.name} has no golden evidence"
        return parity.compare_brief(evidence, brief, parity.tolerance(workload, "fp64")).broken is None

    assert broken(observed(backend), judge) == {}


@each_framework()
def test_fp64_agrees_between_modes_and_layouts(observed: Any, backend: str) -> None:
    found = observed(backend)
    first: dict[str, dict[str, np.ndarray]] = {}

    def judge(workload: Workload, evidence: dict[str, np.ndarray], facts: Any) -> object:
        wanted = first.setdefault(workload.name, evidence)
        return str(parity.compare(evidence, wanted, parity.tolerance(workload, "fp64")).broken) == "None"

    assert broken(found, judge) == {}


@each_framework()
def test_logits_are_those_of_plain_numpy(observed: Any, backend: str) -> None:
    def judge(workload: Workload, evidence: dict[str, np.ndarray], facts: Any) -> object:
        x, y = proof_batches(workload)[0]
        wanted, _ = forward(workload, workload.weights(1), _double(x))
        close = np.allclose(evidence["logits"], wanted, rtol=1e-11, atol=1e-12)
        return bool(close and abs(evidence["loss"][0] - cross_entropy(wanted, y)) < 1e-13)

    assert broken(observed(backend), judge) == {}


@each_framework()
def test_gradients_are_the_slopes_of_the_loss_in_plain_numpy(observed: Any, backend: str) -> None:
    def judge(workload: Workload, evidence: dict[str, np.ndarray], facts: Any) -> object:
        x, y = proof_batches(workload)[0]
        weights, far = workload.weights(1), {}
        for index, path in enumerate(workload.parameters()):
            # Along a direction of its own for each tensor, so that no error hides behind another.
            way = np.random.Generator(np.random.PCG64(index)).standard_normal(weights[path].shape)
            way /= np.linalg.norm(way)
            step = 1e-6  # so small that hardly a ReLU or a pool changes its mind
            up, down = (
                cross_entropy(
                    forward(workload, weights | {path: weights[path] + move * way}, _double(x), training=True)[0], y
                )
                for move in (step, -step)
            )
            slope, wanted = float(np.sum(evidence[f"gradient/{path}"] * way)), (up - down) / (2 * step)
            if not abs(slope - wanted) < 1e-8:  # rounding of the losses alone makes 5e-10
                far[path] = (slope, wanted)
        return far or True

    # One program of each workload is enough: the others agree with it, which is another test.
    found = observed(backend)
    first = {case.split("-")[0]: case for case in reversed(found["programs"])}
    assert broken({**found, "programs": {case: found["programs"][case] for case in first.values()}}, judge) == {}


@each_framework()
@pytest.mark.parametrize("name", WHOLE)
def test_the_optimiser_is_the_declared_algorithm(observed: Any, backend: str, name: str) -> None:
    workload = workloads.get(name).deterministic()
    with np.load(Path(observed(backend)["folder"]) / f"steps-{name}.npz") as file:
        found = dict(file)
    optimiser, allowed = workload.optimiser, parity.tolerance(workload, "fp64")
    for path, w in workload.weights(1).items():
        m = v = np.zeros_like(w)
        for t in (1, 2, 3):
            g = found[f"{t - 1}/gradient/{path}"]
            if isinstance(optimiser, SGD):
                v = optimiser.momentum * v + g
                w = w - optimiser.rate * v
            else:
                b1, b2 = optimiser.b1, optimiser.b2
                m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
                w = w - optimiser.rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + optimiser.epsilon)
            far = np.linalg.norm(found[f"{t - 1}/weight/{path}"] - w) / np.linalg.norm(w)
            assert far < allowed, f"step {t}, {path}"


@each_framework()
def test_put_keeps_precision_and_layout(observed: Any, backend: str) -> None:
    wrong = {}
    for case, facts in observed(backend)["placed"].items():
        _, layout, precision = case.split("-")
        height, width, channels = workloads.get("cnn").input
        shape = {"flat": [5, 784], "nhwc": [5, height, width, channels], "nchw": [5, channels, height, width]}[layout]
        if backend == "torch" and layout == "nhwc":
            shape = [5, channels, height, width]  # torch's axes are channels-first, whatever the order in memory
        dtypes = [{"fp32": "float32", "fp64": "float64"}[precision], "int64" if backend == "torch" else "int32"]
        if (facts["dtypes"], facts["shape"]) != (dtypes, shape):
            wrong[case] = facts
    assert wrong == {}


@pytest.mark.needs("torch")
@pytest.mark.parametrize("backend", ["torch"])
def test_torchs_images_lie_in_the_layout_of_the_row(observed: Any, backend: str) -> None:
    # torch takes the order of an image's strides for its layout, and an image of one channel has both.
    found = {case: set(facts["activations"]) for case, facts in observed(backend)["placed"].items()}
    wanted = {f"cnn-{layout}-{precision}": {layout} for layout in backends.LAYOUTS for precision in ("fp32", "fp64")}
    assert {case: found[case] for case in wanted} == wanted


@each_framework()
def test_a_batch_is_the_programs_own(observed: Any, backend: str) -> None:
    # A batch that borrows the host's array changes with it, and is missing from the process's peak of memory.
    assert [case for case, facts in observed(backend)["placed"].items() if not facts["kept"]] == []


# What each program must have done, by the words of bench/program.py.
PROMISES: dict[str, Callable[[dict[str, Any]], object]] = {
    "climbing leaves no loss over": lambda facts: facts["left over"] == 0,
    "infer moves no weight": lambda facts: facts["infer moves"] == [],
    "train moves weights": lambda facts: len(facts["train moves"]) > 0,
    "losses are all since the last call": lambda facts: len(set(facts["losses of three"])) == 3,
    "losses clears": lambda facts: facts["losses again"] == 0,
    "losses keeps 32": lambda facts: facts.get("losses of forty", 32) == 32,
    "old shapes compile nothing": lambda facts: facts["grown by old shapes"] == 0,
    "fence returns nothing": lambda facts: facts["fence"] is None,
    "a cpu has no device peak": lambda facts: facts["peak bytes"] is None,
    "describe has a line a layer": lambda facts: len(facts["describe"].splitlines()) >= 3,
}


@each_framework()
@pytest.mark.parametrize("promise", PROMISES)
def test_every_program_keeps(observed: Any, backend: str, promise: str) -> None:
    assert broken(observed(backend), lambda workload, evidence, facts: bool(PROMISES[promise](facts))) == {}


@each_framework()
def test_train_moves_every_weight(observed: Any, backend: str) -> None:
    def judge(workload: Workload, evidence: Any, facts: dict[str, Any]) -> object:
        return set(facts["train moves"]) == set(workload.parameters() | workload.state())

    assert broken(observed(backend), judge) == {}


@each_framework()
def test_compilations_are_seen_where_a_mode_compiles(observed: Any, backend: str) -> None:
    for case, facts in observed(backend)["programs"].items():
        eager = case.split("-")[1] == "eager"
        assert bool(facts["compilations"]) != eager, case
        if "grown by new shapes" in facts:
            # train and infer; around its step Keras has a program more in JAX, and one of several graphs in PyTorch
            grown, keras = facts["grown by new shapes"], bool(backends.get(backend).engine)
            assert grown == 0 if eager else grown >= 2 if keras else grown == 2, case


@each_framework()
def test_infer_drops_nothing_before_and_after_training(observed: Any, backend: str) -> None:
    found = observed(backend)["dropping"]
    assert sorted(found) == ["mlp_dropout"]
    for facts in found.values():
        assert facts["fresh"] == [0.0, 0.0]
        assert facts["trained"] == 0.0
        assert facts["training moved"] > 0


@each_framework()
def test_two_dropouts_of_one_shape_drop_different_values(observed: Any, backend: str) -> None:
    """Of two in a row, a half each, a quarter of all values is left; were their masks the same, a half would be."""
    left = observed(backend)["two dropouts"]
    row = backends.get(backend)
    assert set(left) == set(row.modes[:1] if row.engine else row.modes)
    assert {mode: shares for mode, shares in left.items() if not np.allclose(shares, 0.25, atol=0.04)} == {}


@each_framework()
def test_canaries_agree(observed: Any, backend: str) -> None:
    assert observed(backend)["disagreement"] == ""


@pytest.mark.needs("torch")
@pytest.mark.parametrize("backend", ["torch"])
def test_the_denormal_canary_tells_a_real_framework_off(observed: Any, backend: str) -> None:
    assert observed(backend)["disagreement with denormals"].startswith(
        "canary denormals: products of 1e-40 summed to 1.0"
    )


def test_a_broken_promise_is_seen(tmp_path: Path) -> None:
    # The judges above, on a program made up to break every promise.
    facts = {
        **{"left over": 1, "infer moves": ["dense_1.bias"], "train moves": [], "losses of three": [1.0, 1.0]},
        **{"losses again": 3, "losses of forty": 40, "grown by old shapes": 1, "fence": 0, "peak bytes": 0},
        "describe": "",
    }
    np.savez(tmp_path / "mlp-eager-flat.npz", logits=np.zeros(1))
    found = {"programs": {"mlp-eager-flat": json.loads(json.dumps(facts))}, "folder": str(tmp_path)}
    for promise, kept in PROMISES.items():
        assert broken(found, lambda workload, evidence, f, kept=kept: bool(kept(f))) == {"mlp-eager-flat": False}, (
            promise
        )


OPTIONS = """
import json
from bench import backends, workloads
from bench.layers import Conv2D, Dense, Flatten
from bench.program import Settings
from bench.workload import SGD, Workload
backends.get("{name}").module().before_import(Settings("compiled", "fp32", "flat", "cpu", 1))
from bench.backends.{name} import program
told = []
pointwise = Workload("pointwise", "", (8, 8, 3), 10, (Conv2D(4, kernel=1), Flatten(), Dense(10)), SGD(0.1))
for model, precision, device in {asked}:
    settings = Settings("compiled", precision, "flat", device, 1)
    told.append(program._options({model}settings))
print(json.dumps(told))
"""


def options(name: str, model: str, *asked: tuple[str, str, str]) -> Any:
    """What an adapter asks of its compiler for a model, a precision and a device: no GPU is needed to ask."""
    done = python("-c", OPTIONS.format(name=name, model=model, asked=asked))
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.needs("jax")
def test_xla_is_told_what_crashes_it_on_a_gpu_and_not_to_search_in_fp64() -> None:
    asked = [("cnn", "fp32", "gpu"), ("cnn", "fp64", "gpu"), ("resnet50_tiny", "bf16", "gpu")]
    asked += [("resnet50_tiny", "fp64", "gpu"), ("resnet50_tiny", "fp64", "cpu"), ("gpt_tiny", "tf32", "gpu")]
    search, fusion = {"xla_gpu_autotune_level": 0}, {"xla_gpu_enable_triton_gemm": False}
    asked += [("pointwise", "bf16", "gpu")]
    told = options("jax", "pointwise if model == 'pointwise' else workloads.get(model), ", *asked)
    assert told == [None, search, fusion, search | fusion, None, None, None], "else XLA's own defaults"


@pytest.mark.needs("torch")
def test_inductor_keeps_its_defaults_where_a_time_is_taken() -> None:
    asked = [("cnn", precision, device) for device in ("cpu", "gpu") for precision in ("fp32", "tf32", "bf16", "fp64")]
    told = options("torch", "", *asked)
    assert told[:-1] == [None] * 7
    assert told[-1] == {"triton.mix_order_reduction": False}


WAITED = """
import json
import numpy as np
from msgspec.structs import replace
from bench import backends, workloads
from bench.program import Settings
backend, settings = backends.get("jax").module(), Settings("compiled", "fp32", "flat", "cpu", 1)
backend.before_import(settings), backend.after_import(settings)
import jax
from bench.backends.jax import device
program, waited = backend.build(workloads.get("mlp"), settings), []
whole = len(jax.tree.leaves((program.parameters, program.moments, program.state, program.count)))
batch = program.put(np.zeros((2, 784), np.float32), np.zeros(2, np.int32))
device.fence = lambda arrays: waited.append(len(jax.tree.leaves(arrays)))
for calls in ("", "", "t", "iii", "", "iti", "ii"):
    for call in calls:
        program.train(batch) if call == "t" else program.infer(batch)
    program.fence()
    program.losses()
program.settings = replace(settings, device="gpu")
for calls in ("iii", "ti"):
    for call in calls:
        program.train(batch) if call == "t" else program.infer(batch)
    program.fence()
    program.losses()
print(json.dumps([whole, waited]))
"""


@pytest.mark.needs("jax")
def test_jaxs_fence_waits_for_what_there_is_to_wait_for() -> None:
    """Of training parameters, moments, state, count and losses; of inference each result, on a GPU the last."""
    done = python("-c", WAITED)
    assert done.returncode == 0, done.stderr[-2000:]
    whole, waited = json.loads(done.stdout)
    assert waited == [whole, 0, whole + 1, 3, 0, whole + 1 + 2, 2, 1, whole + 1 + 1]


REPLAYED = """
import json
import numpy as np
from bench import backends, workloads
from bench.program import Settings
backend, settings = backends.get("torch").module(), Settings("eager", "fp32", "flat", "cpu", 1, steps_per_call=3)
backend.before_import(settings), backend.after_import(settings)
from bench.backends.torch import graphs, program
replayed = []
class Replay:
    def __init__(self, work, batches, everything):
        self.work = work
    def __call__(self, batches):
        replayed.append(len(batches))
        return 2 * self.work(batches)
graphs.Replay = Replay
model, x = workloads.get("mlp"), np.random.Generator(np.random.PCG64(0)).random((2, 784), np.float32)
found = graphs.GraphedProgram(model, settings).logits(x)
wanted = 2 * program.TorchProgram(model, settings).logits(x)
print(json.dumps([replayed, found.shape, float(np.abs(found - wanted).max())]))
"""


@pytest.mark.needs("torch")
def test_torchs_proof_of_several_steps_a_call_is_of_what_is_replayed() -> None:
    """A replay that doubles all logits, in a CUDA graph's place, is in those that the proof asks for."""
    done = python("-c", REPLAYED)
    assert done.returncode == 0, done.stderr[-2000:]
    replayed, shape, far = json.loads(done.stdout)
    assert (replayed, shape) == ([3], [2, 10]) and far < 1e-6


def test_pytests_own_process_has_no_framework() -> None:
    packages = [package for row in backends.REGISTRY.values() for package in row.packages]
    assert [package for package in packages if package in sys.modules] == []
    assert find_spec("bench") is not None


CACHED = """
import sys
from bench import backends, evidence, workloads
from bench.program import Settings
name, mode, cache = sys.argv[1:]
settings = Settings(mode, "fp32", "flat", "cpu", 1, cache)
module = backends.get(name).module()
module.before_import(settings)
module.after_import(settings)
workload = workloads.get("mlp")
program = module.build(workload, settings)
program.train(program.put(*evidence.proof_batches(workload)[0]))
program.fence()
"""


@pytest.mark.parametrize(
    ("name", "mode", "kept"),
    [
        pytest.param("jax", "compiled", "jax", marks=pytest.mark.needs("jax")),
        pytest.param("torch", "compiled", "inductor/fxgraph", marks=[pytest.mark.needs("torch"), pytest.mark.long]),
    ],
)
def test_what_a_pilot_compiled_is_found_by_the_rounds(name: str, mode: str, kept: str, tmp_path: Path) -> None:
    """Elsewhere, in another process: a name that holds the path to the cache would not be found there."""
    case = replace(CASE, backend=name, mode=mode)
    for cache in (compile_cache.of_pilot(tmp_path, case), compile_cache.of_rounds(tmp_path, case)):
        if cache == compile_cache.of_rounds(tmp_path, case):
            compile_cache.inherit(tmp_path, case)
            before = {path for path in (cache / kept).rglob("*") if path.is_file()}
        done = python("-c", CACHED, name, mode, cache)
        assert done.returncode == 0, done.stderr[-2000:]
    assert before and {path for path in (cache / kept).rglob("*") if path.is_file()} == before


AUTO = """
from bench import backends
from bench.program import Settings
row = backends.get("keras-{engine}")
settings = Settings(row.headline("cpu"), "fp32", row.layouts[0], "cpu", 1)
row.module().before_import(settings)
row.module().after_import(settings)
import keras
enters = keras.Input((8,))
model = keras.Model(enters, keras.layers.Dense(8)(enters))
if "{engine}" == "tensorflow" and "{device}" == "gpu":
    import tensorflow
    there = tensorflow.config.list_physical_devices()
    gpu = type(there[0])("/physical_device:GPU:0", "GPU")
    tensorflow.config.list_physical_devices = lambda *told: [*there, gpu]
model.compile(jit_compile="auto")
print(model.jit_compile, row.headline("{device}") == "compiled")
"""


@pytest.mark.parametrize(
    "engine", [pytest.param(n, marks=pytest.mark.needs(f"keras-{n}")) for n in ("tensorflow", "jax", "torch")]
)
def test_keras_s_headline_is_its_own_choice(engine: str) -> None:
    for device in ("cpu", "gpu"):
        done = python("-c", AUTO.format(engine=engine, device=device))
        told = done.stdout.split()
        assert len(told) == 2 and told[0] == told[1], done.stderr[-2000:]


SEARCHED = """
import torch
from bench import backends, workloads
from bench.program import Settings
module = backends.get("{name}").module()
for precision in ("fp64", "fp32"):
    settings = Settings("eager", precision, "flat", "cpu", 1)
    if precision == "fp64":
        module.before_import(settings)
        module.after_import(settings)
    module.build(workloads.get("mlp"), settings)
    print(torch.backends.cudnn.benchmark)
"""


WARNED = """
from bench import backends, workloads
from bench.errors import BenchError
from bench.program import Settings
settings = Settings("compiled", "fp32", "flat", "cpu", 1)
backend = backends.get("keras-tensorflow").module()
backend.before_import(settings), backend.after_import(settings)
from keras.src.trainers import trainer
for supported in (True, False):
    trainer.model_supports_jit = lambda model: supported
    try:
        print(backend.build(workloads.get("mlp"), settings).model.jit_compile)
    except BenchError as error:
        print(error)
"""


@pytest.mark.needs("keras-tensorflow")
def test_a_model_that_keras_does_not_compile_is_not_called_compiled() -> None:
    done = python("-c", WARNED)
    told = "mode compiled was asked for, Keras took jit_compile=False for this model"
    assert done.stdout.splitlines() == ["True", told], done.stderr[-2000:]


WIDE = """
import json
import numpy as np
import tensorflow as tf
from bench import backends, workloads
from bench.program import Settings
settings = Settings("graph", "fp32", "flat", "cpu", 1)
backend = backends.get("keras-tensorflow").module()
backend.before_import(settings), backend.after_import(settings)
workload = workloads.get("mlp_dropout")
graphs, named = [], tf.function
def watched(*told, **more):
    made = named(*told, **more)
    graphs.append(made)
    return made
tf.function = watched
program = backend.build(workload, settings)
program.train(program.put(np.ones((4, 784), np.float32), np.zeros(4, np.int32)))
program.fence()
found = [g for made in graphs for g in made._list_all_concrete_functions()]
kinds = {t.dtype.name for g in found for op in g.graph.get_operations() for t in op.outputs}
print(json.dumps([sorted(kinds & {"float32", "float64"}), type(program.model.optimizer).__name__]))
"""


@pytest.mark.needs("keras-tensorflow")
def test_nothing_of_an_fp32_step_of_keras_is_fp64() -> None:
    """NumPy's 0.9 made all of Adam's arithmetic fp64 on TensorFlow: gpt's step took 5 % longer by our fault."""
    done = python("-c", WIDE)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [["float32"], "CorrectedAdam"]


FUSED = """
from bench import backends, workloads
from bench.program import Settings
settings = Settings("eager", "fp32", "flat", "cpu", 1)
backend = backends.get("keras-torch").module()
backend.before_import(settings), backend.after_import(settings)
for name in ("mlp", "gpt_tiny"):
    layers = backend.build(workloads.get(name), settings).model.layers
    print(sum("Activation" in type(layer).__name__ for layer in layers), end=" ")
    taken = [layer.activation for layer in layers if getattr(layer, "units", 0) == 128]
    print(*(getattr(activation, "func", activation).__name__ for activation in taken))
"""


@pytest.mark.needs("keras-torch")
def test_keras_s_layers_take_the_activation_behind_them() -> None:
    """A layer of its own took 6 % of the MLP's training step on PyTorch, 14 % of its inference, and passed for Keras's.

    Both models have a Dense of 128 that an activation follows, which with GELU is a partial of Keras's function.
    """
    done = python("-c", FUSED)
    assert done.stdout.splitlines() == ["0 relu", "0 gelu gelu"], done.stderr[-2000:]


FEWER = """
import tensorflow as tf
from bench.backends.tensorflow.calls import several
for unrolled in (True, False):
    function = several(lambda x, y: tf.reduce_sum(x) + y, 8, tf.float32, unrolled=unrolled)
    function = tf.function(function, jit_compile=unrolled)
    print([function(tf.ones((n, 3)), tf.range(n, dtype=tf.float32)).numpy().tolist() for n in (8, 2)])
"""


@pytest.mark.needs("tensorflow")
def test_a_call_of_several_steps_may_have_fewer() -> None:
    """A ladder's last call has what is left of its steps. XLA's was traced over eight, and died of the third."""
    done = python("-c", FEWER, CUDA_VISIBLE_DEVICES="-1")
    assert done.stdout.splitlines() == [str([[3.0 + i for i in range(n)] for n in (8, 2)])] * 2, done.stderr[-2000:]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.needs(n)) for n in ("torch", "keras-torch")])
def test_convolutions_are_searched_for_what_is_timed(name: str) -> None:
    done = python("-c", SEARCHED.format(name=name))
    assert done.stdout.split() == ["False", "True"], done.stderr[-2000:]


WOKEN = """
import os
import psutil
from bench.backends.torch import device
from bench.program import Settings
device.before_import(Settings("compiled", "fp32", "flat", "cpu", 1, compiled={compiled}))
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "2")  # on one core Inductor has no pool
from torch._inductor.async_compile import AsyncCompile
AsyncCompile.wakeup()  # which compiling for a GPU does, whatever its cache holds
print(len(psutil.Process().children()) > 0)
AsyncCompile.use_process_pool() and AsyncCompile.process_pool().shutdown()
"""


@pytest.mark.needs("torch")
@pytest.mark.parametrize("compiled", [False, True])
def test_no_compilers_are_started_where_all_is_compiled(compiled: bool) -> None:
    done = python("-c", WOKEN.format(compiled=compiled))
    assert done.stdout.split() == [str(not compiled)], done.stderr[-2000:]


def test_the_registry_names_every_variable_that_an_adapter_sets() -> None:
    # A gate refuses to compare them: both arms would be the same.
    one = r"os\.environ\[\"\w+\"\]"
    pattern = re.compile(rf"{one}(?: = {one})* = |os\.environ\.pop\(\"\w+\"")
    worker = (ROOT / "bench" / "worker.py").read_text()
    for row in backends.REGISTRY.values():
        if not row.packages:
            continue
        folder = ROOT / "bench" / "backends" / row.name
        text = worker + "".join(path.read_text() for path in folder.glob("*.py"))
        named = {name for match in pattern.finditer(text) for name in re.findall(r"\"(\w+)\"", match.group())}
        assert named and named <= set(row.sets), named - set(row.sets)


ROOM = """
import json, os
from bench import backends
from bench.program import Settings
row = backends.get("{name}")
row.module().before_import(Settings(row.modes[0], "fp32", "flat", "gpu", 1))
print(json.dumps(dict(os.environ)))
"""
SHARES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
ALLOCATORS = ("XLA_PYTHON_CLIENT_ALLOCATOR", "TF_GPU_ALLOCATOR")


@pytest.mark.parametrize(
    ("name", "inherited", "left"),
    [
        ("tensorflow", ["TF_GPU_ALLOCATOR"], {}),
        ("keras-tensorflow", ["TF_GPU_ALLOCATOR"], {}),
        ("jax", [*SHARES, *ALLOCATORS], {"XLA_CLIENT_MEM_FRACTION": "0.95"}),
        ("keras-jax", [*SHARES, *ALLOCATORS], {"XLA_CLIENT_MEM_FRACTION": "0.95"}),
    ],
)
def test_every_framework_may_take_nearly_all_of_a_gpu(name: str, inherited: list[str], left: dict[str, str]) -> None:
    """By its own pool, whatever the shell says: else `oom` and a batch that is searched for would say nothing."""
    done = python("-c", ROOM.format(name=name), **dict.fromkeys(inherited, "0.5"))
    told = json.loads(done.stdout)
    assert {variable: told[variable] for variable in (*SHARES, *ALLOCATORS) if variable in told} == left
    assert {*inherited} <= {*backends.get(name).sets}


@pytest.mark.needs("jax")
def test_jax_reads_its_share_of_a_gpu_as_it_is_meant() -> None:
    asked = "from jaxlib import xla_client; print(json.dumps(xla_client.generate_pjrt_gpu_plugin_options()))"
    done = python("-c", ROOM.format(name="jax") + asked, **dict.fromkeys(SHARES, "0.5"))
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["memory_fraction"], told["preallocate"], told["allocator"]) == (0.95, False, "default")


@pytest.mark.parametrize(("stats", "peak"), [({"peak_bytes_in_use": 5}, 5), ({"bytes_in_use": 5}, None), (None, None)])
def test_a_pool_of_jax_that_keeps_no_peak_has_none(stats: Any, peak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.backends.jax import device

    gpu = SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=lambda kind: [gpu]))
    assert device.peak_bytes(Settings("compiled", "fp32", "flat", "gpu", 1)) == peak


@pytest.mark.long
@pytest.mark.parametrize("name", (*WHOLE, *SMALL))
def test_a_small_model_is_proved_in_every_backend_mode_and_layout(name: str) -> None:
    """By the verb itself; the quick tests leave out what compiles for long."""
    assert main(["parity", name, "--batch", "4", "--deadline", "900"]) == 0
