"""The workload as a careful JAX user would run it: one jitted step on a list of arrays, its buffers donated."""

from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from bench.backends.jax import device
from bench.backends.jax.layers import modules
from bench.backends.jax.optimiser import optimiser
from bench.placement import Array
from bench.program import Settings
from bench.workload import Workload

DTYPES = {"fp32": jnp.float32, "fp64": jnp.float64}
Batch = tuple[Any, Any]


class JaxProgram:
    """See `bench.program.Program`."""

    def __init__(self, workload: Workload, settings: Settings) -> None:
        # A switch of the whole process: one program at a time is alive.
        jax.config.update("jax_enable_x64", settings.precision == "fp64")
        self.workload, self.settings = workload, settings
        self.device = jax.devices("gpu" if settings.device == "gpu" else "cpu")[0]
        self.dtype = DTYPES[settings.precision]
        # Abstract: Flax's own initial weights are neither computed nor compiled, ours take their place.
        abstract, self.paths = modules(workload, self.dtype)
        split: Any = nnx.split(abstract, nnx.Param, ...)
        self.graph, _, self.rest = split
        self.optimiser = optimiser(workload.optimiser)
        weights = workload.weights(settings.seed)
        # Flax's State would be flattened in Python at every call, a plain list is in C. A dict is sorted by name,
        # biases before kernels, and XLA schedules the CNN's step in that order, 3 % slower on two cores than in ours.
        parameters = [np.asarray(weights[path], self.dtype) for path in self.paths]
        # Dropout's key is folded with a count inside the step, so that no call needs a new argument. Everything is
        # committed to the device: the first step's inputs must look like the second's, or it is compiled twice.
        state = (parameters, self.optimiser.init(parameters), np.zeros((), np.uint32))
        self.parameters, self.moments, self.count = jax.device_put(state, self.device)
        self.key = jax.random.key(settings.seed)
        self._losses: deque[Any] = deque(maxlen=32)
        self._pending: list[Any] = []
        self._compiled = device.compilations()
        self._train = jax.jit(self._step, donate_argnums=(0, 1, 2))
        self._infer = jax.jit(self._logits)

    def _model(self, parameters: list[Any]) -> Any:
        flat = {path: nnx.Param(array) for path, array in zip(self.paths.values(), parameters, strict=True)}
        return nnx.merge(self.graph, nnx.State.from_flat_path(flat), self.rest)

    def _named(self, arrays: list[Any]) -> dict[str, Any]:
        return dict(zip(self.paths, arrays, strict=True))

    def _loss(self, parameters: list[Any], count: Any, x: Any, y: Any) -> Any:
        model = self._model(parameters)
        model.train()
        logits = model(x, rngs=nnx.Rngs(dropout=jax.random.fold_in(self.key, count)))
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def _step(self, parameters: Any, moments: Any, count: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(self._loss)(parameters, count, x, y)
        updates, moments = self.optimiser.update(gradients, moments, parameters)
        return optax.apply_updates(parameters, updates), moments, count + jnp.uint32(1), loss

    def _logits(self, parameters: Any, x: Any) -> Any:
        model = self._model(parameters)
        model.eval()
        return model(x)

    def put(self, x: np.ndarray, y: np.ndarray) -> Batch:
        # Copies: JAX may borrow a host array that lies well, and then the batch would change with it.
        images = np.array(x, np.float64 if self.settings.precision == "fp64" else np.float32)
        return jax.device_put(images, self.device), jax.device_put(y.copy(), self.device)

    def train(self, batch: Batch) -> None:
        self.parameters, self.moments, self.count, loss = self._train(self.parameters, self.moments, self.count, *batch)
        self._losses.append(loss)

    def infer(self, batch: Batch) -> Any:
        logits = self._infer(self.parameters, batch[0])
        # Independent calls may finish out of order, so the fence has to wait for each of them.
        self._pending.append(logits)
        return logits

    def fence(self) -> None:
        device.fence((self.parameters, self.moments, self.count, list(self._losses), self._pending))
        self._pending.clear()

    def compilations(self) -> int:
        # Eager JAX hands XLA its primitives too, but has compiled no step: only a jitted one keeps programs of its own.
        jitted = all(hasattr(step, "_cache_size") for step in (self._train, self._infer))
        return device.compilations() - self._compiled if jitted else 0

    def kinds(self, logits: Any = None) -> dict[str, str]:
        arrays = self._named(self.parameters) | ({} if logits is None else {"logits": logits})
        return {path: device.kind(array) for path, array in arrays.items()}

    def peak_bytes(self) -> int | None:
        return device.peak_bytes(self.settings)

    def describe(self) -> str:
        return str(self._model(self.parameters))

    def logits(self, x: np.ndarray) -> Array:
        logits = self.infer(self.put(x, np.zeros(len(x), np.int32)))
        self.fence()
        return np.array(logits, np.float64)

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        gradients = jax.jit(jax.grad(self._loss))(self.parameters, self.count, *self.put(x, y))
        return {path: np.array(array, np.float64) for path, array in self._named(gradients).items()}

    def weights(self) -> dict[str, Array]:
        return {path: np.array(array, np.float64) for path, array in self._named(self.parameters).items()}

    def losses(self) -> Array:
        values = np.array([float(loss) for loss in self._losses], np.float64)
        self._losses.clear()
        return values
