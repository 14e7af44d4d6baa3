"""Words that walk along a sequence, one position after the other, from a state of zeros."""

from math import prod

from bench.layers.cost import Flops, Ranges, Shape, Traffic, Word, by_fan_in
from bench.layers.sequences import sequence_shape


class LSTM(Word, frozen=True, tag=True):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with forget gates): columns i, f, g, o of four products.

    `i, f, o = sigmoid(...), g = tanh(...)` of `x @ kernel + h @ recurrent + bias`; `c <- f c + i g; h <- o tanh(c)`.
    One bias `(4 units,)`: PyTorch has two, of which the second stays at zero and is not trained. `sequences`: every
    h, `(positions, units)`; else the last, `(units,)`.
    """

    units: int
    sequences: bool = False

    def out(self, shape: Shape) -> Shape:
        length, _ = sequence_shape(self, shape)
        return (length, self.units) if self.sequences else (self.units,)

    def params(self, shape: Shape) -> dict[str, Shape]:
        u = self.units
        return {"kernel": (shape[-1], 4 * u), "recurrent": (u, 4 * u), "bias": (4 * u,)}

    def initial(self, shape: Shape) -> Ranges:
        return by_fan_in(self.params(shape), self.units)

    def flops(self, shape: Shape) -> Flops:
        # A unit and position: bias and sum of the products 8, gates 4, c 3, h 2. Backward: the gates' derivatives 12
        # and their products 4, h 4, c 5, the bias 4.
        return recurrent_flops(shape, self.units, 4, 17, 29)

    def bytes(self, shape: Shape) -> Traffic:
        return recurrent_traffic(shape, self.units, 4, self.params(shape))


class GRU(Word, frozen=True, tag=True):
    """Gated recurrent unit (Cho et al. 2014), the reset gate after the product: columns r, z, n of three products.

    `r, z = sigmoid(x @ kernel + bias + h @ recurrent + recurrent_bias)`;
    `n = tanh(x @ kernel + bias + r (h @ recurrent + recurrent_bias))`; `h <- (1 - z) n + z h`. Both biases are
    trained, as in PyTorch and Keras (`reset_after`). `sequences` as LSTM's.
    """

    units: int
    sequences: bool = False

    def out(self, shape: Shape) -> Shape:
        length, _ = sequence_shape(self, shape)
        return (length, self.units) if self.sequences else (self.units,)

    def params(self, shape: Shape) -> dict[str, Shape]:
        u = self.units
        return {
            "kernel": (shape[-1], 3 * u),
            "recurrent": (u, 3 * u),
            "bias": (3 * u,),
            "recurrent_bias": (3 * u,),
        }

    def initial(self, shape: Shape) -> Ranges:
        return by_fan_in(self.params(shape), self.units)

    def flops(self, shape: Shape) -> Flops:
        # A unit and position: biases and sums 9, r's product 1, gates 3, h 4. Backward: derivatives 9, products 4,
        # h 5, the biases 6.
        return recurrent_flops(shape, self.units, 3, 17, 24)

    def bytes(self, shape: Shape) -> Traffic:
        return recurrent_traffic(shape, self.units, 3, self.params(shape))


def recurrent_flops(shape: Shape, units: int, gates: int, forward: int, backward: int) -> Flops:
    """Of `gates` products each with x and with h; h's gradient is always needed, it stands with the weights'."""
    length, features = shape
    outer, inner = 2 * length * features * gates * units, 2 * length * units * gates * units
    elements = length * units
    return Flops(outer + inner, outer, outer + 2 * inner, forward * elements, backward * elements)


def recurrent_traffic(shape: Shape, units: int, gates: int, shapes: dict[str, Shape]) -> Traffic:
    """x's products at once, written and read; then one kernel that keeps its parameters and writes each h and gate."""
    length, _ = shape
    parameters, states = sum(prod(s) for s in shapes.values()), length * units
    forward = prod(shape) + 2 * gates * states + 2 * states
    return Traffic(forward, prod(shape) + forward + gates * states, parameters, 2 * parameters)
