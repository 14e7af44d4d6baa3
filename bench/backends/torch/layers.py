"""Each word of the vocabulary as torch's own module, and where its parameters and its state lie."""

from collections.abc import Sequence
from math import prod
from typing import assert_never

from torch import nn

from bench.backends.torch import modules as own
from bench.backends.torch.order import Stack, channels_first, meets_dense, stacks
from bench.errors import Unsupported
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
from bench.placement import Placement
from bench.workload import Placed, Workload

Names = dict[str, tuple[str, Placement]]
# torch's name for what our words call otherwise, a table apart: that of positions is a module of our own.
THEIRS = {
    **{"kernel": "weight", "scale": "weight", "mean": "running_mean", "variance": "running_var"},
    **{"qkv_kernel": "qkv.weight", "qkv_bias": "qkv.bias", "out_kernel": "out.weight", "out_bias": "out.bias"},
}
RECURRENT = {"kernel": "weight_ih", "recurrent": "weight_hh", "bias": "bias_ih", "recurrent_bias": "bias_hh"}
# What gives an array of its own that its backward pass does not read: a ReLU behind it may write in its place.
FRESH = Dense | Conv2D | Conv1D | BatchNorm | Residual
SPECS = {1: "o->o", 2: "io->oi", 3: "wio->oiw", 4: "hwio->oihw"}  # by the number of axes, tables apart


def enters_channels_first(workload: Workload) -> bool:
    """Whether torch wants the last axis of what enters behind the batch: of images, and of some sequences."""
    return workload.has_layout() or (len(workload.input) == 2 and channels_first(workload.placed()) is True)


def modules(workload: Workload, layout: str) -> tuple[nn.Sequential, Names]:
    """The model, and for each path of a parameter or state torch's name for it and its placement."""
    builder = Builder(layout)
    places = workload.placed()
    model = builder.branch(places, "", first=enters_channels_first(workload))
    if len(places[-1].leaves) == 2 and builder.first:
        model.append(own.Turn())
    return model, builder.names


