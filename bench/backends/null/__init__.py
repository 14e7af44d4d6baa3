"""The null backend: every call returns at once. What remains of a step is the clock's own cost."""

from typing import Any

import numpy as np

from bench.placement import Array
from bench.program import Facts, Settings
from bench.workload import Workload


def before_import(settings: Settings) -> None:
    """There is nothing to import."""


def after_import(settings: Settings) -> Facts:
    return Facts(threads=settings.threads, device_name="cpu")


def build(workload: Workload, settings: Settings) -> "NullProgram":
    return NullProgram(workload)


class NullProgram:
    """See `bench.program.Program`. It computes nothing, so it proves nothing: its proof methods refuse."""

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

    def compilations(self) -> int:
        return 0

    def kinds(self, logits: Any = None) -> dict[str, str]:
        return {}

    def peak_bytes(self) -> int | None:
        return None

    def describe(self) -> str:
        return "nothing: every call returns at once"

    def logits(self, x: np.ndarray) -> Array:
        raise NotImplementedError("the null backend computes no logits")

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        raise NotImplementedError("the null backend computes no gradients")

    def weights(self) -> dict[str, Array]:
        return {}

    def losses(self) -> Array:
        return np.zeros(0)
