"""The vocabulary: what a model may be made of, as frozen data.

A layer answers for its shapes, parameters, arithmetic and memory traffic. Shapes leave the batch out and are
channels-last: `(features,)` or `(height, width, channels)`. It knows no framework and no array.
"""

from math import prod

from msgspec import Struct

from bench.errors import BenchError

Shape = tuple[int, ...]


class Flops(Struct, frozen=True):
    """Floating-point operations of one layer for **one sample**; a multiply-add counts as two.

    `contraction_*` are matrix products and convolutions, taps that fall on padding included (as PyTorch's counter
    has it); `elementwise_*` is everything else: additions of a bias, comparisons, products with a mask.
    """

    contraction_forward: int = 0
    contraction_input_gradient: int = 0
    contraction_weight_gradient: int = 0
    elementwise_forward: int = 0
    elementwise_backward: int = 0


class Traffic(Struct, frozen=True):
    """Array elements a layer must move if it is one kernel each way, in elements (times item size: bytes).

    `*_sample` scales with the batch (activations and their gradients), `*_step` does not (parameters).
    """

    forward_sample: int
    backward_sample: int
    forward_step: int = 0
    backward_step: int = 0

    def bytes(self, batch: int, item_size: int) -> tuple[int, int]:
        """Bytes read and written by a forward and by a backward pass over `batch` samples."""
        return (
            item_size * (batch * self.forward_sample + self.forward_step),
            item_size * (batch * self.backward_sample + self.backward_step),
        )


class Dense(Struct, frozen=True, tag=True):
    """`y = x @ kernel + bias`; kernel `(inputs, units)`, bias `(units,)`."""

    units: int

    def out(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise BenchError(f"Dense wants a flat input (features,), found {shape}; put a Flatten before it")
        return (self.units,)

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {"kernel": (shape[0], self.units), "bias": (self.units,)}

    def flops(self, shape: Shape) -> Flops:
        product = 2 * shape[0] * self.units
        return Flops(product, product, product, self.units, self.units)

    def bytes(self, shape: Shape) -> Traffic:
        return parametric_traffic(self, shape)


class Conv2D(Struct, frozen=True, tag=True):
    """Cross-correlation with a square kernel `(k, k, inputs, filters)`, bias `(filters,)`.

    `padding` is the number of zeros on each side, never a word: "same" puts the odd pixel on different sides in
    different frameworks.
    """

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0

    def out(self, shape: Shape) -> Shape:
        height, width, _ = image_shape(self, shape)
        return (self._positions(height), self._positions(width), self.filters)

    def _positions(self, size: int) -> int:
        return (size + 2 * self.padding - self.kernel) // self.stride + 1

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {"kernel": (self.kernel, self.kernel, shape[2], self.filters), "bias": (self.filters,)}

    def flops(self, shape: Shape) -> Flops:
        outputs = prod(self.out(shape))
        product = 2 * outputs * self.kernel * self.kernel * shape[2]
        return Flops(product, product, product, outputs, outputs)

    def bytes(self, shape: Shape) -> Traffic:
        return parametric_traffic(self, shape)


class MaxPool(Struct, frozen=True, tag=True):
    """The largest of each `size` x `size` window, `stride` apart, without padding; an incomplete window is dropped."""

    size: int = 2
    stride: int = 2

    def out(self, shape: Shape) -> Shape:
        height, width, channels = image_shape(self, shape)
        return ((height - self.size) // self.stride + 1, (width - self.size) // self.stride + 1, channels)

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {}

    def flops(self, shape: Shape) -> Flops:
        outputs = prod(self.out(shape))
        # Backward adds each output's gradient to the one input that was largest.
        return Flops(elementwise_forward=outputs * (self.size * self.size - 1), elementwise_backward=outputs)

    def bytes(self, shape: Shape) -> Traffic:
        # Backward reads the output's gradient and the input (to find the largest again) and writes the input's.
        return Traffic(prod(shape) + prod(self.out(shape)), 2 * prod(shape) + prod(self.out(shape)))


class Flatten(Struct, frozen=True, tag=True):
    """`(height, width, channels)` to `(height * width * channels,)`, channels varying fastest; moves no data."""

    def out(self, shape: Shape) -> Shape:
        return (prod(shape),)

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {}

    def flops(self, shape: Shape) -> Flops:
        return Flops()

    def bytes(self, shape: Shape) -> Traffic:
        return Traffic(0, 0)


class ReLU(Struct, frozen=True, tag=True):
    """`max(x, 0)`, with gradient 0 at 0."""

    def out(self, shape: Shape) -> Shape:
        return shape

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {}

    def flops(self, shape: Shape) -> Flops:
        return Flops(elementwise_forward=prod(shape), elementwise_backward=prod(shape))

    def bytes(self, shape: Shape) -> Traffic:
        return Traffic(2 * prod(shape), 3 * prod(shape))


class Dropout(Struct, frozen=True, tag=True):
    """In training each value is zeroed with probability `rate`, the others divided by `1 - rate`; else the identity.

    The draw itself is not counted in `flops`: generators differ and none is arithmetic on the data.
    """

    rate: float

    def out(self, shape: Shape) -> Shape:
        return shape

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {}

    def flops(self, shape: Shape) -> Flops:
        return Flops(elementwise_forward=2 * prod(shape), elementwise_backward=2 * prod(shape))

    def bytes(self, shape: Shape) -> Traffic:
        return Traffic(3 * prod(shape), 3 * prod(shape))  # x, mask, y each way


Layer = Dense | Conv2D | MaxPool | Flatten | ReLU | Dropout


def parametric_traffic(layer: Dense | Conv2D, shape: Shape) -> Traffic:
    """Forward: read x and parameters, write y. Backward: read x, y's gradient, parameters; write both gradients."""
    inputs, outputs = prod(shape), prod(layer.out(shape))
    parameters = sum(prod(s) for s in layer.params(shape).values())
    return Traffic(inputs + outputs, 2 * inputs + outputs, parameters, 2 * parameters)


def image_shape(layer: Conv2D | MaxPool, shape: Shape) -> tuple[int, int, int]:
    """`shape` as (height, width, channels); a `BenchError` where it is not an image large enough for the layer."""
    if len(shape) != 3:
        raise BenchError(f"{type(layer).__name__} wants an image (height, width, channels), found {shape}")
    height, width, channels = shape
    window = layer.kernel - 2 * layer.padding if isinstance(layer, Conv2D) else layer.size
    if min(height, width) < window:
        raise BenchError(f"{layer} wants an image of at least {window}x{window}, found {height}x{width}")
    return height, width, channels
