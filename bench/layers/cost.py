"""What a layer costs, as counts: arithmetic and memory traffic. Where its initial values lie. It knows no array."""

from math import prod, sqrt

from msgspec import Struct

Shape = tuple[int, ...]
Ranges = dict[str, tuple[float, float]]  # parameter or state to centre and half width of its uniform initial values


class Flops(Struct, frozen=True):
    """Floating-point operations of one layer for **one sample**; a multiply-add counts as two, a function as one.

    `contraction_*` are matrix products and convolutions, taps that fall on padding included (as PyTorch's counter
    has it); `elementwise_*` is everything else: additions of a bias, comparisons, products with a mask.
    `contraction_input_gradient` is what nobody asks of a model's first layer with parameters.
    `elementwise_inference`: of a layer that does less then, None for the same as forward.
    """

    contraction_forward: int = 0
    contraction_input_gradient: int = 0
    contraction_weight_gradient: int = 0
    elementwise_forward: int = 0
    elementwise_backward: int = 0
    elementwise_inference: int | None = None


class Traffic(Struct, frozen=True):
    """Array elements a layer must move if it is one kernel each way, in elements (times item size: bytes).

    `*_sample` scales with the batch (activations and their gradients), `*_step` does not (parameters).
    `inference_sample`: of a layer that moves less then, None for the same as forward.
    """

    forward_sample: int
    backward_sample: int
    forward_step: int = 0
    backward_step: int = 0
    inference_sample: int | None = None

    def bytes(self, batch: int, item_size: int) -> tuple[int, int]:
        """Bytes read and written by a forward and by a backward pass of training over `batch` samples."""
        return (
            item_size * (batch * self.forward_sample + self.forward_step),
            item_size * (batch * self.backward_sample + self.backward_step),
        )

    def inference_bytes(self, batch: int, item_size: int) -> int:
        """Bytes read and written by a forward pass of inference over `batch` samples."""
        sample = self.forward_sample if self.inference_sample is None else self.inference_sample
        return item_size * (batch * sample + self.forward_step)


class Word(Struct, frozen=True):
    """What every layer answers of a shape that enters it; this one leaves it as it is, and costs nothing.

    `state` is what training moves without a gradient; `initial` speaks of parameters and state alike.
    """

    def out(self, shape: Shape) -> Shape:
        return shape

    def params(self, shape: Shape) -> dict[str, Shape]:
        return {}

    def state(self, shape: Shape) -> dict[str, Shape]:
        return {}

    def initial(self, shape: Shape) -> Ranges:
        return {}

    def flops(self, shape: Shape) -> Flops:
        return Flops()

    def bytes(self, shape: Shape) -> Traffic:
        return Traffic(0, 0)


def parametric_traffic(enters: Shape, leaves: Shape, shapes: dict[str, Shape]) -> Traffic:
    """Forward: read x and parameters, write y. Backward: read x, y's gradient, parameters; write both gradients."""
    inputs, outputs = prod(enters), prod(leaves)
    parameters = sum(prod(shape) for shape in shapes.values())
    return Traffic(inputs + outputs, 2 * inputs + outputs, parameters, 2 * parameters)


def by_fan_in(shapes: dict[str, Shape], fan_in: int) -> Ranges:
    """Uniform in +-1/sqrt(fan in), biases too, as PyTorch begins."""
    return dict.fromkeys(shapes, (0.0, 1 / sqrt(fan_in)))


def around_identity(shapes: dict[str, Shape]) -> Ranges:
    """Of a normalisation: near 1 for what multiplies, near 0 for what is added, so that no two are alike to a proof."""
    return {name: (1.0 if name in ("scale", "variance") else 0.0, 0.1) for name in shapes}
