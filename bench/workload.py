"""A workload: a model, its optimiser and its images, declared once as data; weights and batches in NumPy.

Everything a backend must reproduce is here, and nothing of any framework.
"""

import hashlib
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from bench.errors import BenchError
from bench.layers import Dense, Dropout, Layer, Residual, Shape
from bench.placement import Array
from bench.recipe import DROPPED, RECIPES, Recipe


class SGD(Struct, frozen=True, tag=True):
    """`v <- momentum * v + g; w <- w - rate * v`, v starting at 0 (Sutskever et al. 2013 as PyTorch writes it)."""

    rate: float
    momentum: float = 0.0


class Adam(Struct, frozen=True, tag=True):
    """Kingma & Ba 2015, algorithm 1: epsilon is added **after** the bias correction.

    `m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2; w <- w - rate * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + epsilon)`.
    """

    rate: float = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8


Optimiser = SGD | Adam


class Placed(Struct, frozen=True):
    """A layer in its place: its path (`conv2d_1`), the shape that enters and the shape that leaves.

    A Residual's branches are placed in it, with paths under its own: `residual_1.conv2d_1`.
    """

    path: str
    layer: Layer
    enters: Shape
    leaves: Shape
    body: tuple["Placed", ...] = ()
    shortcut: tuple["Placed", ...] = ()


class Proof(Struct, frozen=True):
    """How much of a workload is proved: batches of `batch` samples, and as many optimiser steps.

    `rounding`: how many times further than elsewhere fp32's gradients, and with them weights, may stand from fp64's.
    Of millions of ReLUs some are so near 0 that rounding turns them over; gradients differ by about the root of their
    share.
    """

    batch: int = 32
    steps: int = 20
    rounding: float = 1.0

    @property
    def foretold(self) -> int:
        """The largest batch whose own losses are computed in fp64 where nobody names one: in minutes, and it fits."""
        return min(64, 4 * self.batch)


# Fields that came after the first release of digests: where they say what was meant before, they are left out of them.
LATER: dict[str, dict[str, object]] = {
    "Workload": {"vocabulary": 0, "recipe": msgspec.to_builtins(Recipe())},
    "Dense": {"bias": True},
    "Conv2D": {"bias": True},
    "MaxPool": {"padding": 0},
    "BatchNorm": {"initial_scale": 1.0},
}


