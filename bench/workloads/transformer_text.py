"""An encoder that tells the sentiment of a text: pre-norm blocks (Xiong et al. 2020), mean over positions."""

from bench.layers import (
    GELU,
    Dense,
    Dropout,
    Embedding,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    PositionalEmbedding,
    Residual,
    SelfAttention,
)
from bench.workload import Adam, Proof, Workload


def block(features: int, heads: int, rate: float) -> tuple[Layer, ...]:
    return (
        Residual((LayerNorm(), SelfAttention(heads), Dropout(rate))),
        Residual((LayerNorm(), Dense(4 * features), GELU(), Dense(features), Dropout(rate))),
    )


def layers(vocabulary: int, features: int, heads: int, blocks: int, rate: float) -> tuple[Layer, ...]:
    inner = (layer for _ in range(blocks) for layer in block(features, heads, rate))
    head = (LayerNorm(), GlobalAveragePool(), Dense(2))
    return (Embedding(vocabulary, features), PositionalEmbedding(), Dropout(rate), *inner, *head)


WORKLOAD = Workload(
    name="transformer_text",
    description="4 encoder blocks of 256 features and 4 heads, 256 tokens of 20,000, 2 classes, dropout 0.1, Adam",
    input=(256,),
    classes=2,
    layers=layers(20_000, 256, 4, 4, 0.1),
    optimiser=Adam(rate=1e-4),
    vocabulary=20_000,
    proof=Proof(batch=4, steps=5),
    epoch=25_000,  # the IMDB reviews that such models are known for
)
TINY = Workload(
    name="transformer_text_tiny",
    description="2 encoder blocks of 32 features and 2 heads, 32 tokens of 500, 2 classes, dropout 0.1, Adam",
    input=(32,),
    classes=2,
    layers=layers(500, 32, 2, 2, 0.1),
    optimiser=Adam(rate=1e-4),
    vocabulary=500,
    proof=Proof(batch=16, steps=20),
)
