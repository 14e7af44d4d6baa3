"""An MLP's training step in torch, and STEPWATCH_EXTRA small matrix products more."""

import os

import torch
from torch import nn

EXTRA = int(os.environ.get("STEPWATCH_EXTRA", "0"))
BATCH = 512


def make_step():  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    weights = list(model.parameters())
    x, y = torch.rand(BATCH, 784), torch.randint(0, 10, (BATCH,))
    unit = torch.eye(64)

    def step():  # type: ignore[no-untyped-def]
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():  # by hand: making an SGD of torch.optim imports Dynamo, a second in each process
            for weight in weights:
                weight.sub_(0.01 * weight.grad)  # type: ignore[operator]
        more = unit
        for _ in range(EXTRA):
            more = more @ unit
        return loss, more

    return step
