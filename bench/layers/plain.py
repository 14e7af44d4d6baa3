"""Words for any shape: the matrix product on the last axis, activations, dropout."""

from math import prod

from bench.errors import BenchError
from bench.layers.cost import Flops, Ranges, Shape, Traffic, Word, by_fan_in, parametric_traffic


class Dense(Word, frozen=True, tag=True):
    """`y = x @ kernel + bias` on `(features,)` or on each of `(positions, features)`.

    Kernel `(inputs, units)`, bias `(units,)`.
    """

    units: int
    bias: bool = True

    def out(self, shape: Shape) -> Shape:
        if len(shape) not in (1, 2):
            raise BenchError(
                f"Dense wants a flat input (features,) or a sequence (positions, features), found {shape}; "
                "put a Flatten before it"
            )
        return (*shape[:-1], self.units)

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {"kernel": (shape[-1], self.units)} | ({"bias": (self.units,)} if self.bias else {})

    def initial(self, shape: Shape) -> Ranges:
        return by_fan_in(self.params(shape), shape[-1])

    def flops(self, shape: Shape) -> Flops:
        product, outputs = 2 * prod(shape) * self.units, prod(self.out(shape)) * self.bias
        return Flops(product, product, product, outputs, outputs)

    def bytes(self, shape: Shape) -> Traffic:
        return parametric_traffic(shape, self.out(shape), self.params(shape))


class ReLU(Word, frozen=True, tag=True):
    """`max(x, 0)`, with gradient 0 at 0."""

    def flops(self, shape: Shape) -> Flops:
        return Flops(elementwise_forward=prod(shape), elementwise_backward=prod(shape))

    def bytes(self, shape: Shape) -> Traffic:
        return Traffic(2 * prod(shape), 3 * prod(shape))


class GELU(Word, frozen=True, tag=True):
    """`x * P(x)` with the normal distribution's P (Hendrycks & Gimpel 2016): exact, or by their formula with tanh.

    `tanh`: `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`. PyTorch and Keras are exact by default, Flax is not.
    """

    tanh: bool = False

    def flops(self, shape: Shape) -> Flops:
        # exact: x/2, x/sqrt 2, erf, 1 +, product; backward P(x) + x p(x): 4 for P, square, scale, exp, scale, product,
        # sum, product with dy. tanh: the polynomial 5, tanh, 1 +, x/2, product; backward its derivative's 9 besides.
        forward, backward = (9, 18) if self.tanh else (5, 11)
        return Flops(elementwise_forward=forward * prod(shape), elementwise_backward=backward * prod(shape))

    def bytes(self, shape: Shape) -> Traffic:
        return Traffic(2 * prod(shape), 3 * prod(shape))


class Dropout(Word, frozen=True, tag=True):
    """In training each value is zeroed with probability `rate`, the others divided by `1 - rate`; else the identity.

    The draw itself is not counted in `flops`: generators differ and none is arithmetic on the data.
    """

    rate: float

    def flops(self, shape: Shape) -> Flops:
        return Flops(elementwise_forward=2 * prod(shape), elementwise_backward=2 * prod(shape))

    def bytes(self, shape: Shape) -> Traffic:
        return Traffic(3 * prod(shape), 3 * prod(shape))  # x, mask, y each way
