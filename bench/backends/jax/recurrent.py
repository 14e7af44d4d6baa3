"""LSTM and GRU: the input's product for all positions at once, then a scan over them; Flax's cells make one each."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax, nn

from bench.backends.jax.products import Linear


class LongShortTerm(nnx.Module):
    """Gates are the columns i, f, g, o. Both states are fp32 or wider."""

    def __init__(self, features: int, units: int, *, sequences: bool, **kinds: Any) -> None:
        self.sequences = sequences
        self.outer = Linear(features, 4 * units, **kinds)
        self.inner = nnx.Linear(units, 4 * units, use_bias=False, **kinds)

    def __call__(self, x: Any) -> Any:
        outer = self.outer(x.swapaxes(0, 1))  # position by position: what a scan takes and gives

        def step(states: Any, outer: Any) -> Any:
            h, c = states
            i, f, g, o = jnp.split((outer + self.inner(h)).astype(c.dtype), 4, axis=-1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            h = nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h.astype(outer.dtype) if self.sequences else None

        zeros = _zeros(outer, 4)
        (h, _), every = lax.scan(step, (zeros, zeros), outer)
        return every.swapaxes(0, 1) if self.sequences else h


class GatedRecurrent(nnx.Module):
    """Gates are the columns r, z, n; the reset gate comes after the product. The state is fp32 or wider."""

    def __init__(self, features: int, units: int, *, sequences: bool, **kinds: Any) -> None:
        self.sequences = sequences
        self.outer = Linear(features, 3 * units, **kinds)
        self.inner = nnx.Linear(units, 3 * units, **kinds)

    def __call__(self, x: Any) -> Any:
        outer = self.outer(x.swapaxes(0, 1))

        def step(h: Any, outer: Any) -> Any:
            (r, z, n), (hr, hz, hn) = (jnp.split(part.astype(h.dtype), 3, axis=-1) for part in (outer, self.inner(h)))
            r, z = nn.sigmoid(r + hr), nn.sigmoid(z + hz)
            h = (1 - z) * jnp.tanh(n + r * hn) + z * h
            return h, h.astype(outer.dtype) if self.sequences else None

        h, every = lax.scan(step, _zeros(outer, 3), outer)
        return every.swapaxes(0, 1) if self.sequences else h


def _zeros(outer: Any, gates: int) -> Any:
    """The first state, of a product for all positions `(positions, n, gates * units)`."""
    _, n, columns = outer.shape
    return jnp.zeros((n, columns // gates), jnp.promote_types(outer.dtype, jnp.float32))
