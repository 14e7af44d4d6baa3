"""The workload in NumPy: forward, backward and update as one would write them on paper."""

from collections import deque

import numpy as np

from bench.errors import Unsupported
from bench.layers import Dense, ReLU
from bench.program import Settings
from bench.recipe import Recipe
from bench.workload import SGD, Workload
from by_hand.adapter.device import product

DTYPES = {"fp32": np.float32, "fp64": np.float64}
Batch = tuple[np.ndarray, np.ndarray]


class Perceptron:
    """See `bench.program.Program`."""

    def __init__(self, workload: Workload, settings: Settings) -> None:
        for place in workload.placed():
            if not isinstance(place.layer, Dense | ReLU):
                raise Unsupported(f"by-hand has no {type(place.layer).__name__}, only Dense and ReLU")
        if not isinstance(workload.optimiser, SGD):
            raise Unsupported(f"by-hand has no {type(workload.optimiser).__name__}, only SGD")
        if workload.recipe != Recipe():
            raise Unsupported(f"by-hand knows no recipe, found {workload.recipe}")
        if settings.precision not in DTYPES:
            raise Unsupported(f"by-hand has no precision {settings.precision}, only {' and '.join(DTYPES)}")
        self.places, self.optimiser = workload.placed(), workload.optimiser
        self.dtype = DTYPES[settings.precision]
        self.parameters = {path: array.astype(self.dtype) for path, array in workload.weights(settings.seed).items()}
        self.velocity = {path: np.zeros_like(array) for path, array in self.parameters.items()}
        self._losses: deque[float] = deque(maxlen=32)

    def put(self, x: np.ndarray, y: np.ndarray) -> Batch:
        return x.astype(self.dtype), y.copy()

    def _forward(self, x: np.ndarray) -> list[np.ndarray]:
        """What enters each layer, and the logits."""
        values = [x]
        for place in self.places:
            x = values[-1]
            if isinstance(place.layer, Dense):
                kernel, bias = (self.parameters[f"{place.path}.{name}"] for name in ("kernel", "bias"))
                values.append(product(x, kernel) + bias)
            else:
                values.append(np.maximum(x, 0))
        return values

    def _backward(self, values: list[np.ndarray], y: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """The loss, and its gradient at every parameter."""
        shifted = values[-1] - values[-1].max(axis=1, keepdims=True)
        sums = np.exp(shifted).sum(axis=1, keepdims=True)
        rows = np.arange(len(y))
        loss = float(np.mean(np.log(sums[:, 0]) - shifted[rows, y]))
        gradient = np.exp(shifted) / sums
        gradient[rows, y] -= 1
        gradient /= len(y)
        found: dict[str, np.ndarray] = {}
        for place, entered in zip(reversed(self.places), reversed(values[:-1]), strict=True):
            if isinstance(place.layer, Dense):
                found[f"{place.path}.kernel"] = product(entered.T, gradient)
                found[f"{place.path}.bias"] = gradient.sum(axis=0)
                gradient = product(gradient, self.parameters[f"{place.path}.kernel"].T)
            else:
                gradient = gradient * (entered > 0)
        return loss, found

    def train(self, batch: Batch) -> None:
        x, y = batch
        loss, gradients = self._backward(self._forward(x), y)
        rate, momentum = self.dtype(self.optimiser.rate), self.dtype(self.optimiser.momentum)
        for path, gradient in gradients.items():
            self.velocity[path] = momentum * self.velocity[path] + gradient
            self.parameters[path] = self.parameters[path] - rate * self.velocity[path]
        self._losses.append(loss)

    def infer(self, batch: Batch) -> np.ndarray:
        return self._forward(batch[0])[-1]

    def fence(self) -> None:
        """NumPy returns when it is done."""

    def compilations(self) -> int:
        return 0

    def kinds(self, logits: np.ndarray | None = None) -> dict[str, str]:
        arrays = self.parameters | ({} if logits is None else {"logits": logits})
        return {path: f"{array.dtype} cpu" for path, array in arrays.items()}

    def peak_bytes(self) -> None:
        return None

    def describe(self) -> str:
        return "\n".join(f"{path}: {array.dtype} {array.shape}" for path, array in self.parameters.items())

    def logits(self, x: np.ndarray) -> np.ndarray:
        return self._forward(x.astype(self.dtype))[-1].astype(np.float64)

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        _, found = self._backward(self._forward(x.astype(self.dtype)), y)
        return {path: found[path].astype(np.float64) for path in self.parameters}

    def weights(self) -> dict[str, np.ndarray]:
        return {path: array.astype(np.float64) for path, array in self.parameters.items()}

    def losses(self) -> np.ndarray:
        found = np.array(self._losses, np.float64)
        self._losses.clear()
        return found
