"""Self-attention by two batched products and a softmax between them: TensorFlow has no fused one without Keras."""

from typing import Any

import numpy as np
import tensorflow as tf

from bench.backends.tensorflow.contractions import product
from bench.backends.tensorflow.sequences import by_sample, from_samples
from bench.backends.tensorflow.target import Operation, Target
from bench.layers import SelfAttention, Shape


def self_attention(layer: SelfAttention, enters: Shape, found: dict[str, Any], target: Target) -> Operation:
    positions, features = enters
    heads, size = layer.heads, features // layer.heads
    # Once, not at every step. A score this low is a share of exactly 0, and has no infinity to subtract.
    later = np.triu(np.full((positions, positions), target.kept.min), 1)
    mask = tf.constant(later, target.kept) if layer.causal else None

    def by_head(rows: Any) -> Any:
        """`(n, heads, positions, size)`."""
        whole = tf.reshape(by_sample(rows, positions, target), (-1, positions, heads, size))
        return tf.transpose(whole, (0, 2, 1, 3))

    def attend(x: Any, training: bool) -> Any:
        made = product(x, found["qkv_kernel"], found["qkv_bias"], target, training=training)
        queries, keys, values = (by_head(part) for part in tf.split(made, 3, axis=-1))
        # The factor is on the queries, of which there are fewer than scores.
        scores = target.exact(tf.matmul(queries * size**-0.5, keys, transpose_b=True))
        shares = tf.nn.softmax(scores if mask is None else scores + mask)
        mixed = tf.transpose(tf.matmul(target.operand(shares), values), (0, 2, 1, 3))
        mixed = from_samples(tf.reshape(mixed, (-1, positions, features)), target)
        return product(mixed, found["out_kernel"], found["out_bias"], target, training=training)

    return attend
