"""Models as a careful JAX user trains them: plain functions under jit, Optax, donated buffers.

The large ones are in jax_models.py. It is what bench's JAX adapter is held against: see compare.py. Knows nothing of
bench.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax_models import gpt, resnet50

Step = Callable[[Any], Any]
Loop = tuple[Step, Step, Iterator[Any], Callable[[], None]]


def weights(*shapes: tuple[int, ...]) -> list[Any]:
    """A kernel (He et al. 2015) and a bias for each shape."""
    keys = jax.random.split(jax.random.key(0), len(shapes))
    initial = jax.nn.initializers.he_normal()
    return [(initial(key, shape, jnp.float32), jnp.zeros(shape[-1])) for key, shape in zip(keys, shapes, strict=True)]


def mlp(parameters: Any, x: Any) -> Any:
    (k1, b1), (k2, b2) = parameters
    return jax.nn.relu(x @ k1 + b1) @ k2 + b2


def cnn(parameters: Any, x: Any) -> Any:
    for kernel, bias in parameters[:2]:
        x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = lax.reduce_window(jax.nn.relu(x + bias), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return mlp(parameters[2:], x.reshape(len(x), -1))


def make(model: str, mode: str, batch: int, x: np.ndarray, y: np.ndarray) -> Loop:
    """A training step, an inference step, the batches that both take, without end, and a fence.

    `x` is float32 (n, 784) or images, or int32 tokens (n, positions); `y` int32 (n,), or (n, positions) of tokens; each
    batch is `batch` rows of both.
    """
    if mode != "compiled":
        raise ValueError(f"no mode '{mode}' in JAX; there is compiled, by jit")
    statistics: Any = []
    net: Callable[..., Any]
    if model in ("mlp", "cnn"):
        dense = {"mlp": (784, 128), "cnn": (3136, 128)}[model]
        parameters = weights(*([(3, 3, 1, 32), (3, 3, 32, 64)] if model == "cnn" else []), dense, (128, 10))
        plain = {"mlp": mlp, "cnn": cnn}[model]

        def net(parameters: Any, statistics: Any, x: Any, training: bool) -> Any:
            return plain(parameters, x), statistics
    else:
        parameters, statistics, net = {"resnet50": resnet50, "gpt": gpt}[model]()
    optimiser = optax.adam(1e-3, b2=0.99) if model == "gpt" else optax.sgd(0.01, None if model == "mlp" else 0.9)
    state = jax.device_put((parameters, optimiser.init(parameters), statistics), jax.devices()[0])
    pending: list[Any] = []
    starts = range(0, len(x), batch)
    feed = cycle([(jax.device_put(x[i : i + batch]), jax.device_put(y[i : i + batch])) for i in starts])

    def loss(parameters: Any, statistics: Any, images: Any, labels: Any) -> Any:
        logits, statistics = net(parameters, statistics, images, True)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), statistics

    @partial(jax.jit, donate_argnums=0)
    def update(state: Any, images: Any, labels: Any) -> Any:
        parameters, moments, statistics = state
        slopes = jax.value_and_grad(loss, has_aux=True)
        (value, statistics), gradients = slopes(parameters, statistics, images, labels)
        updates, moments = optimiser.update(gradients, moments, parameters)
        return (optax.apply_updates(parameters, updates), moments, statistics), value

    forward = jax.jit(lambda parameters, statistics, x: net(parameters, statistics, x, False)[0])

    def train(batch: Any) -> Any:
        nonlocal state
        state, value = update(state, *batch)
        return value

    def infer(batch: Any) -> Any:
        pending.append(forward(state[0], state[2], batch[0]))
        return pending[-1]

    def fence() -> None:
        jax.block_until_ready((state, pending))
        pending.clear()

    return train, infer, feed, fence
