"""Every word of the vocabulary in every backend, mode and layout against plain NumPy, in fp64."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import each_framework, side_by_side
from msgspec.structs import replace
from numpy_model import forward
from vocabulary import ELSEWHERE, FEW, NORMALISED, WORDS, few_samples

from bench import backends
from bench.evidence import cross_entropy, proof_batches
from bench.layers import Dropout, Layer, SelfAttention
from bench.workload import SGD, Adam, Workload

SEED = 1
WORD_NAMES = {word.__name__ for word in Layer.__args__}


@pytest.fixture(scope="module")
def some(framework: Any, request: pytest.FixtureRequest) -> Any:
    return side_by_side(framework, "words.py", request)


@pytest.fixture
def observed(framework: Any, some: Any, backend: str, choice: str) -> Any:
    """Every word in the headline mode and layout; in the others some of them, or every one."""
    return framework("words.py", backend, "every") if choice == "every" else some(backend)


def programs(found: Any) -> Iterator[tuple[str, Workload, dict[str, np.ndarray]]]:
    for case, file in found["programs"].items():
        with np.load(Path(found["folder"]) / file) as arrays:
            yield case, WORDS[case.split("|")[0]], dict(arrays)


def far(found: np.ndarray, wanted: np.ndarray) -> float:
    """Relative to the whole tensor."""
    return float(np.linalg.norm(found - wanted) / (np.linalg.norm(wanted) or 1.0))


def test_every_word_is_in_some_workload() -> None:
    seen = {type(place.layer).__name__ for workload in WORDS.values() for place in workload.walk()}
    assert seen == WORD_NAMES - {Dropout.__name__}  # a draw is nobody else's: see the probe of dropout


@each_framework()
def test_what_is_not_built_says_which_word_and_backend(observed: Any, backend: str, choice: str) -> None:
    found, row = observed, backends.get(backend)
    for case, reason in found["unsupported"].items():
        word, _, layout = case.split("|")
        said = reason.lower()
        assert ("channels-first" if layout == "nchw" else word.split()[0].rstrip(",")) in said, (case, reason)
        assert (row.engine or backend) in said, (case, reason)
    built = {case.split("|")[0] for case in found["programs"]}
    wanted = {*WORDS} if choice == "every" or not row.engine else {*(FEW if row.engine == "jax" else ELSEWHERE)}
    assert wanted - built <= ({"batchnorm biased"} if row.name == "torch" else set())


@each_framework()
def test_logits_are_those_of_numpy(observed: Any, backend: str) -> None:
    wrong = {}
    for case, workload, found in programs(observed):
        x, _ = proof_batches(workload)[0]
        wanted, _ = forward(workload, workload.weights(SEED), _double(x))
        if found["logits"].shape != wanted.shape or not far(found["logits"], wanted) < 1e-13:
            wrong[case] = far(found["logits"], wanted) if found["logits"].shape == wanted.shape else "shape"
    assert wrong == {}


@each_framework()
def test_gradients_are_the_slopes_of_the_loss(observed: Any, backend: str) -> None:
    wrong = {}
    for case, workload, found in programs(observed):
        (x, y), *_ = proof_batches(workload)
        weights = workload.weights(SEED)
        assert {key.split("/", 1)[1] for key in found if key.startswith("gradient/")} == {*workload.parameters()}
        for index, path in enumerate(workload.parameters()):
            # Along a direction of its own for each tensor, so that no error hides behind another.
            way = np.random.Generator(np.random.PCG64(index)).standard_normal(weights[path].shape)
            way /= np.linalg.norm(way)
            up, down = (loss(workload, weights | {path: weights[path] + step * way}, x, y) for step in (1e-6, -1e-6))
            slope, wanted = float(np.sum(found[f"gradient/{path}"] * way)), (up - down) / 2e-6
            if not abs(slope - wanted) < 1e-8:  # rounding of the losses alone makes 5e-10
                wrong[f"{case} {path}"] = (slope, wanted)
    assert wrong == {}


def loss(workload: Workload, weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    """In training: of the batch's own moments."""
    return cross_entropy(forward(workload, weights, _double(x), training=True)[0], y)


@each_framework()
def test_steps_move_parameters_by_the_optimiser_and_state_by_the_batch(observed: Any, backend: str) -> None:
    """In one step all is known: the gradient is the program's own, held against NumPy by the test before."""
    wrong = {}
    for case, workload, found in programs(observed):
        (x, y), *_ = proof_batches(workload)
        weights = workload.weights(SEED)
        logits, state = forward(workload, weights, _double(x), training=True)
        if not abs(found["losses"][0] - cross_entropy(logits, y)) < 1e-13:
            wrong[f"{case} loss"] = (found["losses"][0], cross_entropy(logits, y))
        for path in workload.parameters():
            moved = weights[path] - first_step(workload, found[f"gradient/{path}"])
            if not far(found[f"0/{path}"], moved) < (1e-13 if isinstance(workload.optimiser, SGD) else 1e-9):
                wrong[f"{case} {path}"] = far(found[f"0/{path}"], moved)
        for path in workload.state():
            if not far(found[f"0/{path}"], state[path]) < 1e-13:
                wrong[f"{case} {path}"] = far(found[f"0/{path}"], state[path])
    assert wrong == {}


