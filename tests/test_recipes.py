"""Every recipe in every backend and mode against plain NumPy, in fp64; and what a recipe is, as data."""

import re
from collections.abc import Iterator
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, each_framework, side_by_side
from msgspec.structs import replace
from numpy_model import forward
from vocabulary import MADE, SOME

from bench import augmentation, backends, workloads
from bench.errors import BenchError
from bench.evidence import proof_batches
from bench.layers import GlobalAveragePool
from bench.recipe import RECIPES, Recipe
from bench.workload import SGD, Adam, Workload

SEED = 1
Arrays = dict[str, np.ndarray]


def objective(workload: Workload, weights: Arrays, x: np.ndarray, y: np.ndarray) -> float:
    """What is trained: cross-entropy of smoothed labels on augmented images, and the sum of all |w|."""
    recipe = workload.recipe
    images = x.astype(np.float64) if x.dtype == np.float32 else x
    if recipe.augment:
        images = augmentation.apply(images, augmentation.decide(x))
    logits, _ = forward(workload, weights, images, training=True)
    shares = (1 - recipe.smoothing) * np.eye(workload.classes)[y] + recipe.smoothing / workload.classes
    shifted = logits - logits.max(-1, keepdims=True)
    entropy = np.log(np.exp(shifted).sum(-1, keepdims=True)) - shifted
    penalty = recipe.l1 * sum(float(np.abs(weights[path]).sum()) for path in workload.parameters())
    return float((shares * entropy).sum(-1).mean()) + penalty


class Optimiser:
    """The declared algorithm with a recipe's clipping, decays and schedule around it."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self.step = workload, 0
        self.m: Arrays = {}
        self.v: Arrays = {}

    def move(self, weights: Arrays, gradients: Arrays) -> Arrays:
        recipe, by = self.workload.recipe, self.workload.optimiser
        norm = np.sqrt(sum(float(np.sum(g**2)) for g in gradients.values()))
        factor = min(1.0, recipe.clip / norm) if recipe.clip else 1.0
        rate = by.rate
        if recipe.schedule:
            rate *= (1 + cos(pi * min(self.step, recipe.schedule) / recipe.schedule)) / 2
        self.step += 1
        moved = {}
        for path, gradient in gradients.items():
            g = gradient * factor + recipe.l2 * weights[path]
            moved[path] = weights[path] * (1 - rate * recipe.decay) - rate * self._direction(path, g)
        return moved

    def _direction(self, path: str, g: np.ndarray) -> np.ndarray:
        match self.workload.optimiser:
            case SGD(_, momentum):
                self.m[path] = momentum * self.m.get(path, 0.0) + g
                return self.m[path]
            case Adam(_, b1, b2, epsilon):
                self.m[path] = b1 * self.m.get(path, 0.0) + (1 - b1) * g
                self.v[path] = b2 * self.v.get(path, 0.0) + (1 - b2) * g**2
                corrected = self.m[path] / (1 - b1**self.step), self.v[path] / (1 - b2**self.step)
                return corrected[0] / (np.sqrt(corrected[1]) + epsilon)


@pytest.fixture(scope="module")
def some(framework: Any, request: pytest.FixtureRequest) -> Any:
    return side_by_side(framework, "recipes.py", request)


@pytest.fixture
def observed(framework: Any, some: Any, backend: str, choice: str) -> Any:
    """Every recipe in each framework's headline mode and layout, in the others and in Keras some, or every one."""
    return framework("recipes.py", backend, "every") if choice == "every" else some(backend)


def programs(found: Any) -> Iterator[tuple[str, Workload, Arrays]]:
    for case, file in found["programs"].items():
        with np.load(Path(found["folder"]) / file) as arrays:
            yield case, MADE[case.split("|")[0]], dict(arrays)


@each_framework()
def test_every_recipe_is_built(observed: Any, backend: str, choice: str) -> None:
    found, every = observed, choice == "every"
    built = {case.split("|")[0] for case in found["programs"]}
    if backends.get(backend).engine:  # Keras's augmentation layers draw for themselves
        wanted = {name for name in MADE if every or name.startswith(SOME)}
        reasons = [reason for case, reason in found["unsupported"].items() if case.startswith("augment")]
        assert wanted - built == {name for name in MADE if name.startswith("augment")}
        assert reasons and all("augment" in reason and "Keras" in reason for reason in reasons)
        return
    assert built == {
        name for name in MADE if every or backend == "torch" or name.endswith("Adam") or name.startswith(SOME)
    }
    assert {case.split("|")[2] for case in found["unsupported"]} <= {"nchw"}


@each_framework()
def test_losses_are_the_objective_and_gradients_its_slopes(observed: Any, backend: str) -> None:
    wrong = {}
    for case, workload, found in programs(observed):
        weights = workload.weights(SEED)
        for step, (x, y) in enumerate(proof_batches(workload)):
            if not abs(found["losses"][step] - objective(workload, weights, x, y)) < 1e-13:
                wrong[f"{case} loss {step}"] = (found["losses"][step], objective(workload, weights, x, y))
            for index, path in enumerate(workload.parameters() if step == 0 else ()):
                way = np.random.Generator(np.random.PCG64(index)).standard_normal(weights[path].shape)
                way /= np.linalg.norm(way)
                up, down = (
                    objective(workload, weights | {path: weights[path] + move * way}, x, y) for move in (1e-6, -1e-6)
                )
                slope, wanted = float(np.sum(found[f"{step}/gradient/{path}"] * way)), (up - down) / 2e-6
                if not abs(slope - wanted) < 1e-8:
                    wrong[f"{case} {path} {step}"] = (slope, wanted)
            weights = {path: found[f"{step}/weight/{path}"] for path in weights}
    assert wrong == {}


