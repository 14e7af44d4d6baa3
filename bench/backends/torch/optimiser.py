"""The two optimisers as torch has them: its SGD and its Adam are exactly the algorithms that we state."""

from collections.abc import Iterable
from typing import assert_never

import torch
from torch import nn

from bench.workload import SGD, Adam, Optimiser


def optimiser(declared: Optimiser, parameters: Iterable[nn.Parameter], fused: bool) -> torch.optim.Optimizer:
    """`fused`: one kernel for all parameters, where that is the fastest of torch's own implementations."""
    match declared:
        case SGD(rate, momentum):
            return torch.optim.SGD(parameters, lr=rate, momentum=momentum, fused=fused, foreach=False)
        case Adam(rate, b1, b2, epsilon):
            return torch.optim.Adam(parameters, lr=rate, betas=(b1, b2), eps=epsilon, fused=fused, foreach=False)
        case _:
            assert_never(declared)
