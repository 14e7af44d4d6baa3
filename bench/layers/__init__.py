"""The vocabulary: what a model may be made of, as frozen data.

A layer answers for its shapes, parameters, arithmetic and memory traffic. Shapes leave the batch out and are
channels-last: `(features,)`, `(positions, features)` or `(height, width, channels)`. It knows no framework
and no array.
"""

from bench.layers.cost import Flops, Ranges, Shape, Traffic, Word
from bench.layers.images import AveragePool, Conv2D, Flatten, GlobalAveragePool, MaxPool
from bench.layers.normalisation import BatchNorm, LayerNorm
from bench.layers.plain import GELU, Dense, Dropout, ReLU
from bench.layers.recurrent import GRU, LSTM
from bench.layers.residual import Layer, Residual
from bench.layers.sequences import Conv1D, Embedding, PositionalEmbedding, SelfAttention

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "AveragePool",
    "BatchNorm",
    "Conv1D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Flops",
    "GlobalAveragePool",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "PositionalEmbedding",
    "Ranges",
    "ReLU",
    "Residual",
    "SelfAttention",
    "Shape",
    "Traffic",
    "Word",
]
