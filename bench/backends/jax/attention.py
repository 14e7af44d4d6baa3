"""What Transformers have and Flax has otherwise: self-attention behind one product, and learned positions."""

from math import sqrt
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.lax import DotAlgorithmPreset

from bench.backends.jax.products import Linear


class Attention(nnx.Module):
    """`jax.nn.dot_product_attention` written out: that one takes its softmax in fp32 even of fp64 scores."""

    def __init__(self, features: int, heads: int, *, causal: bool, **kinds: Any) -> None:
        self.heads, self.causal = heads, causal
        self.qkv = Linear(features, 3 * features, **kinds)
        self.out = Linear(features, features, **kinds)

    def __call__(self, x: Any) -> Any:
        n, t, f = x.shape
        q, k, v = (part.reshape(n, t, self.heads, -1) for part in jnp.split(self.qkv(x), 3, axis=-1))
        # Scores are fp32 or wider. Told so, both gradients of bf16 heads are products of bf16 too.
        told: dict[str, Any] = {"precision": DotAlgorithmPreset.BF16_BF16_F32} if q.dtype == jnp.bfloat16 else {}
        wide = jnp.promote_types(q.dtype, jnp.float32)
        scores = jnp.einsum("nqhd,nkhd->nhqk", q, k, preferred_element_type=wide, **told) / sqrt(q.shape[-1])
        if self.causal:
            scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, jnp.finfo(wide).min)
        shares = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return self.out(jnp.einsum("nhqk,nkhd->nqhd", shares, v).reshape(n, t, f))


class Positions(nnx.Module):
    """A learned row for each position, added."""

    def __init__(self, shape: tuple[int, ...], *, dtype: Any, param_dtype: Any, rngs: nnx.Rngs) -> None:
        self.dtype = dtype
        self.table = nnx.Param(nnx.initializers.zeros_init()(rngs.params(), shape, param_dtype))

    def __call__(self, x: Any) -> Any:
        return x.astype(self.dtype) + self.table[...].astype(self.dtype)
