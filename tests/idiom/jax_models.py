"""ResNet-50 and a small GPT as a careful JAX user writes them: plain functions of nested lists. Knows no bench.

Each net is `net(parameters, statistics, x, training)`, which returns the logits and the statistics moved on.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from sizes import BLOCKS, FEATURES, HEADS, POSITIONS, STAGES, VOCABULARY, convolutions


def draws() -> Callable[[tuple[int, ...]], Any]:
    """One array after the other (He et al. 2015), each by a key of its own."""
    keys: Iterator[Any] = iter(jax.random.split(jax.random.key(0), 1000))
    initial = jax.nn.initializers.he_normal()
    return lambda shape: initial(next(keys), shape, jnp.float32)


def conv(x: Any, kernel: Any, stride: int = 1) -> Any:
    if kernel.shape[0] == 1:
        return product(x[:, ::stride, ::stride], kernel[0, 0])
    pad = kernel.shape[0] // 2
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=layout)


def batch_norm(x: Any, weights: Any, statistics: Any, training: bool) -> tuple[Any, Any]:
    scale, bias = weights
    mean, variance = moved = statistics
    if training:
        axes, n = (0, 1, 2), x.size // x.shape[-1]
        mean = jnp.mean(x, axes)
        variance = jnp.maximum(jnp.mean(jnp.square(x), axes) - jnp.square(mean), 0)
        moved = [0.9 * statistics[0] + 0.1 * mean, 0.9 * statistics[1] + 0.1 * variance * n / (n - 1)]
    factor = lax.rsqrt(variance + 1e-5) * scale
    return x * factor + (bias - mean * factor), moved


def resnet50() -> tuple[Any, Any, Callable[..., Any]]:
    """Parameters, statistics and the net."""
    draw = draws()
    shapes = convolutions()
    layers = [[draw(shape), [jnp.ones(shape[-1]), jnp.zeros(shape[-1])]] for shape, _ in shapes]
    statistics = [[jnp.zeros(shape[-1]), jnp.ones(shape[-1])] for shape, _ in shapes]
    strides = [stride for _, stride in shapes]

    def net(parameters: Any, statistics: Any, x: Any, training: bool) -> tuple[Any, Any]:
        layers, (kernel, bias) = parameters
        moved: list[Any] = []

        def layer(x: Any) -> Any:
            at = len(moved)
            weights, norm = layers[at]
            x, found = batch_norm(conv(x, weights, strides[at]), norm, statistics[at], training)
            moved.append(found)
            return x

        x = jax.nn.relu(layer(x))
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
        for _, blocks, _ in STAGES:
            for block in range(blocks):
                y = jax.nn.relu(layer(x))
                y = layer(jax.nn.relu(layer(y)))
                x = jax.nn.relu(y + (layer(x) if block == 0 else x))
        return x.mean((1, 2)) @ kernel + bias, moved

    return [layers, [draw((2048, 1000)), jnp.zeros(1000)]], statistics, net


def layer_norm(x: Any, weights: Any) -> Any:
    # JAX's own function is jitted for itself: XLA on a CPU takes half as long again over a backward pass without it.
    return jax.nn.standardize(x, epsilon=1e-5) * weights[0] + weights[1]


def product(x: Any, kernel: Any) -> Any:
    # As one matrix over all positions: of more axes XLA on a CPU turns both operands of a kernel's gradient in memory.
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], -1)


def dense(x: Any, weights: Any) -> Any:
    return product(x, weights[0]) + weights[1]


def attention(q: Any, k: Any, v: Any) -> Any:
    # Written out: on a CPU a training step by JAX's own dot_product_attention takes a tenth longer.
    positions, features = q.shape[1], q.shape[-1]
    scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) / features**0.5
    scores = jnp.where(jnp.tril(jnp.ones((positions, positions), bool)), scores, -jnp.inf)
    return jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores), v)


def gpt() -> tuple[Any, Any, Callable[..., Any]]:
    """Parameters, statistics (none) and the net."""
    draw, wide = draws(), 4 * FEATURES

    def drawn(inputs: int, outputs: int) -> Any:
        return [draw((inputs, outputs)), jnp.zeros(outputs)]

    def norm() -> Any:
        return [jnp.ones(FEATURES), jnp.zeros(FEATURES)]

    blocks = [
        [
            *(norm(), drawn(FEATURES, 3 * FEATURES), drawn(FEATURES, FEATURES)),
            *(norm(), drawn(FEATURES, wide), drawn(wide, FEATURES)),
        ]
        for _ in range(BLOCKS)
    ]
    parameters = [draw((VOCABULARY, FEATURES)), draw((POSITIONS, FEATURES)), blocks, norm()]
    parameters.append(draw((FEATURES, VOCABULARY)))

    def net(parameters: Any, statistics: Any, x: Any, training: bool) -> tuple[Any, Any]:
        tokens, places, blocks, last, head = parameters
        x = tokens[x] + places
        for ln1, qkv, out, ln2, up, down in blocks:
            n, positions, features = x.shape
            parts = jnp.split(dense(layer_norm(x, ln1), qkv), 3, axis=-1)
            q, k, v = (part.reshape(n, positions, HEADS, -1) for part in parts)
            attended = attention(q, k, v).reshape(n, positions, features)
            x = x + dense(attended, out)
            x = x + dense(jax.nn.gelu(dense(layer_norm(x, ln2), up), approximate=True), down)
        return product(layer_norm(x, last), head), statistics

    return parameters, [], net