class Builder:
    """Goes through the words and notes the names. `first`: the sequence that the last one gave lies channels-first."""

    def __init__(self, layout: str) -> None:
        self.layout, self.first = layout, False
        self.names: Names = {}

    def branch(self, places: Sequence[Placed], prefix: str, *, first: bool) -> nn.Sequential:
        """One module after the other. `prefix` begins their parameters' names, `first` is of what enters."""
        self.first = first
        built: list[nn.Module] = []
        turned: Shape = ()  # what a Flatten has just flattened channels-first
        done = 0
        for stack in stacks(places):
            place, done = stack[0], done + len(stack)
            rest = places[done:]
            wanted = channels_first((place,))
            if isinstance(place.layer, Flatten) and not meets_dense(rest):
                wanted = False
            if len(place.enters) == 2 and wanted not in (None, self.first):
                built.append(own.Turn())
                self.first = not self.first
            if isinstance(place.layer, Flatten) and meets_dense(rest) and self._channels_first(place.enters):
                turned = place.enters
            name = f"{prefix}{len(built)}"
            fresh = done > len(stack) and isinstance(places[done - len(stack) - 1].layer, FRESH)
            built.append(self._module(stack, name, rest, fresh=fresh))
            for level, one in enumerate(stack):
                self._note(one, name, level, turned)
            if isinstance(place.layer, Dense):
                turned = ()
        return nn.Sequential(*built)

    def _channels_first(self, shape: Shape) -> bool:
        return self.layout == "nchw" if len(shape) == 3 else self.first

    def _module(self, stack: Stack, name: str, rest: Sequence[Placed], *, fresh: bool) -> nn.Module:
        place = stack[0]
        enters, image = place.enters, len(place.enters) == 3
        match place.layer:
            case Dense(units, bias):
                return nn.Linear(enters[-1], units, bias)
            case Conv2D(filters, kernel, stride, padding, bias):
                return nn.Conv2d(enters[-1], filters, kernel, stride, padding, bias=bias)
            case Conv1D(filters, kernel, stride, padding, bias):
                return nn.Conv1d(enters[-1], filters, kernel, stride, padding, bias=bias)
            case MaxPool(size, stride, padding):
                return nn.MaxPool2d(size, stride, padding)
            case AveragePool(size, stride):
                return nn.AvgPool2d(size, stride)
            case GlobalAveragePool():
                return own.Mean(*((2, 3) if image else (2,) if self.first else (1,)))
            case Flatten():
                # Behind a channels-first one the Dense has its kernel turned once, see `_note`.
                turns = image and not (self.layout == "nchw" and meets_dense(rest))
                return own.FlattenChannelsLast() if turns else nn.Flatten()
            case ReLU():
                return nn.ReLU(inplace=fresh)
            case GELU(tanh):
                return nn.GELU(approximate="tanh" if tanh else "none")
            case Dropout(rate):
                return nn.Dropout(rate)
            case BatchNorm(momentum, epsilon, unbiased):
                if not unbiased:
                    raise Unsupported(
                        "BatchNorm(unbiased=False): torch feeds its running variance n/(n-1) times the batch's; "
                        "declare unbiased=True, or take a backend that has both"
                    )
                last = len(enters) == 2 and not self.first
                kind = nn.BatchNorm2d if image else own.BatchNormLast if last else nn.BatchNorm1d
                if prod(enters[:-1]) == 1:
                    kind = own.BatchNormOne
                return kind(enters[-1], eps=epsilon, momentum=1 - momentum)
            case LayerNorm(epsilon):
                return (own.LayerNormChannels if image else nn.LayerNorm)(enters[-1], eps=epsilon)
            case Embedding(vocabulary, units):
                self.first = False
                return nn.Embedding(vocabulary, units)
            case PositionalEmbedding():
                return own.PositionalEmbedding(*(reversed(enters) if self.first else enters))
            case SelfAttention(heads, causal):
                return own.SelfAttention(enters[-1], heads, causal)
            case LSTM(units):
                lstm = nn.LSTM(enters[-1], units, len(stack), batch_first=True)
                for level in range(len(stack)):  # torch's second bias
                    lstm.get_parameter(f"bias_hh_l{level}").requires_grad_(False).zero_()
                return own.Recurrent(lstm, _sequences(stack))
            case GRU(units):
                return own.Recurrent(nn.GRU(enters[-1], units, len(stack), batch_first=True), _sequences(stack))
            case Residual():
                return self._residual(place, name)
            case _:
                assert_never(place.layer)

    def _residual(self, place: Placed, name: str) -> own.Residual:
        first = self.first
        body = self.branch(place.body, f"{name}.body.", first=first)
        last, self.first = self.first, first
        shortcut = self.branch(place.shortcut, f"{name}.shortcut.", first=first) if place.shortcut else None
        if len(place.leaves) == 2 and last != self.first:
            body.append(own.Turn())
        return own.Residual(body, shortcut, in_place=bool(place.body) and isinstance(place.body[-1].layer, BatchNorm))

    def _note(self, place: Placed, name: str, level: int, turned: Shape) -> None:
        """`level`: of a recurrent layer in its stack."""
        layer = place.layer
        for ours, shape in (layer.params(place.enters) | layer.state(place.enters)).items():
            spec, sizes, theirs = SPECS[len(shape)], shape, THEIRS.get(ours, ours)
            match layer:
                case LSTM() | GRU():
                    theirs = f"rnn.{RECURRENT[ours]}_l{level}"
                case Embedding():
                    spec, theirs = "vu->vu", "weight"
                case PositionalEmbedding():
                    spec = "pf->fp" if self.first else "pf->pf"
                case Dense() if turned and ours == "kernel":
                    # What arrives is flat and channels-first: no image is turned at run time.
                    sizes = (*turned, shape[1])
                    spec = "hwco->ochw" if len(turned) == 3 else "pco->ocp"
            left, right = spec.split("->")
            lies = tuple(sizes[left.index(axis)] for axis in right)
            self.names[f"{place.path}.{ours}"] = (
                f"{name}.{theirs}",
                Placement(spec, sizes, shape[::-1] if sizes != shape else lies),
            )


def _sequences(stack: Stack) -> bool:
    layer = stack[-1].layer
    return isinstance(layer, LSTM | GRU) and layer.sequences
