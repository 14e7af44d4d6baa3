"""A workload's own seeded samples, for which no data set is needed: the same on every machine. NumPy alone."""

import numpy as np

from bench.workload import Workload

Samples = tuple[np.ndarray, np.ndarray]
AT_ONCE = 256  # images: in fp64 all of a large batch would take forty times the bytes that are kept


def draw(workload: Workload, generator: np.random.Generator, count: int) -> Samples:
    """`count` samples, uint8 images or int32 tokens, and labels: `(count, ...)` each."""
    return _tokens(workload, generator, count) if workload.vocabulary else _images(workload, generator, count)


def _images(workload: Workload, generator: np.random.Generator, count: int) -> Samples:
    """Noise around a mean image of each class, so that there is something to learn. A later position is a class on."""
    labels = np.arange(count) % workload.classes
    shape = (28, 28) if workload.takes_28x28() else workload.input
    means = generator.random((min(workload.classes, count), *shape))
    images = np.empty((count, *shape), np.uint8)
    for at in range(0, count, AT_ONCE):
        part = labels[at : at + AT_ONCE]
        images[at : at + AT_ONCE] = np.rint(255 * (0.5 * means[part] + 0.5 * generator.random((len(part), *shape))))
    for positions in workload.labels():
        labels = (labels[:, None] + np.arange(positions)) % workload.classes
    return images, labels


def _tokens(workload: Workload, generator: np.random.Generator, count: int) -> Samples:
    """A few tokens are frequent and most are rare, as in text; which ones are frequent tells the class.

    Where each position has a label it is the next token, modulo the number of classes.
    """
    (length,), vocabulary = workload.input, workload.vocabulary
    classes = np.arange(count) % workload.classes
    drawn = np.floor(vocabulary * generator.random((count, length + 1)) ** 3).astype(np.int64)
    shifted = (drawn + (classes * vocabulary // workload.classes)[:, None]) % vocabulary
    tokens = shifted[:, :-1].astype(np.int32)
    return tokens, shifted[:, 1:] % workload.classes if workload.labels() else classes
