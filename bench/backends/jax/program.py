"""The workload as a careful JAX user would run it: one jitted step on lists of arrays, its buffers donated."""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from bench import augmentation
from bench.backends.jax import device, loader
from bench.backends.jax.augment import augment
from bench.backends.jax.layers import modules
from bench.backends.jax.optimiser import optimiser
from bench.layers import Conv2D
from bench.placement import Array
from bench.program import Settings
from bench.workload import Workload

# Of the arithmetic; what is kept is fp32, or fp64. TF32 is a switch of the process: see device.py.
DTYPES = {"fp32": jnp.float32, "tf32": jnp.float32, "bf16": jnp.bfloat16, "fp64": jnp.float64}
HELD = 4  # of a step's arguments: parameters, moments, state, count
Batch = tuple[Any, ...]


class JaxProgram:
    """See `bench.program.Program`."""

    def __init__(self, workload: Workload, settings: Settings) -> None:
        # A switch of the whole process: one program at a time is alive.
        jax.config.update("jax_enable_x64", settings.precision == "fp64")
        self.workload, self.settings = workload, settings
        self.device = jax.devices("gpu" if settings.device == "gpu" else "cpu")[0]
        self.stored = np.float64 if settings.precision == "fp64" else np.float32
        # Abstract: Flax's own initial weights are neither computed nor compiled, ours take their place.
        abstract, paths = modules(workload, DTYPES[settings.precision], self.stored)
        split: Any = nnx.split(abstract, nnx.Param, nnx.BatchStat, ...)
        self.graph, _, _, self.rest = split
        self.paths = {path: paths[path] for path in workload.parameters()}
        self.state_paths = {path: paths[path] for path in workload.state()}
        self.optimiser = optimiser(workload.optimiser, workload.recipe)
        weights = workload.weights(settings.seed)
        # Flax's State would be flattened in Python at every call, a plain list is in C. A dict is sorted by name,
        # biases before kernels, and XLA schedules the CNN's step in that order, 3 % slower on two cores than in ours.
        parameters, state = (
            [np.asarray(weights[path], self.stored) for path in paths] for paths in (self.paths, self.state_paths)
        )
        # Dropout's key is folded with a count inside the step, so that no call needs a new argument. Everything is
        # committed to the device: the first step's inputs must look like the second's, or it is compiled twice.
        arrays = (parameters, self.optimiser.init(parameters), state, np.zeros((), np.uint32))
        self.parameters, self.moments, self.state, self.count = jax.device_put(arrays, self.device)
        self.key = jax.random.key(settings.seed)
        self._losses: deque[Any] = deque(maxlen=32)
        self._pending: list[Any] = []
        self._moved = True  # since the last fence: at first the weights are on their way to the device
        self._compiled = device.compilations()
        several = settings.steps_per_call > 1
        self._jit = partial(jax.jit, compiler_options=_options(workload, settings))
        self._train = self._jit(self._steps if several else self._step, donate_argnums=range(HELD))
        self._infer = self._jit(self._passes if several else self._logits)

    def _model(self, parameters: list[Any], state: list[Any]) -> Any:
        weights = {path: nnx.Param(array) for path, array in zip(self.paths.values(), parameters, strict=True)}
        moved = {path: nnx.BatchStat(array) for path, array in zip(self.state_paths.values(), state, strict=True)}
        return nnx.merge(self.graph, nnx.State.from_flat_path(weights | moved), self.rest)

    def _loss(self, parameters: list[Any], state: list[Any], count: Any, x: Any, y: Any, *matrices: Any) -> Any:
        """The loss, and the state after it."""
        recipe = self.workload.recipe
        if recipe.augment:
            x = augment(x, *matrices)
        model = self._model(parameters, state)
        model.train()
        logits = model(x, rngs=nnx.Rngs(dropout=jax.random.fold_in(self.key, count))).astype(self.stored)
        if recipe.smoothing:
            shares = optax.smooth_labels(jax.nn.one_hot(y, self.workload.classes, dtype=logits.dtype), recipe.smoothing)
            loss = optax.softmax_cross_entropy(logits, shares).mean()
        else:
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        if recipe.l1:
            loss += recipe.l1 * sum(jnp.abs(array).sum() for array in parameters)
        moved = dict(nnx.to_flat_state(nnx.state(model, nnx.BatchStat)))
        return loss, [moved[path][...] for path in self.state_paths.values()]

    def _step(self, parameters: Any, moments: Any, state: Any, count: Any, *batch: Any) -> Any:
        slopes = jax.value_and_grad(self._loss, has_aux=True)
        (loss, state), gradients = slopes(parameters, state, count, *batch)
        updates, moments = self.optimiser.update(gradients, moments, parameters)
        return optax.apply_updates(parameters, updates), moments, state, count + jnp.uint32(1), loss

    def _steps(self, *arrays: Any) -> Any:
        """A step for each of the batches, and all their losses."""
        held, batches = arrays[:HELD], arrays[HELD:]

        def one(held: Any, batch: Batch) -> Any:
            *held, loss = self._step(*held, *batch)
            return tuple(held), loss

        held, losses = lax.scan(one, held, batches)
        return *held, losses

    def _logits(self, parameters: Any, state: Any, x: Any) -> Any:
        model = self._model(parameters, state)
        model.eval()
        return model(x).astype(self.stored)

    def _passes(self, parameters: Any, state: Any, x: Any) -> Any:
        return lax.map(lambda x: self._logits(parameters, state, x), x)

    def put(self, x: np.ndarray, y: np.ndarray) -> Batch:
        # Copies: JAX may borrow a host array that lies well, and then the batch would change with it. Of bf16 programs
        # too x is fp32: its rounding is part of the first product on the device, and slow in NumPy.
        samples = np.array(x, np.int32 if self.workload.vocabulary else self.stored)
        batch: tuple[np.ndarray, ...] = (samples, y.copy())
        if self.workload.recipe.augment:
            batch += (augmentation.decide(x).astype(self.stored),)
        return tuple(jax.device_put(array, self.device) for array in batch)

    def load(self, images: np.ndarray, labels: np.ndarray, size: int) -> Iterator[Batch]:
        return loader.load(images, labels, size, lambda x, y: self.put(self.workload.shape_samples(x), y))

    def train(self, batch: Batch) -> None:
        self.parameters, self.moments, self.state, self.count, loss = self._train(
            self.parameters, self.moments, self.state, self.count, *batch
        )
        self._losses.append(loss)
        self._moved = True

    def infer(self, batch: Batch) -> Any:
        logits = self._infer(self.parameters, self.state, batch[0])
        # Of a GPU's one stream the last is done last. Elsewhere independent calls may finish out of order, so that the
        # fence has to wait for each of them.
        if self.settings.device == "gpu":
            self._pending.clear()
        self._pending.append(logits)
        return logits

    def fence(self) -> None:
        # Inference moves none of these, and walking them takes its time.
        held = (self.parameters, self.moments, self.state, self.count) if self._moved else ()
        device.fence((held, list(self._losses), self._pending))
        self._pending.clear()
        self._moved = False

    def compilations(self) -> int:
        # Eager JAX hands XLA its primitives too, but has compiled no step: only a jitted one keeps programs of its own.
        jitted = all(hasattr(step, "_cache_size") for step in (self._train, self._infer))
        return device.compilations() - self._compiled if jitted else 0

    def kinds(self, logits: Any = None) -> dict[str, str]:
        arrays = self._named() | ({} if logits is None else {"logits": logits})
        return {path: device.kind(array) for path, array in arrays.items()}

    def peak_bytes(self) -> int | None:
        return device.peak_bytes(self.settings)

    def describe(self) -> str:
        return str(self._model(self.parameters, self.state))

    def logits(self, x: np.ndarray) -> Array:
        several = self.settings.steps_per_call > 1  # then one batch is a list of one
        logits = self.infer(self.put(x[None] if several else x, np.zeros(len(x), np.int32)))
        self.fence()
        return np.array(logits[0] if several else logits, np.float64)

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        slopes = self._jit(jax.grad(self._loss, has_aux=True))
        gradients, _ = slopes(self.parameters, self.state, self.count, *self.put(x, y))
        return _doubles(zip(self.paths, gradients, strict=True))

    def weights(self) -> dict[str, Array]:
        return _doubles(self._named().items())

    def losses(self) -> Array:
        values = np.concatenate([np.zeros(0), *(np.atleast_1d(np.asarray(loss, np.float64)) for loss in self._losses)])
        self._losses.clear()
        return values[-32:]

    def _named(self) -> dict[str, Any]:
        return dict(zip([*self.paths, *self.state_paths], [*self.parameters, *self.state], strict=True))


def _options(workload: Workload, settings: Settings) -> dict[str, bool | int] | None:
    """XLA's own defaults, but on a GPU where they crash, and in fp64, which is not timed: its search takes minutes."""
    if settings.device != "gpu":
        return None
    found: dict[str, bool | int] = {}
    if settings.precision == "fp64":
        found["xla_gpu_autotune_level"] = 0
    # Of a 1x1 convolution with a stride jaxlib 0.11.2 makes a product, and dies fusing it: triton_tiling_propagation.
    convolutions = [place.layer for place in workload.walk() if isinstance(place.layer, Conv2D)]
    if any(layer.kernel == 1 < layer.stride for layer in convolutions):
        found["xla_gpu_enable_triton_gemm"] = False
    return found or None


def _doubles(arrays: Iterable[tuple[str, Any]]) -> dict[str, Array]:
    return {path: np.array(array, np.float64) for path, array in arrays}
