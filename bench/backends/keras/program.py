"""The workload as a Keras user runs it, batch by batch: `compile`, `train_on_batch`, `predict_on_batch`.

Both bring their results to the host: a step ends with its loss as a Python number, a prediction as a NumPy array.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from bench.backends.keras import loader
from bench.backends.keras.device import Room
from bench.backends.keras.gradients import gradients
from bench.backends.keras.graph import graph
from bench.backends.keras.objective import loss, penalise
from bench.backends.keras.optimiser import optimiser
from bench.backends.keras.parameters import load, read
from bench.errors import BenchError, Unsupported
from bench.placement import Array
from bench.program import Settings
from bench.workload import Workload

FLOATX = {"fp32": "float32", "tf32": "float32", "bf16": "float32", "fp64": "float64"}
POLICIES = FLOATX | {"bf16": "mixed_bfloat16"}
Batch = tuple[Any, Any]


class KerasProgram:
    """See `bench.program.Program`."""

    def __init__(self, workload: Workload, settings: Settings, room: Room) -> None:
        if settings.steps_per_call > 1:
            raise Unsupported("Keras makes one step in a call of train_on_batch; take its engine's own backend")
        self.workload, self.settings, self.room = workload, settings, room
        room.choose(settings)
        keras.config.set_floatx(FLOATX[settings.precision])
        keras.config.set_dtype_policy(POLICIES[settings.precision])
        enters, leaves, self.places = graph(workload, settings, room.engine)
        self.shapes = workload.parameters() | workload.state()
        self.traced = 0
        self.model = self._counting()(enters, leaves)
        load(self.places, workload.weights(settings.seed))
        penalise(self.model, workload)
        self.model.compile(
            optimizer=optimiser(workload.optimiser, workload.recipe),
            loss=loss(workload),
            run_eagerly=settings.mode == "eager" and room.engine == "tensorflow",
            jit_compile=settings.mode == "compiled",
        )
        self._check_mode()
        self.model.optimizer.build(self.model.trainable_variables)
        self._losses: deque[float] = deque(maxlen=32)
        self._compiled = room.compilations()
        room.own.reset_peak(settings)

    def _check_mode(self) -> None:
        """Keras only warns where it does not compile what it was told to; `BenchError`, lest a row says otherwise."""
        model, mode = self.model, self.settings.mode
        if model.jit_compile != (mode == "compiled"):
            raise BenchError(f"mode {mode} was asked for, Keras took jit_compile={model.jit_compile} for this model")
        if self.room.engine == "tensorflow" and model.run_eagerly != (mode == "eager"):
            raise BenchError(f"mode {mode} was asked for, Keras took run_eagerly={model.run_eagerly}")

    def _counting(self) -> Any:
        """keras.Model, which counts how often its steps are run as Python: each trace of them, in graph modes."""
        program = self

        class Model(keras.Model):
            def train_step(self, *data: Any) -> Any:
                program.traced += 1
                return super().train_step(*data)

            def predict_step(self, *data: Any) -> Any:
                program.traced += 1
                return super().predict_step(*data)

        return Model if self.room.engine == "tensorflow" and self.settings.mode != "eager" else keras.Model

    def put(self, x: np.ndarray, y: np.ndarray) -> Batch:
        if self.settings.layout == "nchw":
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        kind = "int32" if self.workload.vocabulary else FLOATX[self.settings.precision]
        # Copies: an engine may keep the caller's array as its own.
        return self.room.put(x.copy(), kind), self.room.put(y.copy(), "int32")

    def load(self, images: np.ndarray, labels: np.ndarray, size: int) -> Iterator[Batch]:
        def put(x: np.ndarray, y: np.ndarray) -> Batch:
            return self.put(self.workload.shape_samples(x), y)

        return loader.load(loader.Samples(images, labels, size, put))

    def train(self, batch: Batch) -> None:
        self._losses.append(self.model.train_on_batch(*batch))

    def infer(self, batch: Batch) -> Any:
        return self.model.predict_on_batch(batch[0])

    def fence(self) -> None:
        self.room.own.fence([variable.value for variable in (*self.model.variables, *self.model.optimizer.variables)])

    def compilations(self) -> int:
        if self.room.engine == "tensorflow":
            return self.traced
        return max(0, self.room.compilations() - self._compiled)

    def kinds(self, logits: Any = None) -> dict[str, str]:
        return {
            path: "+".join(sorted({self.room.own.kind(piece.variable.value) for piece in found}))
            for path, found in self.places.items()
        }

    def peak_bytes(self) -> int | None:
        peak: int | None = self.room.own.peak_bytes(self.settings)
        return peak

    def describe(self) -> str:
        lines: list[str] = []
        self.model.summary(print_fn=lambda text, **_: lines.append(text))
        return "\n".join(lines)

    def logits(self, x: np.ndarray) -> Array:
        return np.array(self.infer(self.put(x, np.zeros(len(x), np.int32))), np.float64)

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        found = gradients(self.room.engine, self.model, *self.put(x, y))
        arrays = {id(variable): array for variable, array in zip(self.model.trainable_variables, found, strict=True)}
        return {path: self._ours(path, lambda variable: arrays[id(variable)]) for path in self.workload.parameters()}

    def weights(self) -> dict[str, Array]:
        return {path: self._ours(path, _array) for path in self.places}

    def _ours(self, path: str, values: Callable[[Any], Array]) -> Array:
        return read(self.places[path], self.shapes[path], values)

    def losses(self) -> Array:
        values = np.array(self._losses, np.float64)
        self._losses.clear()
        return values


def _array(variable: Any) -> Array:
    return np.array(keras.ops.convert_to_numpy(variable), np.float64)