@each_framework()
def test_steps_are_those_of_the_declared_algorithm(observed: Any, backend: str) -> None:
    wrong = {}
    for case, workload, found in programs(observed):
        weights, optimiser = workload.weights(SEED), Optimiser(workload)
        allowed = 1e-12 if isinstance(workload.optimiser, SGD) else 1e-9
        for step in range(workload.proof.steps):
            gradients = {path: found[f"{step}/gradient/{path}"] for path in workload.parameters()}
            moved = optimiser.move(weights, gradients)
            weights = {path: found[f"{step}/weight/{path}"] for path in weights}
            for path, wanted in moved.items():
                far = float(np.linalg.norm(weights[path] - wanted) / np.linalg.norm(wanted))
                if not far < allowed:
                    wrong[f"{case} {path} {step}"] = far
    assert wrong == {}


# --- as data ----------------------------------------------------------------------------------------------------------


def test_every_recipe_is_other_work_but_for_plain() -> None:
    digests = {name: workloads.get(f"cnn+{name}").digest for name in RECIPES}
    assert len(set(digests.values())) == len(RECIPES)
    assert digests["plain"] == workloads.get("cnn").digest


def test_every_field_of_a_recipe_is_tried() -> None:
    for field in Recipe.__struct_fields__:
        assert any(getattr(workload.recipe, field) for workload in MADE.values()), field
        assert any(getattr(recipe, field) for recipe in RECIPES.values()), field


def test_dropout_wants_a_dense_to_stand_before() -> None:
    bare = replace(workloads.get("cnn"), layers=(GlobalAveragePool(),), classes=1)
    assert "has none" in bare.why_not("dropout")
    with pytest.raises(BenchError, match="recipe dropout goes before the last Dense; workload cnn has none"):
        bare.by("dropout")


def test_dropout_goes_before_the_last_dense() -> None:
    workload = workloads.get("mlp+dropout")
    assert [type(layer).__name__ for layer in workload.layers] == ["Dense", "ReLU", "Dropout", "Dense"]
    assert workload.deterministic() == workloads.get("mlp")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cnn+l3", "no recipe 'l3'; there are plain, l1, l2"),
        ("mlp+augment", "recipe augment turns images; workload mlp has an input of"),
        ("gpt+augment", "recipe augment turns images; workload gpt"),
        ("nnc+l2", "no workload 'nnc'; there are cnn"),
    ],
)
def test_a_recipe_that_is_not_there_is_said(name: str, says: str) -> None:
    with pytest.raises(BenchError, match=says.replace("+", r"\+")):
        workloads.get(name)


def test_augmentation_follows_from_the_images_alone() -> None:
    draw = np.random.Generator(np.random.PCG64(0))
    images = draw.random((64, 9, 8, 3), np.float32)
    first = augmentation.decide(images)
    np.testing.assert_array_equal(first, augmentation.decide(images.copy()))
    assert not np.array_equal(first, augmentation.decide(images[::-1]))
    # A turn and a flip: columns of length 1, at right angles; about half of them turn the image over.
    square = first[:, :, :2] @ first[:, :, :2].transpose(0, 2, 1)
    np.testing.assert_allclose(square, np.tile(np.eye(2), (64, 1, 1)), atol=1e-12)
    assert 16 < (np.linalg.det(first[:, :, :2]) < 0).sum() < 48


def test_several_batches_are_decided_each_for_itself() -> None:
    several = np.random.Generator(np.random.PCG64(0)).random((3, 4, 9, 8, 1), np.float32)
    wanted = np.stack([augmentation.decide(batch) for batch in several])
    np.testing.assert_array_equal(augmentation.decide(several), wanted)


@pytest.mark.parametrize("name", backends.NATIVE)
def test_no_matrix_product_tells_where_a_pixel_comes_from(name: str) -> None:
    """TF32, a switch of the process, would round the places to 10 bits; on a CPU nothing can show that."""
    text = (ROOT / "bench" / "backends" / name / "augment.py").read_text()
    assert re.findall(r"einsum|matmul|tensordot|\b[bm]*mm\b|\bv?dot\b| @ ", text) == []


def test_an_unmoved_image_stays_and_a_moved_one_brings_zeros() -> None:
    images = np.arange(1.0, 25.0).reshape(1, 4, 6, 1)
    still = np.array([[[1.0, 0, 0], [0, 1.0, 0]]])
    np.testing.assert_array_equal(augmentation.apply(images, still), images)
    down = still + np.array([[0, 0, 1.0], [0, 0, 0]])
    moved = augmentation.apply(images, down)[0, :, :, 0]
    np.testing.assert_array_equal(moved[:3], images[0, 1:, :, 0])
    assert (moved[3] == 0).all()
    half = augmentation.apply(images, still + np.array([[0, 0, 0], [0, 0, 0.5]]))[0, :, :, 0]
    np.testing.assert_allclose(half[:, :5], images[0, :, :5, 0] + 0.5)
    np.testing.assert_allclose(half[:, 5], images[0, :, 5, 0] / 2)
