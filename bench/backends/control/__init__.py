"""The control: the same few NumPy operations in every environment, whatever workload is named. No framework's doing.

Where it takes longer in one arm of a gate than in the other, the arms' environments differ, not what they compare.
"""

from typing import Any

import numpy as np

from bench.no_model import WithoutModel
from bench.program import Facts, Settings
from bench.workload import Workload


def before_import(settings: Settings) -> None:
    """There is nothing to import."""


def after_import(settings: Settings) -> Facts:
    return Facts(threads=settings.threads, device_name="cpu")


def build(workload: Workload, settings: Settings) -> "ControlProgram":
    return ControlProgram(workload)


class ControlProgram(WithoutModel):
    """See `bench.program.Program`. A Gaussian of each pixel, on one core and without a BLAS, whose threads vary."""

    def train(self, batch: Any) -> None:
        self.infer(batch)

    def infer(self, batch: Any) -> None:
        x, _ = batch
        np.exp(-x * x).sum()

    def describe(self) -> str:
        return "exp(-x * x).sum() in NumPy"
