"""Small workloads, a few for each word of the vocabulary: data that the tests of every backend share."""

import numpy as np
from msgspec.structs import replace

from bench.layers import (
    GELU,
    GRU,
    LSTM,
    AveragePool,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    MaxPool,
    PositionalEmbedding,
    ReLU,
    Residual,
    SelfAttention,
    Shape,
)
from bench.recipe import Recipe
from bench.workload import SGD, Adam, Optimiser, Proof, Workload

RATE = 0.1


def model(*layers: Layer, enters: Shape, classes: int = 5, tokens: int = 0, by: Optimiser | None = None) -> Workload:
    return Workload(
        "word", "", enters, classes, layers, by or SGD(RATE), vocabulary=tokens, proof=Proof(batch=6, steps=4)
    )


IMAGE, SEQUENCE, TOKENS = (9, 8, 3), (7, 6), (7,)
HEAD = (Flatten(), Dense(5))
WORDS = {
    "dense without bias": model(Dense(4, bias=False), Dense(5), enters=(3,)),
    "dense on a sequence": model(Dense(4), ReLU(), Flatten(), Dense(5), enters=SEQUENCE),
    "a label a position": model(Dense(4), ReLU(), Dense(5), enters=SEQUENCE),
    "conv2d without bias": model(Conv2D(4, 3, 2, 1, bias=False), ReLU(), *HEAD, enters=IMAGE),
    "conv2d of one pixel": model(Conv2D(4, 1, 2), ReLU(), *HEAD, enters=IMAGE),
    "maxpool with padding": model(Conv2D(4, 3), MaxPool(3, 2, padding=1), *HEAD, enters=IMAGE),
    "maxpool with padding of a dense image": model(MaxPool(2, 2, padding=1), *HEAD, enters=IMAGE),
    "averagepool": model(Conv2D(4, 3), AveragePool(2, 2), *HEAD, enters=IMAGE),
    "averagepool that overlaps": model(AveragePool(3, 2), *HEAD, enters=IMAGE),
    "globalaveragepool": model(Conv2D(4, 3), GlobalAveragePool(), Dense(5), enters=IMAGE),
    "globalaveragepool of a sequence": model(Dense(4), GlobalAveragePool(), Dense(5), enters=SEQUENCE),
    "batchnorm of images": model(Conv2D(4, 3, bias=False), BatchNorm(), ReLU(), *HEAD, enters=IMAGE),
    "batchnorm of numbers": model(Dense(4), BatchNorm(momentum=0.7, epsilon=1e-3), Dense(5), enters=(3,)),
    "batchnorm of a sequence": model(Dense(4), BatchNorm(), GlobalAveragePool(), Dense(5), enters=SEQUENCE),
    "batchnorm first": model(BatchNorm(), Conv2D(4, 3), *HEAD, enters=IMAGE),
    "batchnorm of one pixel": model(AveragePool(8, 8), BatchNorm(epsilon=1e-3), *HEAD, enters=IMAGE),
    "batchnorm biased": model(Dense(4), BatchNorm(unbiased=False), Dense(5), enters=(3,)),
    "layernorm": model(Dense(4), LayerNorm(), Dense(5), enters=(3,)),
    "layernorm of a sequence": model(Dense(4), LayerNorm(epsilon=1e-3), Dense(5), enters=SEQUENCE),
    "gelu": model(Dense(6), GELU(), Dense(5), enters=(3,)),
    "gelu by tanh": model(Dense(6), GELU(tanh=True), Dense(5), enters=(3,)),
    "gelu of images": model(Conv2D(4, 3), GELU(), *HEAD, enters=IMAGE),
    "embedding": model(Embedding(11, 4), Flatten(), Dense(5), enters=TOKENS, tokens=11),
    # Four kinds of tokens at seven places: each is there several times in every batch.
    "embedding, adam, repeated tokens": model(
        Embedding(4, 3), GlobalAveragePool(), Dense(5), enters=TOKENS, tokens=4, by=Adam(rate=0.05)
    ),
    "positionalembedding": model(
        *(Embedding(11, 4), PositionalEmbedding(), GlobalAveragePool(), Dense(5)), enters=TOKENS, tokens=11
    ),
    "selfattention": model(Dense(6), SelfAttention(3), GlobalAveragePool(), Dense(5), enters=SEQUENCE),
    "selfattention, causal": model(Embedding(5, 6), SelfAttention(2, True), Dense(5), enters=TOKENS, tokens=5),
    "conv1d": model(Conv1D(4, 3), ReLU(), Flatten(), Dense(5), enters=SEQUENCE),
    "conv1d with padding and stride": model(
        *(Conv1D(4, 5, 2, 2, bias=False), BatchNorm(), ReLU(), Conv1D(3, 3, 1, 1), GlobalAveragePool(), Dense(5)),
        enters=SEQUENCE,
    ),
    "conv1d after tokens": model(
        *(Embedding(11, 4), Conv1D(4, 3), ReLU(), Dense(3), Flatten(), Dense(5)), enters=TOKENS, tokens=11
    ),
    "conv1d before attention": model(
        *(Conv1D(4, 3), LayerNorm(), SelfAttention(2), Flatten(), Dense(5)), enters=SEQUENCE
    ),
    "lstm": model(LSTM(4), Dense(5), enters=SEQUENCE),
    "lstm of lstm": model(LSTM(4, sequences=True), LSTM(3), Dense(5), enters=SEQUENCE),
    "lstm of tokens": model(Embedding(11, 4), LSTM(4, sequences=True), Dense(5), enters=TOKENS, tokens=11),
    "gru": model(GRU(4), Dense(5), enters=SEQUENCE),
    "gru of gru": model(GRU(4, sequences=True), GRU(3), Dense(5), enters=SEQUENCE),
    "residual": model(Dense(4), Residual((Dense(6), ReLU(), Dense(4))), Dense(5), enters=(3,)),
    "residual with a shortcut": model(
        Conv2D(4, 3),
        Residual((Conv2D(6, 3, 2, 1, bias=False), BatchNorm(), ReLU()), (Conv2D(6, 1, 2), BatchNorm())),
        *(ReLU(), *HEAD),
        enters=IMAGE,
    ),
    "residual first, in a residual": model(
        Residual((Residual((Conv2D(3, 3, 1, 1),)), ReLU(), Conv2D(3, 3, 1, 1)), (Conv2D(3, 1),)), *HEAD, enters=IMAGE
    ),
    "residual of a sequence": model(
        *(
            Embedding(11, 4),
            Residual((LayerNorm(), SelfAttention(2))),
            Residual((LayerNorm(), Dense(8), GELU(), Dense(4))),
        ),
        *(LayerNorm(), GlobalAveragePool(), Dense(5)),
        enters=TOKENS,
        tokens=11,
        by=Adam(rate=0.01),
    ),
}

