"""Words that normalise: over the batch, or over each sample's features."""

from math import prod

from bench.layers.cost import Flops, Ranges, Shape, Traffic, Word, around_identity


class BatchNorm(Word, frozen=True, tag=True):
    """`(x - mean) / sqrt(variance + epsilon) * scale + bias` for each channel (Ioffe & Szegedy 2015), the last axis.

    Training takes mean and biased variance of the batch and all positions, and moves the running ones, its state:
    `running <- momentum * running + (1 - momentum) * batch`, by which inference goes. `unbiased`: the running variance
    is fed `n/(n-1)` times the batch's, as PyTorch and TensorFlow's fused kernel do; Flax and Keras feed it as it is.
    Scales begin near `initial_scale`.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    unbiased: bool = True
    initial_scale: float = 1.0

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {"scale": shape[-1:], "bias": shape[-1:]}

    def state(self, shape: Shape) -> dict[str, Shape]:
        return {"mean": shape[-1:], "variance": shape[-1:]}

    def initial(self, shape: Shape) -> Ranges:
        ranges = around_identity(self.params(shape) | self.state(shape))
        return ranges | {"scale": (self.initial_scale * ranges["scale"][0], self.initial_scale * ranges["scale"][1])}

    def flops(self, shape: Shape) -> Flops:
        # An element: sum; difference, square, sum; product with 1/deviation, scale, bias. In inference all is one
        # product and one sum. Backward: dy x^ and its sum, dy's sum; two products, two differences, one product.
        return Flops(
            elementwise_forward=7 * prod(shape),
            elementwise_backward=8 * prod(shape),
            elementwise_inference=2 * prod(shape),
        )

    def bytes(self, shape: Shape) -> Traffic:
        # Training reads x for the moments and once more to apply them; so does backward with x and dy.
        n, channels = prod(shape), shape[-1]
        return Traffic(3 * n, 5 * n, 4 * channels, 4 * channels, inference_sample=2 * n)


class LayerNorm(Word, frozen=True, tag=True):
    """`(x - mean) / sqrt(variance + epsilon) * scale + bias` over the last axis of each position (Ba et al. 2016).

    The variance is the biased one. Keras's own epsilon is 1e-3, Flax's 1e-6, PyTorch's 1e-5.
    """

    epsilon: float = 1e-5

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {"scale": shape[-1:], "bias": shape[-1:]}

    def initial(self, shape: Shape) -> Ranges:
        return around_identity(self.params(shape))

    def flops(self, shape: Shape) -> Flops:
        # As BatchNorm, but that backward makes dy scale first and needs its two sums of that besides the parameters'.
        return Flops(elementwise_forward=7 * prod(shape), elementwise_backward=12 * prod(shape))

    def bytes(self, shape: Shape) -> Traffic:
        features = shape[-1]
        return Traffic(2 * prod(shape), 3 * prod(shape), 2 * features, 3 * features)
