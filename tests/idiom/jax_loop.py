"""What a careful JAX user writes today with Flax and Optax, by hand; imports nothing of Stepwatch."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx


class Cnn(nnx.Module):
    def __init__(self, rngs):
        self.a = nnx.Conv(1, 32, (3, 3), rngs=rngs)
        self.b = nnx.Conv(32, 64, (3, 3), rngs=rngs)
        self.c = nnx.Linear(3136, 128, rngs=rngs)
        self.d = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        for conv in (self.a, self.b):
            x = nnx.max_pool(nnx.relu(conv(x)), (2, 2), (2, 2))
        return self.d(nnx.relu(self.c(x.reshape(x.shape[0], -1))))


class Mlp(nnx.Module):
    def __init__(self, rngs):
        self.a, self.b = nnx.Linear(784, 128, rngs=rngs), nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        return self.b(nnx.relu(self.a(x)))


def make(model, batch, x, y, threads):
    """(train, infer, fence) on one fixed batch: x float32 `(n, ...)` channels-last, y int32 `(n,)`."""
    graph, weights = nnx.split((Mlp if model == "mlp" else Cnn)(nnx.Rngs(0)))
    weights = nnx.to_pure_dict(weights)
    optimiser = optax.sgd(0.01, momentum=0.9 if model == "cnn" else None)
    images, labels = jnp.asarray(x), jnp.asarray(y)

    def forward(weights, x):
        state = nnx.state(nnx.eval_shape(lambda: (Mlp if model == "mlp" else Cnn)(nnx.Rngs(0))))
        nnx.replace_by_pure_dict(state, weights)
        return nnx.merge(graph, state)(x)

    def loss(weights, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(forward(weights, x), y).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(weights, moments, x, y):
        value, gradients = jax.value_and_grad(loss)(weights, x, y)
        updates, moments = optimiser.update(gradients, moments)
        return optax.apply_updates(weights, updates), moments, value

    logits = jax.jit(forward)
    # Everything that a burst leaves in flight, so that the fence can wait for all of it.
    held = {"state": (weights, optimiser.init(weights)), "out": []}

    def train():
        *state, value = step(*held["state"], images, labels)
        held["state"] = tuple(state)
        held["out"].append(value)

    def infer():
        held["out"].append(logits(held["state"][0], images))

    def fence():
        jax.block_until_ready(held)
        held["out"].clear()

    return train, infer, fence
