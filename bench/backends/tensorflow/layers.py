"""Each word of the vocabulary in TensorFlow's own operations, and where its parameters lie."""

from typing import Any, assert_never

import tensorflow as tf

from bench.backends.tensorflow.attention import self_attention
from bench.backends.tensorflow.contractions import conv1d, conv2d, dense
from bench.backends.tensorflow.images import average_pool, flatten, global_average_pool, max_pool
from bench.backends.tensorflow.normalisation import batch_norm, layer_norm
from bench.backends.tensorflow.plain import dropout, gelu
from bench.backends.tensorflow.recurrent import gru, lstm
from bench.backends.tensorflow.sequences import by_sample, embedding, enter_tokens, from_samples, positional_embedding
from bench.backends.tensorflow.target import Operation, Target
from bench.layers import (
    GELU,
    GRU,
    LSTM,
    AveragePool,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    MaxPool,
    PositionalEmbedding,
    ReLU,
    Residual,
    SelfAttention,
    Shape,
)
from bench.placement import Array, Placement
from bench.workload import Placed, Workload

IN_PLACE = (ReLU, GELU, Dropout)  # each value by itself, whatever its place


class Model(tf.Module):
    """The layers in their order; `variables_by_path` holds each parameter and state with its placement."""

    def __init__(self, workload: Workload, weights: dict[str, Array], target: Target) -> None:
        super().__init__()
        self.weights, self.target = weights, target
        self.variables_by_path: dict[str, tuple[Any, Placement]] = {}
        self.operations = [*self._enter(workload), *self._chain(workload.placed()), *self._leave(workload)]

    def __call__(self, x: Any, training: bool) -> Any:
        for operation in self.operations:
            x = operation(x, training)
        return x

    def _enter(self, workload: Workload) -> list[Operation]:
        target = self.target
        if workload.vocabulary:
            return [enter_tokens(target)]
        found: list[Operation] = [] if target.kept is target.product else [lambda x, training: target.operand(x)]
        if len(workload.input) == 2:
            found.append(lambda x, training: from_samples(x, target))
        return found

    def _leave(self, workload: Workload) -> list[Operation]:
        target, labels = self.target, workload.labels()
        found: list[Operation] = [] if target.kept is target.product else [lambda x, training: target.exact(x)]
        if labels:
            found.append(lambda x, training: by_sample(x, labels[0], target))
        return found

    def _chain(self, places: tuple[Placed, ...]) -> list[Operation]:
        operations: list[Operation] = []
        turned: Shape = ()  # the image that a Flatten left channels-first, for the Dense behind it
        for index, place in enumerate(places):
            found = self._variables(place, turned)
            if isinstance(place.layer, Flatten):
                turned = place.enters if self._may_turn(place, places[index + 1 :]) else ()
            elif not isinstance(place.layer, IN_PLACE):
                turned = ()
            operations.append(self._operation(place, found, turned))
        return operations

    def _may_turn(self, place: Placed, behind: tuple[Placed, ...]) -> bool:
        first = next((p.layer for p in behind if not isinstance(p.layer, IN_PLACE)), None)
        return self.target.channels_first and len(place.enters) == 3 and isinstance(first, Dense)

    def _variables(self, place: Placed, turned: Shape) -> dict[str, Any]:
        layer, shape = place.layer, place.enters
        found: dict[str, Any] = {}
        for names, trainable in ((layer.params(shape), True), (layer.state(shape), False)):
            for name, size in names.items():
                path, placement = f"{place.path}.{name}", _placement(name, size, turned)
                found[name] = tf.Variable(
                    placement.to_framework(self.weights[path]),
                    dtype=self.target.kept,
                    name=path.replace(".", "_"),
                    trainable=trainable,
                )
                self.variables_by_path[path] = (found[name], placement)
        return found

    def _operation(self, place: Placed, found: dict[str, Any], turned: Shape) -> Operation:
        target, layer, enters = self.target, place.layer, place.enters
        match layer:
            case Dense():
                return dense(found, target)
            case Conv2D():
                return conv2d(layer, found, target)
            case Conv1D():
                return conv1d(layer, enters[0], found, target)
            case MaxPool():
                return max_pool(layer, target)
            case AveragePool():
                return average_pool(layer, target)
            case GlobalAveragePool():
                return global_average_pool(enters, target)
            case Flatten():
                return flatten(enters, target, turned=bool(turned))
            case ReLU():
                return lambda x, training: tf.nn.relu(x)
            case GELU(tanh):
                return gelu(tanh=tanh)
            case Dropout(rate):
                return dropout(rate, target)
            case BatchNorm():
                return batch_norm(layer, enters, found, target)
            case LayerNorm():
                return layer_norm(layer, enters, found, target)
            case Embedding():
                return embedding(found, target)
            case PositionalEmbedding():
                return positional_embedding(place, found, target)
            case SelfAttention():
                return self_attention(layer, enters, found, target)
            case LSTM():
                return lstm(layer, enters, found, target)
            case GRU():
                return gru(layer, enters, found, target)
            case Residual():
                return _residual(self._chain(place.body), self._chain(place.shortcut))
            case _:
                assert_never(layer)


def _residual(body: list[Operation], shortcut: list[Operation]) -> Operation:
    def add(x: Any, training: bool) -> Any:
        ends = []
        for branch in (body, shortcut):
            y = x
            for operation in branch:
                y = operation(y, training)
            ends.append(y)
        return ends[0] + ends[1]

    return add


def _placement(name: str, shape: Shape, turned: Shape) -> Placement:
    if name == "kernel" and turned:
        # The flattened image arrives channels-first: turn the kernel once, here, instead of the image at every step.
        return Placement("hwco->chwo", (*turned, shape[-1]), shape)
    axes = "hwio"[-len(shape) :]
    return Placement(f"{axes}->{axes}", shape, shape)