class Workload(Struct, frozen=True):
    """What every backend builds. The loss is softmax cross-entropy, averaged over the batch and all positions.

    A model ends in `(classes,)`, or in `(positions, classes)` with a label for each position. `vocabulary`: above 0
    the input is that many kinds of tokens, int32 `(positions,)`; else float32. `proof`, and `epoch`, the samples of
    the training set that such a model is known for (0: none), are no part of the work.
    """

    name: str
    description: str
    input: Shape
    classes: int
    layers: tuple[Layer, ...]
    optimiser: Optimiser
    vocabulary: int = 0
    recipe: Recipe = Recipe()
    proof: Proof = Proof()
    epoch: int = 0

    def placed(self) -> tuple[Placed, ...]:
        """The layers with paths and shapes. A path counts layers of one kind, so a new ReLU moves no weight's seed."""
        found = _place(self.layers, self.input, "", {})
        shape = found[-1].leaves if found else self.input
        if shape[-1:] != (self.classes,) or len(shape) > 2:
            raise BenchError(
                f"workload {self.name} ends in shape {shape}, wanted ({self.classes},) or (positions, {self.classes}): "
                "one logit a class"
            )
        return found

    def walk(self) -> Iterator[Placed]:
        """Every layer, those inside a Residual before it."""
        return (place for place, _ in self.placed_first())

    def labels(self) -> Shape:
        """The shape of one sample's labels: `()`, or `(positions,)`."""
        return self.placed()[-1].leaves[:-1]

    def parameters(self) -> dict[str, Shape]:
        """Path of every trained parameter (`dense_1.kernel`) to its shape."""
        return {
            f"{place.path}.{name}": shape
            for place in self.walk()
            for name, shape in place.layer.params(place.enters).items()
        }

    def state(self) -> dict[str, Shape]:
        """Path of everything that training moves without a gradient (`batchnorm_1.mean`) to its shape."""
        return {
            f"{place.path}.{name}": shape
            for place in self.walk()
            for name, shape in place.layer.state(place.enters).items()
        }

    def parameter_count(self) -> int:
        return sum(prod(shape) for shape in self.parameters().values())

    def weights(self, seed: int) -> dict[str, Array]:
        """Initial parameters and state, fp64, uniform in their layer's ranges, seeded by `seed` and their own path."""
        weights: dict[str, Array] = {}
        for place in self.walk():
            ranges = place.layer.initial(place.enters)
            shapes = place.layer.params(place.enters) | place.layer.state(place.enters)
            for name, shape in shapes.items():
                path = f"{place.path}.{name}"
                word = int.from_bytes(hashlib.sha256(f"{seed}/{path}".encode()).digest()[:8], "little")
                centre, half = ranges[name]
                weights[path] = centre + (2 * np.random.Generator(np.random.PCG64(word)).random(shape) - 1) * half
        return weights

    def flops_per_sample(self, phase: str) -> int:
        """Exact floating-point operations of one sample: forward for `infer`, forward and backward for `train`.

        The first layer with parameters needs no gradient of its input; the loss and the optimiser are left out.
        """
        model = self if phase == "train" else self.deterministic()  # dropout is the identity in inference
        return sum(total_flops(place, phase, first) for place, first in model.placed_first())

    def bytes_per_step(self, phase: str, batch: int, item_size: int) -> int:
        """Bytes that a step must move if every layer is one kernel each way; the optimiser is left out."""
        if phase == "train":
            return sum(sum(p.layer.bytes(p.enters).bytes(batch, item_size)) for p in self.walk())
        return sum(p.layer.bytes(p.enters).inference_bytes(batch, item_size) for p in self.deterministic().walk())

    def placed_first(self) -> Iterator[tuple[Placed, bool]]:
        """Each layer with whether nobody asks for its input's gradient: nothing before it has parameters."""
        return _first(self.placed(), asked=False)

    def has_layout(self) -> bool:
        """Whether any layer handles images, so that channels-first and channels-last are different programs."""
        return len(self.input) == 3

    def by(self, recipe: str) -> "Workload":
        """The same workload by a recipe of that name; `BenchError` for one that is unknown or not for its input."""
        if recipe not in RECIPES:
            raise BenchError(f"no recipe '{recipe}'; there are {', '.join(RECIPES)}")
        if reason := self.why_not(recipe):
            raise BenchError(reason)
        layers = self.layers
        if recipe == "dropout":
            last = max(at for at, layer in enumerate(layers) if isinstance(layer, Dense))
            layers = (*layers[:last], Dropout(DROPPED), *layers[last:])
        return msgspec.structs.replace(self, layers=layers, recipe=RECIPES[recipe])

    def why_not(self, recipe: str) -> str:
        """Why a recipe is not for this workload; empty if it is."""
        if RECIPES[recipe].augment and not self.has_layout():
            return f"recipe augment turns images; workload {self.name} has an input of {self.input}"
        if recipe == "dropout" and not any(isinstance(layer, Dense) for layer in self.layers):
            return f"recipe dropout goes before the last Dense; workload {self.name} has none"
        return ""

    def takes_28x28(self) -> bool:
        """Whether 28x28 grey images are what it takes: real ones then, where they are here."""
        return not self.vocabulary and prod(self.input) == 28 * 28

    def deterministic(self) -> "Workload":
        """The same workload without its stochastic layers, for the proof; the other layers keep their paths."""
        return msgspec.structs.replace(self, layers=_certain(self.layers))

    def shape_samples(self, samples: np.ndarray) -> np.ndarray:
        """uint8 images `(n, ...)` to float32 `(n, *input)` in [0, 1]; tokens stay int32 `(n, positions)`."""
        if self.vocabulary:
            return samples.astype(np.int32)
        return (samples.astype(np.float32) / np.float32(255)).reshape(-1, *self.input)

    @property
    def digest(self) -> str:
        """SHA-256 of the declaration: what, if it differs, is other work. Name and description do not count."""
        plain = msgspec.to_builtins(msgspec.structs.replace(self, name="", description=""))
        del plain["proof"], plain["epoch"]
        plain = _without_later(plain | {"type": "Workload"})
        del plain["type"]
        return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:16]


