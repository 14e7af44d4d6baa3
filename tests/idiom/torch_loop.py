"""What a careful PyTorch user writes today, by hand; imports nothing of Stepwatch."""

import torch
from torch import nn
from torch.nn import functional


def make(model, batch, x, y, threads):
    """(train, infer, fence) on one fixed batch: x float32 `(n, ...)` channels-last, y int32 `(n,)`."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    if model == "mlp":
        net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        images = torch.from_numpy(x)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    else:
        net = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(3136, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )
        images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
        optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    labels = torch.from_numpy(y).long()

    def train():
        optimiser.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(net(images), labels)
        loss.backward()
        optimiser.step()

    def infer():
        with torch.inference_mode():
            return net(images)

    return train, infer, lambda: None
