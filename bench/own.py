"""A model of the user's own, from a file: in the worker alone, through the same trial as every backend's program.

The file offers `make_step()`, which returns a function of no arguments that does one step and returns what to wait for;
or `Program`, a class that offers `bench.program.Program` as far as it goes. See docs/programs.md.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bench import fences, origins
from bench.errors import BenchError
from bench.feeds import Data
from bench.fences import family, leaves, returned, waiting
from bench.no_model import WithoutModel
from bench.placement import Array
from bench.program import Facts, Program, Settings
from bench.workload import Workload

NEEDED = ("train", "fence", "weights")
PROOF = ("put", "logits", "gradients", "weights", "losses")
FEED = 32  # batches
NOTED = 16  # calls whose results are looked at, before a step is timed as it is


class Own:
    """A `bench.program.BackendModule` made of the file at `path`."""

    def __init__(self, path: str, root: str = "", elsewhere: str = "") -> None:
        self.path, self.root, self.elsewhere = path, root, elsewhere

    def before_import(self, settings: Settings) -> None:
        """The file makes its own settings."""

    def after_import(self, settings: Settings) -> Facts:
        """Imports the file; `BenchError` where it does not import or offers nothing."""
        self.module = loaded(Path(self.path), self.root)
        self.check_origin()
        self.stepping = callable(getattr(self.module, "make_step", None))
        self.kind = getattr(self.module, "Program", None)
        if self.stepping == callable(self.kind):
            found = "both" if self.stepping else "neither"
            raise BenchError(f"{self.path} wants to offer make_step() or Program, one of them, found {found}")
        missing = [name for name in NEEDED if self.kind and not callable(getattr(self.kind, name, None))]
        if missing:
            raise BenchError(f"{self.path}: its Program lacks {' and '.join(missing)}")
        if self.kind and not callable(getattr(self.kind, "batches", None)):
            lacks = [name for name in ("put", "input", "classes") if not hasattr(self.kind, name)]
            if lacks:
                raise BenchError(
                    f"{self.path}: its Program wants batches(), or put() with `input` (a sample's shape) and "
                    f"`classes`; it lacks {' and '.join(lacks)}"
                )
            if not isinstance(told := self.kind.input, tuple | list):
                raise BenchError(f"{self.path}: its `input` wants a tuple, a sample's shape, found {told!r}")
        return Facts(threads=settings.threads, device_name=settings.device)

    def check_origin(self) -> None:
        """`BenchError` where a module is not this revision's. Asked again after the warm-up: steps import late."""
        if self.elsewhere and (reason := origins.stranger(Path(self.root), Path(self.elsewhere))):
            raise BenchError(f"{self.path} imports {reason}")

    def check_device(self, settings: Settings) -> None:
        """`BenchError` where the row would say `gpu` and no framework has run anything there."""
        if settings.device == "gpu" and (idle := fences.idle_gpu()):
            raise BenchError(
                f"{self.path}: its row would say gpu, and {idle} the GPU: put its tensors there, or give --device cpu"
            )

    @property
    def batch(self) -> int:
        """Samples a step: the file's `BATCH` or its Program's `batch`, else 1."""
        told = getattr(self.kind, "batch", getattr(self.module, "BATCH", 1))
        if type(told) is not int or told < 1:
            raise BenchError(f"{self.path}: its batch wants a whole number from 1, found {told!r}")
        return told

    @property
    def phases(self) -> tuple[str, ...]:
        return ("train", "infer") if self.kind and callable(getattr(self.kind, "infer", None)) else ("train",)

    @property
    def proves(self) -> bool:
        """Whether it offers the proof methods, on batches that are ours."""
        return self.kind is not None and all(callable(getattr(self.kind, name, None)) for name in PROOF)

    def data(self) -> Data:
        """Seeded batches for `put`; as many empty ones where the file brings its own."""
        if self.kind is None or callable(getattr(self.kind, "batches", None)):
            return [(np.zeros(1, np.float32), np.zeros(1, np.int32))] * FEED
        draw = np.random.Generator(np.random.PCG64(1))
        shape, classes = (self.batch, *self.kind.input), self.kind.classes
        return [(draw.random(shape, np.float32), draw.integers(0, classes, self.batch, np.int32)) for _ in range(FEED)]

    def build(self, workload: Workload | None, settings: Settings) -> Program:
        if self.kind is None:
            return StepProgram(self.path, self.module.make_step(), device=settings.device)
        return ClassProgram(self.path, self.kind(), proves=self.proves)


