"""A plain PyTorch training loop's step, as it stands in a script of your own."""

import torch
from torch import nn

BATCH = 64


def make_step():
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x, y = torch.rand(BATCH, 784, device=device), torch.randint(0, 10, (BATCH,), device=device)

    def step():
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        return loss  # what Stepwatch waits for

    return step
