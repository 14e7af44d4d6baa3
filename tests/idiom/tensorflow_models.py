"""ResNet-50 and a small GPT as a careful TensorFlow user writes them without Keras. Knows no bench."""

from typing import Any

import numpy as np
import tensorflow as tf
from sizes import BLOCKS, FEATURES, HEADS, POSITIONS, STAGES, VOCABULARY, convolutions


def drawn(*shape: int) -> Any:
    """He et al. 2015."""
    return tf.Variable(tf.random.normal(shape, stddev=(2 / np.prod(shape[:-1])) ** 0.5))


def constant(value: float, *shape: int) -> Any:
    return tf.Variable(tf.fill(shape, value))


class ResNet50(tf.Module):
    momentum = 0.9

    def __init__(self) -> None:
        super().__init__()
        shapes = convolutions()
        self.layers = [(drawn(*s), stride, constant(1.0, s[-1]), constant(0.0, s[-1])) for s, stride in shapes]
        self.running = [(constant(0.0, s[-1]), constant(1.0, s[-1])) for s, _ in shapes]
        self.kernel, self.bias = drawn(2048, 1000), constant(0.0, 1000)
        self.parameters = [a for kernel, _, *norm in self.layers for a in (kernel, *norm)] + [self.kernel, self.bias]

    def __call__(self, x: Any, training: bool = False) -> Any:
        layers = iter(range(len(self.layers)))

        def layer(x: Any) -> Any:
            at = next(layers)
            (kernel, stride, scale, bias), (mean, variance) = self.layers[at], self.running[at]
            pad = kernel.shape[0] // 2
            padding = [[0, 0], [pad, pad], [pad, pad], [0, 0]] if pad else "VALID"
            x = tf.nn.conv2d(x, kernel, stride, padding)
            if not training:
                found, _, _ = tf.compat.v1.nn.fused_batch_norm(
                    x, scale, bias, mean, variance, epsilon=1e-5, is_training=False
                )
                return found
            found, batch_mean, batch_variance = tf.compat.v1.nn.fused_batch_norm(x, scale, bias, epsilon=1e-5)
            mean.assign(0.9 * mean + 0.1 * batch_mean)
            variance.assign(0.9 * variance + 0.1 * batch_variance)
            return found

        x = tf.pad(tf.nn.relu(layer(x)), [[0, 0], [1, 1], [1, 1], [0, 0]])  # 0 is the least there is behind a ReLU
        x = tf.nn.max_pool2d(x, 3, 2, "VALID")
        for _, blocks, _ in STAGES:
            for block in range(blocks):
                y = tf.nn.relu(layer(x))
                y = layer(tf.nn.relu(layer(y)))
                x = tf.nn.relu(y + (layer(x) if block == 0 else x))
        return tf.reduce_mean(x, (1, 2)) @ self.kernel + self.bias


def layer_norm(x: Any, scale: Any, bias: Any) -> Any:
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, bias, scale, 1e-5)


class GPT(tf.Module):
    """Trained by Adam: see tensorflow_loop.py."""

    momentum = None

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = drawn(VOCABULARY, FEATURES), drawn(POSITIONS, FEATURES)
        self.blocks = []
        for _ in range(BLOCKS):
            norms = [constant(value, FEATURES) for value in (1.0, 0.0, 1.0, 0.0)]
            sizes = ((FEATURES, 3 * FEATURES), (FEATURES, FEATURES), (FEATURES, 4 * FEATURES), (4 * FEATURES, FEATURES))
            self.blocks.append((norms, [(drawn(*size), constant(0.0, size[1])) for size in sizes]))
        self.norm = [constant(1.0, FEATURES), constant(0.0, FEATURES)]
        self.head = drawn(FEATURES, VOCABULARY)
        self.mask = tf.constant(np.triu(np.full((POSITIONS, POSITIONS), -1e9, np.float32), 1))
        inner = [a for norms, pairs in self.blocks for a in (*norms, *(one for pair in pairs for one in pair))]
        self.parameters = [self.tokens, self.places, *inner, *self.norm, self.head]

    def __call__(self, x: Any, training: bool = False) -> Any:
        x = tf.gather(self.tokens, x) + self.places
        n, positions, features = -1, POSITIONS, FEATURES
        for (s1, b1, s2, b2), ((qkv, c1), (out, c2), (up, c3), (down, c4)) in self.blocks:
            mixed = _dense(layer_norm(x, s1, b1), qkv, c1)
            q, k, v = tf.unstack(
                tf.transpose(tf.reshape(mixed, (n, positions, 3, HEADS, features // HEADS)), (2, 0, 3, 1, 4))
            )
            shares = tf.nn.softmax(tf.matmul(q * (features // HEADS) ** -0.5, k, transpose_b=True) + self.mask)
            attended = tf.reshape(tf.transpose(tf.matmul(shares, v), (0, 2, 1, 3)), (n, positions, features))
            x = x + _dense(attended, out, c2)
            x = x + _dense(tf.nn.gelu(_dense(layer_norm(x, s2, b2), up, c3), approximate=True), down, c4)
        return _dense(layer_norm(x, *self.norm), self.head)


def _dense(x: Any, kernel: Any, bias: Any = None) -> Any:
    """One product of all positions of all samples."""
    flat = tf.reshape(x, (-1, kernel.shape[0])) @ kernel
    return tf.reshape(flat if bias is None else flat + bias, (-1, POSITIONS, kernel.shape[1]))
