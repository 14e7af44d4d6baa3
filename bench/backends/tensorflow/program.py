"""The workload as a careful TensorFlow user would run it."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from bench import augmentation
from bench.backends.tensorflow import device, loader
from bench.backends.tensorflow.augment import augment
from bench.backends.tensorflow.calls import Concrete, several
from bench.backends.tensorflow.layers import Model
from bench.backends.tensorflow.optimiser import optimiser
from bench.backends.tensorflow.target import target
from bench.layers import GRU, LSTM, Conv1D, Conv2D
from bench.placement import Array
from bench.program import Settings
from bench.workload import Workload

Batch = tuple[Any, ...]


class TensorFlowProgram:
    """See `bench.program.Program`."""

    def __init__(self, workload: Workload, settings: Settings) -> None:
        self.workload, self.settings = workload, settings
        self.target = target(settings, time_first=_has(workload, LSTM | GRU))
        self.device = "/GPU:0" if settings.device == "gpu" else "/CPU:0"
        self.input_dtype = tf.int32 if workload.vocabulary else self.target.kept
        tf.random.set_seed(settings.seed)
        with tf.device(self.device):
            self.model = Model(workload, workload.weights(settings.seed), self.target)
            self.variables = [self.model.variables_by_path[path][0] for path in workload.parameters()]
            self.update = optimiser(workload.optimiser, self.variables, workload.recipe)
        self._losses: deque[Any] = deque(maxlen=-(-32 // settings.steps_per_call))
        self._functions: tuple[Any, ...] = ()
        self._train: Any
        self._infer: Any
        unrolled = settings.mode == "compiled" and settings.device == "cpu" and _has(workload, Conv2D | Conv1D)
        self._train, self._infer = (
            several(function, settings.steps_per_call, self.target.kept, unrolled=unrolled)
            for function in (self._step, self._logits)
        )
        if settings.mode != "eager":
            options = {"jit_compile": settings.mode == "compiled", "autograph": False}
            functions = tuple(tf.function(f, **options) for f in (self._train, self._infer))
            self._functions = functions
            self._train, self._infer = map(Concrete, functions)
        device.reset_peak(settings)

    def _loss(self, x: Any, y: Any, *matrices: Any) -> Any:
        recipe = self.workload.recipe
        if recipe.augment:
            x = augment(x, *matrices, channels_first=self.target.channels_first)
        logits = self.model(x, training=True)
        if recipe.smoothing:
            even = recipe.smoothing / self.workload.classes
            shares = tf.one_hot(y, self.workload.classes, 1 - recipe.smoothing + even, even, dtype=logits.dtype)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=shares, logits=logits))
        else:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
        if recipe.l1:
            sums = [tf.reduce_sum(tf.abs(variable)) for variable in self.variables]
            loss += tf.constant(recipe.l1, loss.dtype) * tf.add_n(sums)
        return loss

    def _gradients(self, *batch: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            loss = self._loss(*batch)
        found = tape.gradient(loss, self.variables)
        # An embedding's is a list of rows, several for one token, whose sum is made here, once.
        return loss, [tf.convert_to_tensor(one) if isinstance(one, tf.IndexedSlices) else one for one in found]

    def _step(self, *batch: Any) -> Any:
        with tf.device(self.device):
            loss, gradients = self._gradients(*batch)
            self.update(gradients)
        return loss

    def _logits(self, x: Any) -> Any:
        with tf.device(self.device):
            return self.model(x, training=False)

    def put(self, x: np.ndarray, y: np.ndarray) -> Batch:
        if self.workload.recipe.augment:
            matrices = augmentation.decide(x)
        if self.settings.layout == "nchw":
            x = np.ascontiguousarray(np.moveaxis(x, -1, -3))
        with tf.device(self.device):
            batch = tf.constant(x, self.input_dtype), tf.constant(y, tf.int32)
            return (*batch, tf.constant(matrices, self.target.kept)) if self.workload.recipe.augment else batch

    def load(self, images: np.ndarray, labels: np.ndarray, size: int) -> Iterator[Batch]:
        def shape(x: Any, y: Any) -> Batch:
            if not self.workload.vocabulary:
                x = tf.reshape(tf.cast(x, tf.float32) / 255.0, (size, *self.workload.input))
            batch: Batch = tf.cast(x, self.input_dtype), tf.cast(y, tf.int32)
            if self.workload.recipe.augment:
                found = tf.numpy_function(augmentation.decide, [x], tf.float64)
                batch += (tf.ensure_shape(tf.cast(found, self.target.kept), (size, 2, 3)),)
            if self.settings.layout == "nchw":
                batch = (tf.transpose(batch[0], (0, 3, 1, 2)), *batch[1:])
            return batch

        return loader.load(images, labels, size, shape, self.device)

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
        graph = (
            tf.function(self._logits, autograph=False)
            .get_concrete_function(tf.TensorSpec(shape, self.input_dtype))
            .graph
        )
        lines = [f"{op.type:<12} {op.outputs[0].shape}" for op in graph.get_operations() if op.outputs]
        return "\n".join(line for line in lines if not line.startswith(("Const", "Placeholder")))

    def logits(self, x: np.ndarray) -> Array:
        """With several steps in a call, of as many batches alike: it is the `infer` that is timed."""
        count, y = self.settings.steps_per_call, np.zeros(len(x), np.int32)
        if count == 1:
            return np.array(self.infer(self.put(x, y)).numpy(), np.float64)
        return np.array(self.infer(self.put(np.stack([x] * count), y))[-1].numpy(), np.float64)

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        function = self._gradients
        if self.settings.mode != "eager":
            function = tf.function(function, jit_compile=self.settings.mode == "compiled", autograph=False)
        state = [self.model.variables_by_path[path][0] for path in self.workload.state()]
        with tf.device(self.device):
            before = [tf.identity(variable) for variable in state]
            _, gradients = function(*self.put(x, y))
            for variable, value in zip(state, before, strict=True):
                variable.assign(value)  # a look at the gradients moves nothing
        return self._ours(dict(zip(self.workload.parameters(), gradients, strict=True)))

    def weights(self) -> dict[str, Array]:
        return self._ours({path: variable for path, (variable, _) in self.model.variables_by_path.items()})

    def _ours(self, tensors: dict[str, Any]) -> dict[str, Array]:
        shapes, variables = self.workload.parameters() | self.workload.state(), self.model.variables_by_path
        return {
            path: variables[path][1].from_framework(np.array(tensor.numpy(), np.float64), shapes[path])
            for path, tensor in tensors.items()
        }

    def losses(self) -> Array:
        values = [value for losses in self._losses for value in np.ravel(losses.numpy())]
        self._losses.clear()
        return np.array(values[-32:], np.float64)


def _has(workload: Workload, kinds: Any) -> bool:
    return any(isinstance(place.layer, kinds) for place in workload.walk())