# A BatchNorm alone, of what TensorFlow's fused one is given: its outputs are the logits.
NORMALISED = {
    f"{what}, {'unbiased' if unbiased else 'biased'}": model(
        *(BatchNorm(0.7, 1e-3, unbiased), *rest), enters=enters, classes=classes
    )
    for what, enters, rest, classes in (
        ("images", (4, 3, 5), (Flatten(),), 60),
        ("a sequence", (7, 5), (), 5),
        ("numbers", (5,), (), 5),
    )
    for unbiased in (True, False)
}


def few_samples(workload: Workload, count: int) -> np.ndarray:
    """Of another mean and another deviation in each channel."""
    *_, channels = workload.input
    drawn = np.random.Generator(np.random.PCG64(count)).standard_normal((count, *workload.input))
    return (drawn * np.linspace(0.5, 2, channels) + np.linspace(-1, 1, channels)).astype(np.float32)


# What a compiler or another layout may get wrong: each word with parameters or windows once.
ELSEWHERE = (
    *("dense on a sequence", "conv2d without bias", "maxpool with padding", "averagepool that overlaps"),
    *("globalaveragepool", "batchnorm of images", "layernorm of a sequence", "gelu by tanh"),
    *("embedding, adam, repeated tokens", "selfattention, causal", "conv1d with padding and stride"),
    *("lstm of lstm", "gru of gru", "residual with a shortcut", "residual of a sequence"),
)
FEW = ("batchnorm of images", "selfattention, causal", "lstm of lstm", "residual with a shortcut")
KINDS = {
    "l1": Recipe(l1=0.01),
    "l2": Recipe(l2=0.1),
    "decay": Recipe(decay=0.1),
    "clip": Recipe(clip=0.05),
    "clip that lets all through": Recipe(clip=1e3),
    "smoothing": Recipe(smoothing=0.2),
    "schedule": Recipe(schedule=3),
    "all": Recipe(l1=0.01, l2=0.1, decay=0.1, clip=0.05, smoothing=0.2, schedule=3),
}
SOME = ("all", "augment", "smoothing of")  # that a compiler, another layout or Keras may get wrong
MADE = {
    **{
        f"{name}, {type(optimiser).__name__}": replace(
            # Without a bias before the BatchNorm: its gradient is rounding alone, of which Adam makes whole steps.
            model(Dense(6, bias=False), BatchNorm(), ReLU(), Dense(5), enters=(3,), by=optimiser),
            recipe=recipe,
        )
        for name, recipe in KINDS.items()
        for optimiser in (SGD(RATE), SGD(RATE, momentum=0.9), Adam(rate=0.05))
        if optimiser != SGD(RATE) or name in ("decay", "all")
    },
    "augment": replace(model(Conv2D(4, 3), ReLU(), *HEAD, enters=IMAGE), recipe=Recipe(augment=True)),
    "augment, one channel": replace(
        model(Conv2D(4, 3, 1, 1), MaxPool(2), *HEAD, enters=(8, 8, 1)), recipe=Recipe(augment=True, smoothing=0.1)
    ),
    "smoothing of a label a position": replace(WORDS["selfattention, causal"], recipe=Recipe(smoothing=0.1, clip=0.1)),
}
