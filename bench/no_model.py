"""A program without a model: the base of those that train none, whose every call returns at once."""

from typing import Any

import numpy as np

from bench.placement import Array
from bench.workload import Workload


class WithoutModel:
    """A program that trains no model: every call returns at once, it proves nothing and its proof methods refuse."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload

    def put(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x, y

    def train(self, batch: Any) -> None:
        return None

    def infer(self, batch: Any) -> None:
        return None

    def fence(self) -> None:
        return None

    def compilations(self) -> int | None:
        return 0

    def kinds(self, logits: Any = None) -> dict[str, str]:
        return {}

    def peak_bytes(self) -> int | None:
        return None

    def describe(self) -> str:
        return "nothing: every call returns at once"

    def logits(self, x: np.ndarray) -> Array:
        raise NotImplementedError("a program without a model has no logits")

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        raise NotImplementedError("a program without a model has no gradients")

    def weights(self) -> dict[str, Array]:
        return {}

    def losses(self) -> Array:
        return np.zeros(0)
