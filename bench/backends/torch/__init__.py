"""PyTorch: `eager`, and `compiled` by torch.compile."""

from bench.backends.torch.device import after_import, before_import
from bench.errors import Unsupported
from bench.program import Program, Settings
from bench.workload import Workload

__all__ = ["after_import", "before_import", "build"]


def build(workload: Workload, settings: Settings) -> Program:
    if settings.steps_per_call > 1:
        if settings.device == "cpu":
            raise Unsupported("torch makes several steps in one call by CUDA graphs alone, which a CPU has not")
        from bench.backends.torch.graphs import GraphedProgram

        return GraphedProgram(workload, settings)
    from bench.backends.torch.program import TorchProgram

    return TorchProgram(workload, settings)
