"""PyTorch: `eager`, and `compiled` by torch.compile."""

from bench.backends.torch.device import after_import, before_import
from bench.program import Program, Settings
from bench.workload import Workload

__all__ = ["after_import", "before_import", "build"]


def build(workload: Workload, settings: Settings) -> Program:
    from bench.backends.torch.program import TorchProgram

    return TorchProgram(workload, settings)
