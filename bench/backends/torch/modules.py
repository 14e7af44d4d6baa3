"""Modules for those words, or orders of axes, of which torch has only the parts. They know nothing of workloads."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class FlattenChannelsLast(nn.Module):
    """Flatten of a channels-last image, in its own order: a view, where nn.Flatten would copy to channels-first."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class Turn(nn.Module):
    """`(n, positions, features)` to `(n, features, positions)` or back, as a view."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class Mean(nn.Module):
    """The mean over `axes`, which go."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.axes)

    def extra_repr(self) -> str:
        return f"axes={self.axes}"


class BatchNormLast(nn.BatchNorm1d):
    """Of the last axis: every position is a sample more, so that nothing is turned."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view(x.shape)


class BatchNormOne(nn.BatchNorm1d):
    """Where a sample has one value a channel: of one alone, which torch refuses, the variance is 0, as of two alike."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() > 2:
            return self.forward(x.flatten(1)).view(x.shape)
        if self.training and len(x) == 1:
            return super().forward(x.expand(2, -1))[:1]
        return super().forward(x)


class PositionalEmbedding(nn.Module):
    """`x + table`, in whatever order both lie."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table

    def extra_repr(self) -> str:
        return f"{tuple(self.table.shape)}"


class SelfAttention(nn.Module):
    """One product to queries, keys and values, torch's own fused attention, one product behind it."""

    def __init__(self, features: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(features, 3 * features)
        self.out = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        n, positions, features = x.shape
        # Views: (n, heads, positions, features a head) of one array.
        q, k, v = self.qkv(x).view(n, positions, 3, self.heads, features // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        gathered: Tensor = self.out(mixed.transpose(1, 2).reshape(n, positions, features))
        return gathered

    def extra_repr(self) -> str:
        return f"heads={self.heads}, causal={self.causal}"


class Recurrent(nn.Module):
    """What an LSTM or a GRU gives at every position, or at the last alone."""

    def __init__(self, rnn: nn.LSTM | nn.GRU, sequences: bool) -> None:
        super().__init__()
        self.rnn, self.sequences = rnn, sequences

    def forward(self, x: Tensor) -> Tensor:
        every: Tensor = self.rnn(x)[0]
        return every if self.sequences else every[:, -1]

    def extra_repr(self) -> str:
        return f"sequences={self.sequences}"


class Residual(nn.Module):
    """`body(x) + shortcut(x)`; without a shortcut x itself. `in_place`: the sum takes the place of the body's array.

    That wants a body whose last backward pass does not read what it gave, and one dtype on both sides in autocast.
    """

    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential | None, *, in_place: bool) -> None:
        super().__init__()
        self.body, self.shortcut, self.in_place = body, shortcut, in_place

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.body(x)
        skipped: Tensor = x if self.shortcut is None else self.shortcut(x)
        return added.add_(skipped) if self.in_place else added + skipped


class LayerNormChannels(nn.LayerNorm):
    """Of an image's channels, at every position; the image keeps its order in memory."""

    def forward(self, x: Tensor) -> Tensor:
        normed = super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed.contiguous() if x.is_contiguous() else normed
