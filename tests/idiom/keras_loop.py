"""Models as a Keras user trains them batch by batch: stock layers and optimisers, on the engine that was chosen before.

It is what bench's Keras adapter is held against: see compare.py. Knows nothing of bench. Its Adam is Keras's own.
"""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import keras
import numpy as np
from keras import layers
from sizes import BLOCKS, FEATURES, HEADS, POSITIONS, VOCABULARY

Step = Callable[[Any], Any]
Loop = tuple[Step, Step, Iterator[Any], Callable[[], None]]
CHOICES: dict[tuple[str, str], dict[str, Any]] = {  # engine and mode
    ("torch", "eager"): {},
    ("torch", "compiled"): {"jit_compile": True},
    ("tensorflow", "graph"): {"jit_compile": False},
    ("tensorflow", "eager"): {"run_eagerly": True},
    ("tensorflow", "compiled"): {"jit_compile": True},
    ("jax", "compiled"): {},
}


class Positions(layers.Layer):
    """A learned row for each position, added."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=shape[1:])

    def call(self, x: Any) -> Any:
        return x + self.table


def mlp() -> Any:
    return keras.Sequential([keras.Input((784,)), layers.Dense(128, activation="relu"), layers.Dense(10)])


def cnn() -> Any:
    parts: list[Any] = [keras.Input((28, 28, 1))]
    for filters in (32, 64):
        parts += [layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
    parts += [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(10)]
    return keras.Sequential(parts)


def gpt() -> Any:
    tokens = keras.Input((POSITIONS,), dtype="int32")
    x = Positions()(layers.Embedding(VOCABULARY, FEATURES)(tokens))
    for _ in range(BLOCKS):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        x = x + layers.MultiHeadAttention(HEADS, FEATURES // HEADS)(y, y, use_causal_mask=True)
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.Dense(4 * FEATURES, activation=lambda z: keras.activations.gelu(z, approximate=True))(y)
        x = x + layers.Dense(FEATURES)(y)
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    return keras.Model(tokens, layers.Dense(VOCABULARY, use_bias=False)(x))


def make(model: str, mode: str, batch: int, x: np.ndarray, y: np.ndarray) -> Loop:
    """A training step, an inference step, the batches that both take, without end, and a fence.

    `x` is float32 (n, 784) or images, or int32 tokens (n, positions); `y` int32 (n,), or (n, positions) of tokens; each
    batch is `batch` rows of both.
    """
    engine = keras.backend.backend()
    if (engine, mode) not in CHOICES:
        raise ValueError(f"no mode '{mode}' in Keras on {engine}")
    net = {"mlp": mlp, "cnn": cnn, "gpt": gpt}[model]()
    momentum = 0.0 if model == "mlp" else 0.9
    optimiser = keras.optimizers.Adam(1e-3, beta_2=0.99) if model == "gpt" else keras.optimizers.SGD(0.01, momentum)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=optimiser, loss=loss, **CHOICES[engine, mode])
    put = keras.ops.convert_to_tensor
    starts = range(0, len(x), batch)
    feed = cycle([(put(x[i : i + batch]), put(y[i : i + batch])) for i in starts])

    def train(batch: Any) -> Any:
        return net.train_on_batch(*batch)

    def infer(batch: Any) -> Any:
        return net.predict_on_batch(batch[0])

    def fence() -> None:
        # Both steps bring what they made to the host; the last variable is moved last.
        keras.ops.convert_to_numpy(net.trainable_variables[-1])

    return train, infer, feed, fence
