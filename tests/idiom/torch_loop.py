"""The MLP and the CNN as a careful PyTorch user writes them today, in eager mode. Knows nothing of bench.

It is what bench's torch adapter is held against: see compare.py.
"""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Loop = tuple[Callable[[], Any], Callable[[], Any], Callable[[], None]]


def mlp() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def cnn() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def make(model: str, batch: int, x: np.ndarray, y: np.ndarray) -> Loop:
    """`step` and `infer` take the next batch of `x` (n, 784) or (n, 28, 28, 1), float32, and `y` (n,), int32."""
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    net, optimiser = {"mlp": mlp, "cnn": cnn}[model]()
    images = torch.tensor(x if model == "mlp" else x.transpose(0, 3, 1, 2).copy())
    labels = torch.tensor(y, dtype=torch.int64)
    batches = cycle(list(zip(images.split(batch), labels.split(batch), strict=True)))

    def step() -> torch.Tensor:
        images, labels = next(batches)
        optimiser.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(net(images), labels)
        loss.backward()
        optimiser.step()
        return loss.detach()

    @torch.inference_mode()
    def infer() -> torch.Tensor:
        logits: torch.Tensor = net(next(batches)[0])
        return logits

    def fence() -> None:
        """On a CPU every call returns when its work is done."""

    return step, infer, fence
