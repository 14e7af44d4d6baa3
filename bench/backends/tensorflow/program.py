"""The workload as a careful TensorFlow user would run it."""

from collections import deque
from typing import Any

import numpy as np
import tensorflow as tf

from bench.backends.tensorflow import device
from bench.backends.tensorflow.layers import Model
from bench.backends.tensorflow.optimiser import optimiser
from bench.errors import Unsupported
from bench.placement import Array
from bench.program import Settings
from bench.workload import Workload

DTYPES = {"fp32": tf.float32, "fp64": tf.float64}
Batch = tuple[Any, Any]


class TensorFlowProgram:
    """See `bench.program.Program`."""

    def __init__(self, workload: Workload, settings: Settings) -> None:
        if settings.layout == "nchw" and settings.device == "cpu" and settings.mode != "compiled":
            raise Unsupported("TensorFlow has no channels-first pooling on a CPU outside XLA; use layout nhwc")
        self.workload, self.settings = workload, settings
        self.device = "/GPU:0" if settings.device == "gpu" else "/CPU:0"
        self.dtype = DTYPES[settings.precision]
        tf.random.set_seed(settings.seed)
        with tf.device(self.device):
            self.model = Model(workload, workload.weights(settings.seed), settings.layout, self.dtype)
            self.variables = [variable for variable, _ in self.model.variables_by_path.values()]
            self.update = optimiser(workload.optimiser, self.variables)
        self._losses: deque[Any] = deque(maxlen=32)
        self._functions: tuple[Any, ...] = ()
        self._train: Any = self._step
        self._infer: Any = self._logits
        if settings.mode != "eager":
            options = {"jit_compile": settings.mode == "compiled", "autograph": False}
            functions = tuple(tf.function(f, **options) for f in (self._step, self._logits))
            self._functions = functions
            self._train, self._infer = map(_Concrete, functions)
        device.reset_peak(settings)

    def _loss(self, x: Any, y: Any) -> Any:
        logits = self.model(x, training=True)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))

    def _gradients(self, x: Any, y: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            loss = self._loss(x, y)
        return loss, tape.gradient(loss, self.variables)

    def _step(self, x: Any, y: Any) -> Any:
        with tf.device(self.device):
            loss, gradients = self._gradients(x, y)
            self.update(gradients)
        return loss

    def _logits(self, x: Any) -> Any:
        with tf.device(self.device):
            return self.model(x, training=False)

    def put(self, x: np.ndarray, y: np.ndarray) -> Batch:
        if self.settings.layout == "nchw":
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        with tf.device(self.device):
            return tf.constant(x, self.dtype), tf.constant(y, tf.int32)

    def train(self, batch: Batch) -> None:
        self._losses.append(self._train(*batch))

    def infer(self, batch: Batch) -> Any:
        return self._infer(batch[0])

    def fence(self) -> None:
        device.fence()

    def compilations(self) -> int:
        steps = (self._train, self._infer) if self._functions else ()
        if self.settings.mode == "compiled" and not all(step.by_xla() for step in steps):
            return 0  # traced, but not compiled: the mode is what it is called only where XLA runs it
        return sum(function.experimental_get_tracing_count() for function in self._functions)

    def kinds(self, logits: Any = None) -> dict[str, str]:
        tensors = {path: variable for path, (variable, _) in self.model.variables_by_path.items()}
        tensors |= {} if logits is None else {"logits": logits}
        return {path: device.kind(tensor) for path, tensor in tensors.items()}

    def peak_bytes(self) -> int | None:
        return device.peak_bytes(self.settings)

    def describe(self) -> str:
        """The operations of the traced forward pass, with their shapes, for one sample."""
        shape = (1, *self.workload.input) if self.settings.layout != "nchw" else (1, *np.roll(self.workload.input, 1))
        graph = tf.function(self._logits, autograph=False).get_concrete_function(tf.TensorSpec(shape, self.dtype)).graph
        lines = [f"{op.type:<12} {op.outputs[0].shape}" for op in graph.get_operations() if op.outputs]
        return "\n".join(line for line in lines if not line.startswith(("Const", "Placeholder")))

    def logits(self, x: np.ndarray) -> Array:
        return np.array(self.infer(self.put(x, np.zeros(len(x), np.int32))).numpy(), np.float64)

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        function = self._gradients
        if self.settings.mode != "eager":
            function = tf.function(function, jit_compile=self.settings.mode == "compiled", autograph=False)
        with tf.device(self.device):
            _, gradients = function(*self.put(x, y))
        return self._ours(gradients)

    def weights(self) -> dict[str, Array]:
        return self._ours(self.variables)

    def _ours(self, tensors: list[Any]) -> dict[str, Array]:
        shapes = self.workload.parameters()
        return {
            path: placement.from_framework(np.array(tensor.numpy(), np.float64), shapes[path])
            for (path, (_, placement)), tensor in zip(self.model.variables_by_path.items(), tensors, strict=True)
        }

    def losses(self) -> Array:
        values = np.array([float(loss) for loss in self._losses], np.float64)
        self._losses.clear()
        return values


class _Concrete:
    """A tf.function called through its concrete function, which spares a fixed shape the search for its trace."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.shape: Any = None
        self.concrete: Any = None

    def by_xla(self) -> bool:
        """Whether the runtime must compile it by XLA, as its own definition says; True before the first call."""
        return self.concrete is None or bool(self.concrete.function_def.attr["_XlaMustCompile"].b)

    def __call__(self, *tensors: Any) -> Any:
        if tensors[0].shape != self.shape:
            self.shape = tensors[0].shape
            self.concrete = self.function.get_concrete_function(*tensors)
        return self.concrete(*tensors)
