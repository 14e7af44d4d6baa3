"""What the process is told before and after torch is imported: threads, caches, strict arithmetic, denormals."""

import os
import shutil
import sys
from typing import Any

from bench.errors import NoGpu, Unsupported
from bench.program import Facts, Settings


def before_import(settings: Settings) -> None:
    # OpenMP and MKL read these once, when their libraries are loaded.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(settings.threads)
    if settings.cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(settings.cache, "inductor")
        os.environ["TRITON_CACHE_DIR"] = os.path.join(settings.cache, "triton")
    # Inductor wakes a pool of compilers before every graph of a GPU, found in its cache or not. Where all is compiled
    # that is for nothing, and a core is busy for ten seconds beside the steps. TORCH_WARM_POOL=0 only wakes it later.
    os.environ.pop("TORCHINDUCTOR_COMPILE_THREADS", None)
    if settings.compiled:
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"


def after_import(settings: Settings) -> Facts:
    import torch

    if settings.device == "gpu" and not torch.cuda.is_available():
        raise NoGpu(f"torch {torch.__version__}", "torch")
    # Flushing is a register of each thread, inherited when a thread starts: set it before any pool does.
    torch.set_flush_denormal(True)
    torch.set_num_threads(settings.threads)
    tf32 = settings.precision == "tf32"  # else no TF32 and no bf16 in fp32 matrix products and convolutions
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32  # torch's default is True
    # The call alone imports Inductor, a second in every process, where the setting is as wanted most of the time.
    if settings.mode == "compiled" or torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
    device_name = torch.cuda.get_device_name(0) if settings.device == "gpu" else "cpu"
    return Facts(threads=torch.get_num_threads(), device_name=device_name, driver=torch.version.cuda or "")


def search(settings: Settings) -> None:
    """cuDNN's search among convolutions, as shapes are fixed here; TensorFlow and XLA search too. Not in fp64.

    That is never timed on a GPU, where the search would take longer than all its steps.
    """
    import torch

    torch.backends.cudnn.benchmark = settings.precision != "fp64"


def check_compiler(settings: Settings) -> None:
    """`Unsupported` where torch.compile finds no C++ compiler, which it wants on a CPU."""
    wanted = os.environ.get("CXX")
    found = shutil.which(wanted) if wanted else shutil.which("g++") or shutil.which("clang++")
    if settings.device == "cpu" and not found:
        raise Unsupported("torch.compile on a CPU wants a C++ compiler, found none: install g++ or set CXX")


def fence(tensors: Any = None) -> None:
    """Every kernel that was queued is done; on a CPU every call returns when its work is."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def kind(tensor: Any) -> str:
    """NumPy's name of the dtype, and `cpu` or `gpu`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {'gpu' if tensor.is_cuda else tensor.device.type}"


def peak_bytes(settings: Settings) -> int | None:
    import torch

    return torch.cuda.max_memory_allocated() if settings.device == "gpu" else None


def reset_peak(settings: Settings) -> None:
    import torch

    if settings.device == "gpu":
        torch.cuda.reset_peak_memory_stats()


def compilations() -> int:
    """Graphs that Dynamo has compiled in this process. An eager program is spared its import; who compiles has it."""
    dynamo = sys.modules.get("torch._dynamo")
    return int(dynamo.utils.counters["stats"]["unique_graphs"]) if dynamo else 0
