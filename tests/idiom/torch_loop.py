"""Models as a careful PyTorch user trains them today, `eager` and `compiled` by torch.compile.

The large ones are in torch_models.py. It is what bench's torch adapter is held against: see compare.py. Knows nothing
of bench.
"""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_models import gpt, resnet50

Step = Callable[[Any], Any]
Loop = tuple[Step, Step, Iterator[Any], Callable[[], None]]


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


def make(model: str, mode: str, batch: int, x: np.ndarray, y: np.ndarray) -> Loop:
    """A training step, an inference step, the batches that both take, without end, and a fence.

    `x` is float32 (n, 784) or images, or int32 tokens (n, positions); `y` int32 (n,), or (n, positions) of tokens; each
    batch is `batch` rows of both.
    """
    if mode not in ("eager", "compiled"):
        raise ValueError(f"no mode '{mode}' in PyTorch; there are eager and compiled")
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    net, optimiser = {"mlp": mlp, "cnn": cnn, "resnet50": resnet50, "gpt": gpt}[model]()
    images = torch.tensor(x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x)
    images = images.long() if model == "gpt" else images
    labels = torch.tensor(y, dtype=torch.int64)
    feed = cycle(list(zip(images.split(batch), labels.split(batch), strict=True)))

    def loss_of(images: Any, labels: Any) -> Any:
        return functional.cross_entropy(net(images), labels)

    def loss_of_positions(tokens: Any, labels: Any) -> Any:
        return functional.cross_entropy(net(tokens).flatten(0, 1), labels.flatten())

    if model == "gpt":
        loss_of = loss_of_positions

    forward: Any = net
    if mode == "compiled":
        # The backward pass is compiled with the loss; the optimiser stays outside, as in PyTorch's own tutorials.
        loss_of, forward = torch.compile(loss_of, fullgraph=True), torch.compile(net, fullgraph=True)

    def train(batch: Any) -> Any:
        if not net.training:
            net.train()
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(*batch)
        loss.backward()
        optimiser.step()
        return loss.detach()

    @torch.inference_mode()
    def infer(batch: Any) -> Any:
        if net.training:
            net.eval()
        return forward(batch[0])

    def fence() -> None:
        """On a CPU every call returns when its work is done."""

    return train, infer, feed, fence
