"""What XLA leaves out in the quick tests: it takes longer to optimise a small model than to run it."""

import os
import sys


def hurry() -> None:
    """Before JAX or TensorFlow is imported, unless `every` program is asked for: those are compiled as for a user."""
    if "every" not in sys.argv:
        quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {quick}".strip()
