"""A workload: a model, its optimiser and its images, declared once as data; weights and batches in NumPy.

Everything a backend must reproduce is here, and nothing of any framework.
"""

import hashlib
from collections.abc import Iterator
from math import prod

import msgspec
import numpy as np
from msgspec import Struct

from bench.errors import BenchError
from bench.layers import Dropout, Flops, Layer, Shape, Traffic
from bench.placement import Array


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
    """A layer in its place: its path (`conv2d_1`), the shape that enters and the shape that leaves."""

    path: str
    layer: Layer
    enters: Shape
    leaves: Shape


class Workload(Struct, frozen=True):
    """What every backend builds. The loss is softmax cross-entropy, averaged over the batch."""

    name: str
    description: str
    input: Shape
    classes: int
    layers: tuple[Layer, ...]
    optimiser: Optimiser

    def placed(self) -> tuple[Placed, ...]:
        """The layers with paths and shapes. A path counts layers of one kind, so a new ReLU moves no weight's seed."""
        found: list[Placed] = []
        counts: dict[str, int] = {}
        shape = self.input
        for layer in self.layers:
            kind = type(layer).__name__.lower()
            counts[kind] = counts.get(kind, 0) + 1
            leaves = layer.out(shape)
            found.append(Placed(f"{kind}_{counts[kind]}", layer, shape, leaves))
            shape = leaves
        if shape != (self.classes,):
            raise BenchError(f"workload {self.name} ends in shape {shape}, wanted ({self.classes},): one logit a class")
        return tuple(found)

    def parameters(self) -> dict[str, Shape]:
        """Path of every parameter (`dense_1.kernel`) to its shape."""
        return {
            f"{place.path}.{name}": shape
            for place in self.placed()
            for name, shape in place.layer.params(place.enters).items()
        }

    def parameter_count(self) -> int:
        return sum(prod(shape) for shape in self.parameters().values())

    def weights(self, seed: int) -> dict[str, Array]:
        """Initial weights, fp64, uniform in +-1/sqrt(fan in), seeded by `seed` and the parameter's own path."""
        weights = {}
        for place in self.placed():
            shapes = place.layer.params(place.enters)
            for name, shape in shapes.items():
                path = f"{place.path}.{name}"
                word = int.from_bytes(hashlib.sha256(f"{seed}/{path}".encode()).digest()[:8], "little")
                bound = 1 / np.sqrt(prod(shapes["kernel"][:-1]))
                weights[path] = (2 * np.random.Generator(np.random.PCG64(word)).random(shape) - 1) * bound
        return weights

    def flops_per_sample(self, phase: str) -> int:
        """Exact floating-point operations of one sample: forward for `infer`, forward and backward for `train`.

        The first layer with parameters needs no gradient of its input; the loss and the optimiser are left out.
        """
        model = self if phase == "train" else self.deterministic()  # dropout is the identity in inference
        return sum(total_flops(place.layer.flops(place.enters), phase, first) for place, first in model.placed_first())

    def bytes_per_step(self, phase: str, batch: int, item_size: int) -> int:
        """Bytes that a step must move if every layer is one kernel each way; the optimiser is left out."""
        total = 0
        for place in (self if phase == "train" else self.deterministic()).placed():
            traffic: Traffic = place.layer.bytes(place.enters)
            forward, backward = traffic.bytes(batch, item_size)
            total += forward + (backward if phase == "train" else 0)
        return total

    def placed_first(self) -> Iterator[tuple[Placed, bool]]:
        """Each layer with whether nobody asks for its input's gradient: nothing before it has parameters."""
        seen = False
        for place in self.placed():
            yield place, not seen
            seen = seen or bool(place.layer.params(place.enters))

    def has_layout(self) -> bool:
        """Whether any layer handles images, so that channels-first and channels-last are different programs."""
        return len(self.input) == 3

    def deterministic(self) -> "Workload":
        """The same workload without its stochastic layers, for the proof; the other layers keep their paths."""
        return msgspec.structs.replace(self, layers=tuple(x for x in self.layers if not isinstance(x, Dropout)))

    def shape_images(self, images: np.ndarray) -> Array:
        """uint8 images `(n, 28, 28)` to float32 `(n, *input)` in [0, 1]."""
        return (images.astype(np.float32) / np.float32(255)).reshape(-1, *self.input)

    @property
    def digest(self) -> str:
        """SHA-256 of the declaration: what, if it differs, is other work. Name and description do not count."""
        plain = msgspec.structs.replace(self, name="", description="")
        return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:16]


def total_flops(flops: Flops, phase: str, first: bool) -> int:
    """All operations of one layer for one sample; `first`: nobody asks for the gradient of its input."""
    forward = flops.contraction_forward + flops.elementwise_forward
    if phase == "infer":
        return forward
    if first and not flops.contraction_weight_gradient:
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
