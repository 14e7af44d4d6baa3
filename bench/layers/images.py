"""Words for images, channels-last: `(height, width, channels)`."""

from math import prod

from bench.errors import BenchError
from bench.layers.cost import Flops, Ranges, Shape, Traffic, Word, by_fan_in, parametric_traffic


class Conv2D(Word, frozen=True, tag=True):
    """Cross-correlation with a square kernel `(k, k, inputs, filters)`, bias `(filters,)`.

    `padding` is the number of zeros on each side, never a word: "same" puts the odd pixel on different sides in
    different frameworks.
    """

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    bias: bool = True

    def out(self, shape: Shape) -> Shape:
        height, width, _ = image_shape(self, shape, self.kernel, self.padding)
        return (self._positions(height), self._positions(width), self.filters)

    def _positions(self, size: int) -> int:
        return positions(size, self.kernel, self.stride, self.padding)

    def params(self, shape: Shape) -> dict[str, Shape]:
        kernel = {"kernel": (self.kernel, self.kernel, shape[2], self.filters)}
        return kernel | ({"bias": (self.filters,)} if self.bias else {})

    def initial(self, shape: Shape) -> Ranges:
        return by_fan_in(self.params(shape), self.kernel * self.kernel * shape[2])

    def flops(self, shape: Shape) -> Flops:
        outputs = prod(self.out(shape))
        product = 2 * outputs * self.kernel * self.kernel * shape[2]
        return Flops(product, product, product, outputs * self.bias, outputs * self.bias)

    def bytes(self, shape: Shape) -> Traffic:
        return parametric_traffic(shape, self.out(shape), self.params(shape))


class MaxPool(Word, frozen=True, tag=True):
    """The largest of each `size` x `size` window, `stride` apart; an incomplete window is dropped.

    `padding` pixels on each side are smaller than any number.
    """

    size: int = 2
    stride: int = 2
    padding: int = 0

    def out(self, shape: Shape) -> Shape:
        height, width, channels = image_shape(self, shape, self.size, self.padding)
        if 2 * self.padding > self.size:
            raise BenchError(f"{self} has windows of padding alone; wanted a padding of at most half its size")
        return (self._positions(height), self._positions(width), channels)

    def _positions(self, size: int) -> int:
        return positions(size, self.size, self.stride, self.padding)

    def flops(self, shape: Shape) -> Flops:
        outputs = prod(self.out(shape))
        # Backward adds each output's gradient to the one input that was largest.
        return Flops(elementwise_forward=outputs * (self.size * self.size - 1), elementwise_backward=outputs)

    def bytes(self, shape: Shape) -> Traffic:
        # Backward reads the output's gradient and the input (to find the largest again) and writes the input's.
        return Traffic(prod(shape) + prod(self.out(shape)), 2 * prod(shape) + prod(self.out(shape)))


class AveragePool(Word, frozen=True, tag=True):
    """The mean of each `size` x `size` window, `stride` apart, without padding; an incomplete window is dropped."""

    size: int = 2
    stride: int = 2

    def out(self, shape: Shape) -> Shape:
        height, width, channels = image_shape(self, shape, self.size, 0)
        return (
            positions(height, self.size, self.stride, 0),
            positions(width, self.size, self.stride, 0),
            channels,
        )

    def flops(self, shape: Shape) -> Flops:
        # Forward: the sum and one product an output. Backward: that product, added to every input of the window.
        outputs, window = prod(self.out(shape)), self.size * self.size
        return Flops(elementwise_forward=outputs * window, elementwise_backward=outputs * (1 + window))

    def bytes(self, shape: Shape) -> Traffic:
        both = prod(shape) + prod(self.out(shape))
        return Traffic(both, both)


class GlobalAveragePool(Word, frozen=True, tag=True):
    """The mean over all positions: `(height, width, channels)` or `(positions, channels)` to `(channels,)`."""

    def out(self, shape: Shape) -> Shape:
        if len(shape) not in (2, 3):
            raise BenchError(f"GlobalAveragePool wants an image or a sequence, found {shape}")
        return shape[-1:]

    def flops(self, shape: Shape) -> Flops:
        # Forward: the sum and one product a channel. Backward: that product, which every position gets as it is.
        return Flops(elementwise_forward=prod(shape), elementwise_backward=shape[-1])

    def bytes(self, shape: Shape) -> Traffic:
        both = prod(shape) + shape[-1]
        return Traffic(both, both)


class Flatten(Word, frozen=True, tag=True):
    """`(height, width, channels)` to `(height * width * channels,)`, channels varying fastest; moves no data."""

    def out(self, shape: Shape) -> Shape:
        return (prod(shape),)


def positions(size: int, window: int, stride: int, padding: int) -> int:
    """Where a window fits along an axis of `size`, with `padding` on each side."""
    return (size + 2 * padding - window) // stride + 1


def image_shape(layer: Word, shape: Shape, size: int, padding: int) -> tuple[int, int, int]:
    """`shape` as (height, width, channels); a `BenchError` where it is not an image large enough for the window."""
    if len(shape) != 3:
        raise BenchError(f"{type(layer).__name__} wants an image (height, width, channels), found {shape}")
    height, width, channels = shape
    window = size - 2 * padding
    if min(height, width) < window:
        raise BenchError(f"{layer} wants an image of at least {window}x{window}, found {height}x{width}")
    return height, width, channels
