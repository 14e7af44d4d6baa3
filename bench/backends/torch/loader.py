"""Samples in the host's memory through torch's own DataLoader. It knows no program: what becomes of a batch is told."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class Samples(Dataset[Any]):
    """As they lie on disk, made what the model takes a batch at a time: torch asks `__getitems__` for many at once."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, shape: Callable[[np.ndarray], np.ndarray]) -> None:
        self.images, self.labels, self.shape = images, labels, shape

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, wanted: list[int]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.shape(self.images[wanted])), torch.from_numpy(self.labels[wanted])


class Endless(Sampler[list[int]]):
    """Whole batches in the order of the file, over and over: an epoch that ends would start a new iterator."""

    def __init__(self, samples: int, size: int) -> None:
        self.samples, self.size = samples, size

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            for at in range(0, self.samples, self.size):
                yield list(range(at, at + self.size))


def load(samples: Samples, size: int, *, pinned: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of `size`, in this process: loader processes would take the cores that a step on a CPU needs."""
    order = Endless(len(samples), size)
    return iter(DataLoader(samples, batch_sampler=order, collate_fn=_as_it_is, pin_memory=pinned))


def _as_it_is(batch: Any) -> Any:
    return batch
