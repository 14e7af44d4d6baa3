"""Models as a careful TensorFlow user trains them without Keras. The large ones are in tensorflow_models.py.

`graph` is by tf.function, `compiled` by XLA, `eager` by neither. It is what bench's TensorFlow adapter is held against:
see compare.py. Knows nothing of bench.
"""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_models import GPT, ResNet50

Step = Callable[[Any], Any]
Loop = tuple[Step, Step, Iterator[Any], Callable[[], None]]


def weights(*shapes: tuple[int, ...]) -> list[Any]:
    """A kernel (He et al. 2015) and a bias for each shape."""
    made = []
    for shape in shapes:
        deviation = (2 / np.prod(shape[:-1])) ** 0.5
        made += [tf.Variable(tf.random.normal(shape, stddev=deviation)), tf.Variable(tf.zeros(shape[-1]))]
    return made


class MLP(tf.Module):
    momentum = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.parameters = weights((784, 128), (128, 10))

    def __call__(self, x: Any, training: bool = False) -> Any:
        k1, b1, k2, b2 = self.parameters
        return tf.nn.relu(x @ k1 + b1) @ k2 + b2


class CNN(tf.Module):
    momentum = 0.9

    def __init__(self) -> None:
        super().__init__()
        self.parameters = weights((3, 3, 1, 32), (3, 3, 32, 64), (3136, 128), (128, 10))

    def __call__(self, x: Any, training: bool = False) -> Any:
        c1, a1, c2, a2, k1, b1, k2, b2 = self.parameters
        x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, c1, 1, "SAME") + a1), 2, 2, "VALID")
        x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, c2, 1, "SAME") + a2), 2, 2, "VALID")
        x = tf.reshape(x, (-1, 3136))
        return tf.nn.relu(x @ k1 + b1) @ k2 + b2


def way(mode: str) -> Callable[[Any], Any]:
    """What that mode does to a function of tensors."""
    match mode:
        case "eager":
            return lambda function: function
        case "graph":
            return tf.function
        case "compiled":
            return tf.function(jit_compile=True)
        case _:
            raise ValueError(f"no mode '{mode}' in TensorFlow; there are graph, eager and compiled")


def make(model: str, mode: str, batch: int, x: np.ndarray, y: np.ndarray) -> Loop:
    """A training step, an inference step, the batches that both take, without end, and a fence.

    `x` is float32 (n, 784) or images, or int32 tokens (n, positions); `y` int32 (n,), or (n, positions) of tokens; each
    batch is `batch` rows of both.
    """
    traced = way(mode)
    tf.random.set_seed(0)
    net: Any = {"mlp": MLP, "cnn": CNN, "resnet50": ResNet50, "gpt": GPT}[model]()
    adam = net.momentum is None
    velocities = [tf.Variable(tf.zeros_like(p)) for p in net.parameters] if adam or net.momentum else []
    squares = [tf.Variable(tf.zeros_like(p)) for p in net.parameters] if adam else []
    steps = tf.Variable(0.0)
    starts = range(0, len(x), batch)
    feed = cycle([(tf.constant(x[i : i + batch]), tf.constant(y[i : i + batch])) for i in starts])

    @traced
    def update(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, net(images, training=True))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, net.parameters)
        if adam:
            t = steps.assign_add(1.0)
            first, second = 1e-3 / (1 - 0.9**t), 1 - 0.99**t
            for parameter, gradient, m, v in zip(net.parameters, gradients, velocities, squares, strict=True):
                gradient = tf.convert_to_tensor(gradient)  # of the embedding it is sparse
                m.assign(0.9 * m + 0.1 * gradient)
                v.assign(0.99 * v + 0.01 * tf.square(gradient))
                parameter.assign_sub(first * m / (tf.sqrt(v / second) + 1e-8))
            return loss
        if velocities:
            gradients = [v.assign(net.momentum * v + g) for v, g in zip(velocities, gradients, strict=True)]
        for parameter, gradient in zip(net.parameters, gradients, strict=True):
            parameter.assign_sub(0.01 * gradient)
        return loss

    forward = traced(net)
    return lambda batch: update(*batch), lambda batch: forward(batch[0]), feed, tf.test.experimental.sync_devices
