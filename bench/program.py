"""The contract between a backend and everything else: how it is set up, and what a program must offer.

Plain data and a protocol. The timed region touches only `put`, `train`, `infer` and `fence`.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from bench.placement import Array


class Settings(Struct, frozen=True):
    """Everything that a backend is told explicitly, so that no framework's default decides.

    `layout` is `nchw`, `nhwc`, or `flat` for a model without images; `threads` is a count; `cache` is the run's own
    folder for compiled code, empty for none; `compiled`: all that is to be is there; `seed` drives initial weights and
    dropout. With `steps_per_call` above 1 `put` takes so many batches at once, `(steps_per_call, n, ...)`, and `train`
    and `infer` go through them in a call.
    """

    mode: str
    precision: str
    layout: str
    device: str
    threads: int
    cache: str = ""
    seed: int = 1
    steps_per_call: int = 1
    compiled: bool = False


class Facts(Struct, frozen=True):
    """What the process says of itself after the import: read back from the framework, not from the settings."""

    threads: int
    device_name: str
    driver: str = ""


class Program(Protocol):
    """One model on one device. `x` is float32 `(n, *input)` or int32 tokens, `y` int32 `(n, *labels)`: NumPy."""

    def put(self, x: np.ndarray, y: np.ndarray) -> Any:
        """A batch resident on the device, in the program's own layout and precision."""

    def train(self, batch: Any) -> None:
        """One optimiser step: forward, loss, backward, update. May return before the device is done."""

    def infer(self, batch: Any) -> Any:
        """One forward pass to logits, in the framework's own array. May return before the device is done."""

    def fence(self) -> None:
        """Returns when every effect of every earlier call is complete on the device."""

    def compilations(self) -> int | None:
        """Traces or compilations since the program was built; must not grow inside a timed burst. None: not known."""

    def kinds(self, logits: Any = None) -> dict[str, str]:
        """Of each parameter and state by path, and of `logits` that `infer` returned: NumPy's dtype, `cpu` or `gpu`."""

    def peak_bytes(self) -> int | None:
        """The device allocator's peak since the program was built, or None where the host's memory is the device's."""

    def describe(self) -> str:
        """The native module as its own framework prints it."""

    def logits(self, x: np.ndarray) -> Array:
        """What `infer` computes of one batch: `(n, ..., classes)`. Never timed."""

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        """Gradient of the mean loss by parameter path, in our axes, at the present weights. Never timed."""

    def weights(self) -> dict[str, Array]:
        """The present parameters and state by path, in our axes. Never timed."""

    def losses(self) -> Array:
        """The losses of the `train` calls since the last `losses()`, oldest first, at most 32. Never timed."""


class HostFed(Program, Protocol):
    """A program of a backend that says `loads` in the registry."""

    def load(self, images: np.ndarray, labels: np.ndarray, size: int) -> Iterator[Any]:
        """Batches from the host by the framework's own loader, over and over: what `put` makes, as it makes it.

        `images` and `labels` are `(samples, ...)` as they lie on disk: uint8 images or int32 tokens, in their order.
        """


class BackendModule(Protocol):
    """What `bench.backends.<name>` offers; importing it imports no framework, `before_import` comes first."""

    def before_import(self, settings: Settings) -> None:
        """Environment variables and affinity that a framework reads only while it is imported."""

    def after_import(self, settings: Settings) -> Facts:
        """Imports the framework, makes every setting of the process explicit, and reads it back."""

    def build(self, workload: Any, settings: Settings) -> Program:
        """A program with the workload's initial weights. `Unsupported` where the combination does not exist."""
