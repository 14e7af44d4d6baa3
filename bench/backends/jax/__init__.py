"""JAX with Flax (nnx) and Optax: `compiled` by jit."""

from bench.backends.jax.device import after_import, before_import
from bench.program import Program, Settings
from bench.workload import Workload

__all__ = ["after_import", "before_import", "build"]


def build(workload: Workload, settings: Settings) -> Program:
    from bench.backends.jax.program import JaxProgram

    return JaxProgram(workload, settings)
