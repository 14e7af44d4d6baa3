"""The workload's layers joined by Keras's functional API, and where its parameters lie in them."""

from typing import Any

import keras

from bench.backends.keras.layers import layers
from bench.backends.keras.parameters import Pieces, pieces
from bench.layers import GELU, Conv1D, Conv2D, Dense, Layer, ReLU, Residual, SelfAttention
from bench.program import Settings
from bench.workload import Placed, Workload

# Take the activation behind them, as Keras users write it: as a layer of its own it is one more call in eager mode.
TAKES = Dense | Conv1D | Conv2D


def graph(workload: Workload, settings: Settings, engine: str) -> tuple[Any, Any, dict[str, Pieces]]:
    """Input and output of the model, and each path of a parameter or state to its place."""
    shape = workload.input
    if settings.layout == "nchw":
        shape = (shape[2], *shape[:2])
    enters = keras.Input(shape, dtype="int32" if workload.vocabulary else None)
    places: dict[str, Pieces] = {}

    def through(branch: tuple[Placed, ...], x: Any) -> Any:
        waiting = list(branch)
        while waiting:
            place = waiting.pop(0)
            taken = waiting and isinstance(place.layer, TAKES) and isinstance(waiting[0].layer, ReLU | GELU)
            x = word(place, x, waiting.pop(0).layer if taken else None)
        return x

    def word(place: Placed, x: Any, activation: Layer | None) -> Any:
        *before, layer = layers(place, settings, engine, activation)
        for other in before:
            x = other(x)
        match place.layer:
            case Residual():
                return layer([through(place.body, x), through(place.shortcut, x)])
            case SelfAttention(causal=causal):
                # JAX makes the softmax of its fused attention in fp32, in fp64 models too. There the proof goes by the
                # products that Keras has for those who ask for the scores.
                scores = engine == "jax" and settings.precision == "fp64"
                found = layer(x, x, use_causal_mask=causal, return_attention_scores=scores)
                x = found[0] if scores else found
            case _:
                x = layer(x)
        places.update(pieces(place, layer))
        return x

    leaves = through(workload.placed(), enters)
    if settings.precision == "bf16":
        # As Keras's guide to mixed precision has it.
        leaves = keras.layers.Activation("linear", dtype="float32")(leaves)
    return enters, leaves, places
