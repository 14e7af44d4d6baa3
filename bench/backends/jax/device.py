"""What the process is told before and after JAX is imported: threads, caches, memory, strict arithmetic."""

import os
from typing import Any

from bench.errors import NoGpu
from bench.program import Facts, Settings


def before_import(settings: Settings) -> None:
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # take memory as it is used, so that a peak means something
    # Nearly all of the GPU, as torch and TensorFlow take it: XLA would stop at 75 %. With the old name too JAX refuses.
    os.environ["XLA_CLIENT_MEM_FRACTION"] = "0.95"
    os.environ.pop("XLA_PYTHON_CLIENT_MEM_FRACTION", None)
    os.environ.pop("XLA_PYTHON_CLIENT_ALLOCATOR", None)  # others than the pool may know no peak
    os.environ.pop("TF_GPU_ALLOCATOR", None)
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    # XLA has no setting for the size of its CPU pool: it counts the cores this process may use when it starts.
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[: settings.threads])
    os.environ["JAX_PLATFORMS"] = "cpu" if settings.device == "cpu" else "cuda"


_compiled = 0  # by XLA, in this process


def compilations() -> int:
    """How many programs XLA has been handed in this process, those found in its cache on disk included."""
    return _compiled


def _count(event: str, duration_secs: float, **_: str | int) -> None:
    global _compiled
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled += 1


def after_import(settings: Settings) -> Facts:
    import jax

    jax.monitoring.register_event_duration_secs_listener(_count)
    jax.config.update("jax_disable_jit", False)  # JAX_DISABLE_JIT of somebody's shell would run it eagerly, unseen
    # No TF32 and no bf16 in fp32 products and convolutions, unless it is asked for.
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if settings.precision == "tf32" else "highest")
    if settings.cache:
        jax.config.update("jax_compilation_cache_dir", os.path.join(settings.cache, "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # its default keeps only slow ones
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        # XLA's own caches would lie beside, and the path to them is part of every entry's name: moved, none is found.
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    try:
        device = jax.devices("gpu" if settings.device == "gpu" else "cpu")[0]
    except (RuntimeError, AssertionError) as error:  # a build without CUDA ends in a bare assertion
        raise NoGpu(f"jax {jax.__version__}" + (f" ({error})" if str(error) else ""), "jax jaxlib") from None
    return Facts(
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else settings.threads,
        device_name="cpu" if device.platform == "cpu" else device.device_kind,
    )


def fence(arrays: Any) -> None:
    """The whole tree: blocking on one array alone would leave the others in flight."""
    import jax

    jax.block_until_ready(arrays)


def kind(array: Any) -> str:
    """NumPy's name of the dtype, and where the array is: `cpu`, `gpu`, or both where it is in both."""
    return f"{array.dtype.name} {'+'.join(sorted({device.platform for device in array.devices()}))}"


def peak_bytes(settings: Settings) -> int | None:
    import jax

    if settings.device == "cpu":
        return None
    found: int | None = (jax.devices("gpu")[0].memory_stats() or {}).get("peak_bytes_in_use")
    return found


def reset_peak(settings: Settings) -> None:
    """JAX offers none: its peak is the process's."""
