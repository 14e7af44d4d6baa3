"""An MLP's training step in JAX, and STEPWATCH_EXTRA small matrix products more."""

import os

import jax
import jax.numpy as jnp
from jax import lax

EXTRA = int(os.environ.get("STEPWATCH_EXTRA", "0"))
BATCH = 512


def make_step():  # type: ignore[no-untyped-def]
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = ((784, 128), (128, 10))
    weights = [0.05 * jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=False)]
    x, y = jax.random.uniform(keys[2], (BATCH, 784)), jax.random.randint(keys[3], (BATCH,), 0, 10)
    unit = jnp.eye(64)

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
