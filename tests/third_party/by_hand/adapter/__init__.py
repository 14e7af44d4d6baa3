"""The adapter: a perceptron in NumPy, its gradients by hand."""

from bench.program import Program, Settings
from bench.workload import Workload
from by_hand.adapter.device import after_import, before_import

__all__ = ["after_import", "before_import", "build"]


def build(workload: Workload, settings: Settings) -> Program:
    from by_hand.adapter.program import Perceptron

    return Perceptron(workload, settings)
