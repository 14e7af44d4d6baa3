"""A small causal language model: GPT-2's blocks (Radford et al. 2019), its head a Dense of its own."""

from bench.layers import GELU, Dense, Embedding, Layer, LayerNorm, PositionalEmbedding, Residual, SelfAttention
from bench.workload import SGD, Adam, Proof, Workload


def block(features: int, heads: int) -> tuple[Layer, ...]:
    return (
        Residual((LayerNorm(), SelfAttention(heads, causal=True))),
        Residual((LayerNorm(), Dense(4 * features), GELU(tanh=True), Dense(features))),
    )


def layers(vocabulary: int, features: int, heads: int, blocks: int) -> tuple[Layer, ...]:
    inner = (layer for _ in range(blocks) for layer in block(features, heads))
    head = (LayerNorm(), Dense(vocabulary, bias=False))
    return (Embedding(vocabulary, features), PositionalEmbedding(), *inner, *head)


WORKLOAD = Workload(
    name="gpt",
    description="6 blocks of 384 features and 6 heads, 256 characters of 65: nanoGPT's for Shakespeare; Adam",
    input=(256,),
    classes=65,
    layers=layers(65, 384, 6, 6),
    optimiser=Adam(rate=1e-3, b2=0.99),
    vocabulary=65,
    proof=Proof(batch=4, steps=3),
)
TINY = Workload(
    name="gpt_tiny",
    description="2 blocks of 32 features and 2 heads, 32 characters of 65, SGD with momentum",
    input=(32,),
    classes=65,
    layers=layers(65, 32, 2, 2),
    optimiser=SGD(rate=0.1, momentum=0.9),
    vocabulary=65,
    proof=Proof(batch=16, steps=20),
)
