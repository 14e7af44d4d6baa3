"""Words for sequences: tokens `(positions,)` become `(positions, features)`, which attention and Conv1D keep."""

from math import prod

from bench.errors import BenchError
from bench.layers.cost import Flops, Ranges, Shape, Traffic, Word, by_fan_in, parametric_traffic
from bench.layers.images import positions


class Embedding(Word, frozen=True, tag=True):
    """Rows of a table `(vocabulary, units)` by token: `(positions,)` to `(positions, units)`.

    Its gradient is a sum over the places where a token stands; the whole table is updated, as every stock optimiser
    with momentum does.
    """

    vocabulary: int
    units: int

    def out(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise BenchError(f"Embedding wants tokens (positions,), found {shape}")
        return (*shape, self.units)

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {"table": (self.vocabulary, self.units)}

    def initial(self, shape: Shape) -> Ranges:
        return by_fan_in(self.params(shape), self.units)

    def flops(self, shape: Shape) -> Flops:
        return Flops(elementwise_backward=prod(self.out(shape)))

    def bytes(self, shape: Shape) -> Traffic:
        # Backward reads y's gradient, reads and writes the rows that it is added to, and writes the table's zeros.
        rows = prod(self.out(shape))
        return Traffic(shape[0] + 2 * rows, shape[0] + 3 * rows, 0, self.vocabulary * self.units)


class PositionalEmbedding(Word, frozen=True, tag=True):
    """`x + table`, a learned row `(positions, features)` for each position of the sequence."""

    def out(self, shape: Shape) -> Shape:
        return sequence_shape(self, shape)

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {"table": sequence_shape(self, shape)}

    def initial(self, shape: Shape) -> Ranges:
        return by_fan_in(self.params(shape), shape[-1])

    def flops(self, shape: Shape) -> Flops:
        return Flops(elementwise_forward=prod(shape), elementwise_backward=prod(shape))

    def bytes(self, shape: Shape) -> Traffic:
        return Traffic(2 * prod(shape), prod(shape), prod(shape), prod(shape))  # the input's gradient is y's own


class SelfAttention(Word, frozen=True, tag=True):
    """`softmax(q k' / sqrt(features / heads)) v` in each head (Vaswani et al. 2017), and a product of what they give.

    One product makes queries, keys and values: `qkv_kernel` `(features, 3 features)`, its columns all queries, then
    keys, then values, each by head. `causal`: no position sees a later one. No dropout inside.
    """

    heads: int
    causal: bool = False

    def out(self, shape: Shape) -> Shape:
        _, features = sequence_shape(self, shape)
        if features % self.heads:
            raise BenchError(f"{self} wants features that its heads divide, found {features}")
        return shape

    def params(self, shape: Shape) -> dict[str, Shape]:
        f = shape[-1]
        return {"qkv_kernel": (f, 3 * f), "qkv_bias": (3 * f,), "out_kernel": (f, f), "out_bias": (f,)}

    def initial(self, shape: Shape) -> Ranges:
        return by_fan_in(self.params(shape), shape[-1])

    def flops(self, shape: Shape) -> Flops:
        # Scores and mixed values are whole squares, causal or not, as the counters have them. What is behind the
        # first product always needs its gradient: it stands with the weights'.
        t, f = sequence_shape(self, shape)
        first, last, square = 6 * t * f * f, 2 * t * f * f, 4 * t * t * f
        # softmax an element: scale, maximum, difference, exp, sum, quotient; backward: product, sum, difference,
        # product, scale.
        scores, biases = self.heads * t * t, 4 * t * f
        return Flops(
            first + square + last, first, first + 2 * square + 2 * last, 6 * scores + biases, 5 * scores + biases
        )

    def bytes(self, shape: Shape) -> Traffic:
        # Three kernels: x to q, k, v; these to the heads' values, the scores never in memory; those to y.
        n, parameters = prod(shape), sum(prod(s) for s in self.params(shape).values())
        return Traffic(4 * n + 4 * n + 2 * n, 20 * n, parameters, 2 * parameters)


class Conv1D(Word, frozen=True, tag=True):
    """Cross-correlation along a sequence, kernel `(k, inputs, filters)`, bias `(filters,)`; `padding` as Conv2D's."""

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    bias: bool = True

    def out(self, shape: Shape) -> Shape:
        length, _ = sequence_shape(self, shape)
        if length < self.kernel - 2 * self.padding:
            raise BenchError(
                f"{self} wants a sequence of at least {self.kernel - 2 * self.padding} positions, found {length}"
            )
        return (positions(length, self.kernel, self.stride, self.padding), self.filters)

    def params(self, shape: Shape) -> dict[str, Shape]:
        kernel = {"kernel": (self.kernel, shape[-1], self.filters)}
        return kernel | ({"bias": (self.filters,)} if self.bias else {})

    def initial(self, shape: Shape) -> Ranges:
        return by_fan_in(self.params(shape), self.kernel * shape[-1])

    def flops(self, shape: Shape) -> Flops:
        outputs = prod(self.out(shape))
        product = 2 * outputs * self.kernel * shape[-1]
        return Flops(product, product, product, outputs * self.bias, outputs * self.bias)

    def bytes(self, shape: Shape) -> Traffic:
        return parametric_traffic(shape, self.out(shape), self.params(shape))


def sequence_shape(layer: Word, shape: Shape) -> tuple[int, int]:
    """`shape` as (positions, features); a `BenchError` where it is something else."""
    if len(shape) != 2:
        raise BenchError(f"{type(layer).__name__} wants a sequence (positions, features), found {shape}")
    return shape[0], shape[1]
