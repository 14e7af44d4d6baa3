"""Samples in the host's memory as JAX users feed them: NumPy's slices, put on the device ahead of the step.

JAX has no loader of its own. It knows no program: what becomes of a batch is told.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

AHEAD = 2  # batches that are on their way while a step runs


def load(
    images: np.ndarray, labels: np.ndarray, size: int, put: Callable[[np.ndarray, np.ndarray], Any]
) -> Iterator[Any]:
    """Batches of `size` in the order of the file, over and over. `put` returns before a GPU has its copy."""
    ahead: deque[Any] = deque()
    while True:
        for at in range(0, len(labels), size):
            ahead.append(put(images[at : at + size], labels[at : at + size]))
            if len(ahead) > AHEAD:
                yield ahead.popleft()