def _place(layers: Sequence[Layer], shape: Shape, prefix: str, counts: dict[str, int]) -> tuple[Placed, ...]:
    found: list[Placed] = []
    for layer in layers:
        kind = type(layer).__name__.lower()
        counts[kind] = counts.get(kind, 0) + 1
        path, leaves = f"{prefix}{kind}_{counts[kind]}", layer.out(shape)
        body: tuple[Placed, ...] = ()
        shortcut: tuple[Placed, ...] = ()
        if isinstance(layer, Residual):
            inner: dict[str, int] = {}
            body = _place(layer.body, shape, f"{path}.", inner)
            shortcut = _place(layer.shortcut, shape, f"{path}.", inner)
        found.append(Placed(path, layer, shape, leaves, body, shortcut))
        shape = leaves
    return tuple(found)


def _first(places: tuple[Placed, ...], *, asked: bool) -> Iterator[tuple[Placed, bool]]:
    """The walk, with whether nobody asks for a layer's input gradient; `asked`: somebody does for the first's."""
    for place in places:
        inner = [*_first(place.body, asked=asked), *_first(place.shortcut, asked=asked)]
        yield from inner
        yield place, not asked
        asked = asked or any(bool(p.layer.params(p.enters)) for p, _ in (*inner, (place, True)))


def _certain(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    found: list[Layer] = []
    for layer in layers:
        if isinstance(layer, Residual):
            found.append(Residual(_certain(layer.body), _certain(layer.shortcut)))
        elif not isinstance(layer, Dropout):
            found.append(layer)
    return tuple(found)


def _without_later(plain: Any) -> Any:
    """A declaration in plain values, without the fields of `LATER` that say what was meant before them."""
    if isinstance(plain, list | tuple):
        return [_without_later(value) for value in plain]
    if not isinstance(plain, dict):
        return plain
    later = LATER.get(plain.get("type", ""), {})
    return {k: _without_later(v) for k, v in plain.items() if k not in later or v != later[k]}


def total_flops(place: Placed, phase: str, first: bool) -> int:
    """All operations of one layer for one sample; `first`: nobody asks for the gradient of its input."""
    flops = place.layer.flops(place.enters)
    forward = flops.contraction_forward + flops.elementwise_forward
    if phase == "infer":
        less = flops.elementwise_inference
        return forward if less is None else flops.contraction_forward + less
    if first and not place.layer.params(place.enters):
        return forward  # nothing behind it wants a gradient, and it has no weights of its own
    backward = flops.contraction_weight_gradient + flops.elementwise_backward
    return forward + backward + (0 if first else flops.contraction_input_gradient)


def batches(
    images: np.ndarray, labels: np.ndarray, *, seed: int, size: int, count: int
) -> list[tuple[np.ndarray, ...]]:
    """`count` batches of `size` (images, labels), drawn without replacement until the set is used up, then again.

    The order depends on `seed` alone, so every backend sees the same batches in the same order.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    order: list[np.ndarray] = []
    while sum(map(len, order)) < size * count:
        order.append(np.argsort(generator.random(len(images)), kind="stable"))
    rows = np.concatenate(order)[: size * count].reshape(count, size)
    return [(images[row], labels[row].astype(np.int32)) for row in rows]
