"""Samples in the host's memory as a `keras.utils.PyDataset`, whichever engine is under it."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np


class Samples(keras.utils.PyDataset):
    """Batches of `size` by their number, made by `put` of samples as they lie on disk."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, size: int, put: Callable[..., Any]) -> None:
        super().__init__()  # no workers: `train_on_batch` is called in this thread, as its users do
        self.images, self.labels, self.size, self.put = images, labels, size, put

    def __len__(self) -> int:
        return len(self.labels) // self.size

    def __getitem__(self, number: int) -> Any:
        which = slice(number * self.size, (number + 1) * self.size)
        return self.put(self.images[which], self.labels[which])


def load(samples: Samples) -> Iterator[Any]:
    """In the order of the file, over and over."""
    while True:
        for number in range(len(samples)):
            yield samples[number]