def first_step(workload: Workload, gradient: np.ndarray) -> np.ndarray:
    match workload.optimiser:
        case SGD(rate):
            return rate * gradient
        case Adam(rate, _, _, epsilon):
            return rate * gradient / (np.abs(gradient) + epsilon)  # the first step's moments are g and g^2


@each_framework()
def test_losses_and_inference_go_on_as_in_numpy(observed: Any, backend: str) -> None:
    """Each later loss and the last logits follow from the weights and the state that the program says it has."""
    wrong = {}
    for case, workload, found in programs(observed):
        data = proof_batches(workload)
        for step in range(1, len(data)):
            x, y = data[step]
            weights = {path: found[f"{step - 1}/{path}"] for path in workload.weights(SEED)}
            logits, state = forward(workload, weights, _double(x), training=True)
            if not abs(found["losses"][step] - cross_entropy(logits, y)) < 1e-13:
                wrong[f"{case} loss {step}"] = (found["losses"][step], cross_entropy(logits, y))
            for path, array in state.items():
                if not far(found[f"{step}/{path}"], array) < 1e-13:
                    wrong[f"{case} {path} {step}"] = far(found[f"{step}/{path}"], array)
        weights = {path: found[f"{len(data) - 1}/{path}"] for path in weights}
        wanted, _ = forward(workload, weights, _double(data[0][0]))
        if not far(found["logits after"], wanted) < 1e-13:
            wrong[f"{case} logits after"] = far(found["logits after"], wanted)
    assert wrong == {}


@each_framework()
def test_a_single_sample_is_trained_on_as_in_numpy(observed: Any, backend: str) -> None:
    """Behind a Dense a BatchNorm sees one value a channel then: its variance is 0, and moves the running one so."""
    wrong = {}
    for case, workload, found in programs(observed):
        if not workload.state():
            continue
        *data, (x, y) = proof_batches(workload)
        weights = {path: found[f"{len(data)}/{path}"] for path in workload.weights(SEED)}
        logits, state = forward(workload, weights, _double(x[:1]), training=True)
        # Terms that cancel are divided by the root of epsilon, and leave that much more rounding.
        if not abs(found["one loss"][0] - cross_entropy(logits, y[:1])) < 1e-11:
            wrong[f"{case} loss"] = (found["one loss"], cross_entropy(logits, y[:1]))
        for path, array in state.items():
            if not far(found[f"one/{path}"], array) < 1e-13:
                wrong[f"{case} {path}"] = far(found[f"one/{path}"], array)
    assert wrong == {}


@pytest.mark.needs("tensorflow")
def test_tensorflows_fused_batchnorm_is_the_formula_in_fp32(framework: Any) -> None:
    """It has no fp64, so that the words above, in `graph` and `eager`, are of another operation than is timed."""
    found, wrong = framework("fused.py"), {}
    assert {*found["cases"]} == {f"{called}|{mode}" for called in NORMALISED for mode in ("eager", "graph")}
    for case, file in found["cases"].items():
        workload = NORMALISED[case.split("|")[0]]
        wanted, weights = {}, workload.weights(SEED)
        for count in (6, 1):
            x = few_samples(workload, count).astype(np.float64)
            wanted[f"{count}/training"], state = forward(workload, weights, x, training=True)
            weights |= state
            wanted |= {f"{count}/{path}": array for path, array in weights.items()}
        wanted["inference"], _ = forward(workload, weights, few_samples(workload, 6).astype(np.float64))
        with np.load(Path(found["folder"]) / file) as arrays:
            assert {*arrays} == {*wanted}
            wrong |= {f"{case} {key}": far(arrays[key], wanted[key]) for key in wanted}
    assert {key: error for key, error in wrong.items() if not error < 1e-5} == {}


def _double(x: np.ndarray) -> np.ndarray:
    return x if x.dtype == np.int32 else x.astype(np.float64)


def test_a_wrong_word_is_seen() -> None:
    """The comparison above can fail: attention without its causal mask is another model."""
    workload = WORDS["selfattention, causal"]
    layers = tuple(SelfAttention(2) if isinstance(layer, SelfAttention) else layer for layer in workload.layers)
    x, _ = proof_batches(workload)[0]
    seen, blind = (forward(model, model.weights(SEED), x)[0] for model in (workload, replace(workload, layers=layers)))
    assert far(seen, blind) > 1e-3


@pytest.mark.parametrize("word", WORDS)
def test_initial_values_are_all_there(word: str) -> None:
    workload = WORDS[word]
    wanted = workload.parameters() | workload.state()
    assert {path: array.shape for path, array in workload.weights(SEED).items()} == wanted
    assert all(np.ptp(array) > 0 or array.size == 1 for array in workload.weights(SEED).values())
