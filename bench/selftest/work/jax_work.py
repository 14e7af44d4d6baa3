"""An MLP's training step in JAX, and STEPWATCH_EXTRA small matrix products more."""

import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

EXTRA = int(os.environ.get("STEPWATCH_EXTRA", "0"))
BATCH = 512


def make_step():  # type: ignore[no-untyped-def]
    draw = np.random.default_rng(0)  # jax.random would compile each draw: seconds, in each of some 1 000 processes
    drawn = [0.05 * draw.standard_normal(shape, np.float32) for shape in ((784, 128), (128, 10))]
    weights = [jnp.asarray(array) for array in drawn]
    x, y = jnp.asarray(draw.random((BATCH, 784), np.float32)), jnp.asarray(draw.integers(0, 10, BATCH, np.int32))
    unit = jnp.asarray(np.eye(64, dtype=np.float32))

    def loss(weights, x, y):  # type: ignore[no-untyped-def]
        logits = jax.nn.relu(x @ weights[0]) @ weights[1]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

    @jax.jit
    def update(weights, x, y, unit):  # type: ignore[no-untyped-def]
        value, gradients = jax.value_and_grad(loss)(weights, x, y)
        more = lax.fori_loop(0, EXTRA, lambda _, m: m @ unit, unit)
        return [w - 0.01 * g for w, g in zip(weights, gradients, strict=True)], value, more

    def step():  # type: ignore[no-untyped-def]
        nonlocal weights
        weights, value, more = update(weights, x, y, unit)
        return value, more, weights

    return step
