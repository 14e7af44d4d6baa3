"""A JAX model as a `Program`: Stepwatch hands it seeded batches of `input` and `classes`; it waits by itself."""

import jax
import jax.numpy as jnp


def loss(weights, x, y):
    logits = jax.nn.relu(x @ weights["w1"]) @ weights["w2"]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()


@jax.jit
def update(weights, x, y):
    gradients = jax.grad(loss)(weights, x, y)
    return jax.tree.map(lambda w, g: w - 0.01 * g, weights, gradients)


class Program:
    batch, input, classes = 64, (784,), 10

    def __init__(self):
        one, two = jax.random.split(jax.random.key(0))
        shapes = {"w1": (one, (784, 128)), "w2": (two, (128, 10))}
        self.now = {name: 0.05 * jax.random.normal(key, shape) for name, (key, shape) in shapes.items()}

    def put(self, x, y):
        return jax.device_put(x), jax.device_put(y)

    def train(self, batch):
        self.now = update(self.now, *batch)

    def weights(self):
        return self.now

    def fence(self):
        jax.block_until_ready(self.now)
