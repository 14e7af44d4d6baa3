"""How to wait for what a step of the user's own returned, by whose value it is. It imports no framework itself."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.errors import BenchError


def leaves(result: Any) -> list[Any]:
    """The tensors, arrays and numbers in a result of nested tuples, lists and dicts."""
    match result:
        case dict():
            return [leaf for value in result.values() for leaf in leaves(value)]
        case tuple() | list():
            return [leaf for value in result for leaf in leaves(value)]
        case None:
            return []
        case _:
            return [result]


def returned(path: str, result: Any) -> list[Any]:
    """The leaves of a result; `BenchError` where it has none: nothing says when the step is done."""
    found = leaves(result)
    if not found:
        raise BenchError(
            f"{path}: a step returned {result!r}: nothing says when it is done; return the loss or the new parameters"
        )
    return found


def waiting(path: str, result: Any, device: str = "cpu") -> Callable[[Any], None]:
    """How to wait for a result of this kind.

    On a GPU a value of the host's, a loss that was read in the middle of a step, says nothing of what follows it there,
    nor does one JAX array of another: only torch's and TensorFlow's fences wait for a whole device.
    """
    families = {family(path, leaf) for leaf in returned(path, result)}
    fences = [FENCES[name] for name in sorted(families)]
    if device == "gpu" and not families & {"torch cuda", "tensorflow"}:
        fences = [_everything]

    def wait(last: Any) -> None:
        for fence in fences:
            fence(last)

    return wait


def family(path: str, leaf: Any) -> str:
    """Whose a value is, by its type, without importing anything; `BenchError` for one that cannot be waited for."""
    if isinstance(leaf, (bool, int, float, np.generic, np.ndarray)):
        return "host"
    tensor: Any = leaf
    for name, kinds in (("torch", ("Tensor",)), ("jax", ("Array",)), ("tensorflow", ("Tensor", "Variable"))):
        module = sys.modules.get(name)
        if module and isinstance(leaf, tuple(getattr(module, kind) for kind in kinds)):
            whose = f"{name} {tensor.device.type}" if name == "torch" else name
            if whose not in FENCES:
                raise BenchError(f"{path}: a step returned a {whose} tensor; only cpu and cuda can be waited for")
            return whose
    raise BenchError(f"{path}: a step returned a {type(leaf).__name__}: return tensors, arrays or numbers")


def _torch_cuda(last: Any) -> None:
    sys.modules["torch"].cuda.synchronize()


def _jax(last: Any) -> None:
    sys.modules["jax"].block_until_ready(last)


def _tensorflow(last: Any) -> None:
    sys.modules["tensorflow"].test.experimental.sync_devices()


def _everything(last: Any) -> None:
    """Whatever the frameworks that are imported have under way. A torch that has not used its GPU has nothing there."""
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        _torch_cuda(last)
    if "jax" in sys.modules:
        _jax([*leaves(last), *sys.modules["jax"].live_arrays()])
    if "tensorflow" in sys.modules:
        _tensorflow(last)


def _nothing(last: Any) -> None:
    """The call itself returned when it was done."""


FENCES: dict[str, Callable[[Any], None]] = {
    "host": _nothing,
    "torch cpu": _nothing,
    "torch cuda": _torch_cuda,
    "jax": _jax,
    "tensorflow": _tensorflow,
}


def idle_gpu() -> str:
    """Who has left the GPU alone, in words; empty where a framework that is imported has used one.

    JAX and TensorFlow place what they are given on a GPU by themselves, torch where it is told to. JAX comes last: when
    asked it takes most of the GPU's memory, and TensorFlow imports it wherever it is installed.
    """
    here = [name for name in ("torch", "tensorflow", "jax") if name in sys.modules]
    for name in here:
        module = sys.modules[name]
        match name:
            case "torch":
                used = module.cuda.is_initialized()
            case "jax":
                used = module.default_backend() != "cpu"
            case _:
                used = bool(module.config.list_physical_devices("GPU"))
        if used:
            return ""
    return f"{' and '.join(here)} did not use" if here else "it imports no framework that Stepwatch knows to use"
