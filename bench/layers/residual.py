"""The word made of words: a block and its shortcut. With it the vocabulary is whole."""

from math import prod

from bench.errors import BenchError
from bench.layers.cost import Flops, Shape, Traffic, Word
from bench.layers.images import AveragePool, Conv2D, Flatten, GlobalAveragePool, MaxPool
from bench.layers.normalisation import BatchNorm, LayerNorm
from bench.layers.plain import GELU, Dense, Dropout, ReLU
from bench.layers.recurrent import GRU, LSTM
from bench.layers.sequences import Conv1D, Embedding, PositionalEmbedding, SelfAttention


class Residual(Word, frozen=True, tag=True):
    """`body(x) + shortcut(x)` (He et al. 2016); an empty shortcut is x itself. Costs speak of the sum alone."""

    body: tuple["Layer", ...]
    shortcut: tuple["Layer", ...] = ()

    def out(self, shape: Shape) -> Shape:
        ends = []
        for branch in (self.body, self.shortcut):
            leaves = shape
            for layer in branch:
                leaves = layer.out(leaves)
            ends.append(leaves)
        if ends[0] != ends[1]:
            raise BenchError(f"Residual's body ends in {ends[0]} and its shortcut in {ends[1]}; wanted the same shape")
        return ends[0]

    def flops(self, shape: Shape) -> Flops:
        # Backward: the gradients of both branches meet at x.
        return Flops(elementwise_forward=prod(self.out(shape)), elementwise_backward=prod(shape))

    def bytes(self, shape: Shape) -> Traffic:
        return Traffic(3 * prod(self.out(shape)), 3 * prod(shape))


Layer = (
    Dense
    | Conv2D
    | MaxPool
    | Flatten
    | ReLU
    | Dropout
    | BatchNorm
    | LayerNorm
    | GELU
    | Embedding
    | PositionalEmbedding
    | SelfAttention
    | Residual
    | GlobalAveragePool
    | AveragePool
    | Conv1D
    | LSTM
    | GRU
)