class StepProgram(WithoutModel):
    """A plain function: fenced by the type of what it returns."""

    def __init__(self, path: str, step: Any, *, device: str = "cpu") -> None:
        if not callable(step):
            raise BenchError(f"{path}: make_step() wants to return a function, found {type(step).__name__}")
        self.path, self.step, self.device = path, step, device
        self.last: Any = None
        self.wait: Callable[[Any], None] | None = None
        self.seen: list[tuple[str, tuple[int, ...]]] = []  # whose each value is, and its shape
        self.calls = 0
        self.train = self._noted  # type: ignore[method-assign]

    def _noted(self, batch: Any) -> None:
        """One of the first calls: finds out how to wait for its result, and that the next are of its kind."""
        self.last = self.step()
        self._check()
        self.calls += 1
        if self.calls == NOTED:
            self.train = self._plain  # type: ignore[method-assign]

    def _plain(self, batch: Any) -> None:
        self.last = self.step()

    def fence(self) -> None:
        if self.wait:
            self.wait(self.last)

    def compilations(self) -> int | None:
        if self.seen:
            self._check()  # asked for before and after the bursts, never within
        return None

    def weights(self) -> dict[str, Array]:
        """What the last step returned, for the check that it is finite."""
        self._check()
        found: dict[str, Array] = {}
        for number, leaf in enumerate(leaves(self.last)):
            found[f"returned {number}"] = np.asarray(host(leaf), np.float64)
        return found

    def _check(self) -> None:
        """`BenchError` where the last step returned nothing, or other kinds or shapes than the first."""
        found = [(family(self.path, leaf), shape(leaf)) for leaf in returned(self.path, self.last)]
        if not self.seen:
            self.seen, self.wait = found, waiting(self.path, self.last, self.device)
        if found != self.seen:
            first, now = (", ".join(f"{kind} {size}" for kind, size in one) for one in (self.seen, found))
            raise BenchError(f"{self.path}: what a step returns changes: {first}, then {now}")


class ClassProgram(WithoutModel):
    """The user's `Program`, with what it leaves out filled in; its own methods are called as they are."""

    def __init__(self, path: str, program: Any, *, proves: bool) -> None:
        self.path, self.program = path, program
        self.shapes: dict[str, tuple[int, ...]] | None = None
        self.resident: Iterator[Any] | None = None
        for name in ("put", "train", "infer", "fence", "compilations", "kinds", "peak_bytes", "describe"):
            if callable(getattr(program, name, None)):
                setattr(self, name, getattr(program, name))
        if not callable(getattr(program, "compilations", None)):
            self.compilations = lambda: None  # type: ignore[method-assign]
        for name in ("logits", "gradients", "losses") if proves else ():
            setattr(self, name, getattr(program, name))
        if callable(getattr(program, "batches", None)):
            batches = list(program.batches())
            if not batches:
                raise BenchError(f"{path}: its Program's batches() wants at least one batch, found none")
            given = (batches[number % len(batches)] for number in range(FEED))
            self.put = lambda x, y: next(given)  # type: ignore[method-assign]

    def weights(self) -> dict[str, Array]:
        """The program's own; `BenchError` where their shapes are not those of the time before."""
        found: dict[str, Array] = self.program.weights()
        if not isinstance(found, Mapping) or not found:  # NaN would not be seen, nor a step that never happened
            raise BenchError(f"{self.path}: weights() wants a dict of at least one array, found {str(found)[:40]!r}")
        shapes = {name: shape(array) for name, array in found.items()}
        if self.shapes not in (None, shapes):
            raise BenchError(f"{self.path}: the shapes of weights() change: {self.shapes}, then {shapes}")
        self.shapes = shapes
        return found


def loaded(path: Path, root: str = "") -> ModuleType:
    """The file as a module, its own folder and then `root` first on the path; `BenchError` where it does not import."""
    if not path.is_file():
        raise BenchError(f"no program file {path}; wanted a Python file with make_step() or Program")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"{path} is no Python file; wanted one with make_step() or Program")
    if reason := origins.taken(path, root):
        raise BenchError(reason)
    module = importlib.util.module_from_spec(spec)
    sys.path[:0] = [str(path.parent), *([root] if root else [])]
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = origins.taken(path, root, error) or f"{path} does not import: {type(error).__name__}: {error}"
        raise BenchError(reason) from error
    return module


def shape(leaf: Any) -> tuple[int, ...]:
    return tuple(getattr(leaf, "shape", ()))


def host(leaf: Any) -> Any:
    """A value as NumPy takes it: a torch tensor wants to be detached and brought to the host first."""
    return leaf.detach().float().cpu() if hasattr(leaf, "detach") else leaf
