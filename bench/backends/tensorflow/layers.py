"""Each word of the vocabulary in TensorFlow's own operations, and where its parameters lie."""

from collections.abc import Callable
from typing import Any, assert_never

import tensorflow as tf

from bench.layers import Conv2D, Dense, Dropout, Flatten, MaxPool, ReLU, Shape
from bench.placement import Array, Placement
from bench.workload import Workload

Operation = Callable[[Any, bool], Any]  # (tensor, training) -> tensor


class Model(tf.Module):
    """The layers in their order; `variables_by_path` holds each parameter with its placement."""

    def __init__(self, workload: Workload, weights: dict[str, Array], layout: str, dtype: Any) -> None:
        super().__init__()
        self.variables_by_path: dict[str, tuple[Any, Placement]] = {}
        self.operations: list[Operation] = []
        image: Shape = ()
        for place in workload.placed():
            shapes = place.layer.params(place.enters)
            placements = {name: _placement(name, shape, image, layout) for name, shape in shapes.items()}
            found: dict[str, Any] = {}
            for name, placement in placements.items():
                path = f"{place.path}.{name}"
                found[name] = tf.Variable(
                    placement.to_framework(weights[path]), dtype=dtype, name=path.replace(".", "_")
                )
                self.variables_by_path[path] = (found[name], placement)
            image = place.enters if isinstance(place.layer, Flatten) else ()
            self.operations.append(_operation(place.layer, found, layout))

    def __call__(self, x: Any, training: bool) -> Any:
        for operation in self.operations:
            x = operation(x, training)
        return x


def _placement(name: str, shape: Shape, image: Shape, layout: str) -> Placement:
    if name == "kernel" and image and layout == "nchw":
        # The flattened image arrives channels-first: turn the kernel once, here, instead of the image at every step.
        return Placement("hwco->chwo", (*image, shape[-1]), shape)
    axes = "hwio"[-len(shape) :]
    return Placement(f"{axes}->{axes}", shape, shape)


def _operation(layer: Any, found: dict[str, Any], layout: str) -> Operation:
    data_format = layout.upper()
    match layer:
        case Dense():
            return lambda x, training: _add(tf.matmul(x, found["kernel"]), found["bias"], training, "NHWC")
        case Conv2D(kernel=kernel, stride=stride, padding=padding):
            pads = _padding(kernel, stride, padding, layout)
            return lambda x, training: _add(
                tf.nn.conv2d(x, found["kernel"], stride, pads, data_format=data_format),
                found["bias"],
                training,
                data_format,
            )
        case MaxPool(size, stride):
            return lambda x, training: tf.nn.max_pool2d(x, size, stride, "VALID", data_format=data_format)
        case Flatten():
            return lambda x, training: tf.reshape(x, (x.shape[0], -1))
        case ReLU():
            return lambda x, training: tf.nn.relu(x)
        case Dropout(rate):
            return lambda x, training: tf.nn.dropout(x, rate) if training else x
        case _:
            assert_never(layer)


def _add(x: Any, bias: Any, training: bool, data_format: str) -> Any:
    """The bias. Grappler fuses BiasAdd into the product before it, which wins in inference; in training the gradient
    of a plain sum is faster than BiasAddGrad on a CPU."""
    if training and data_format == "NHWC":
        return x + bias
    return tf.nn.bias_add(x, bias, data_format=data_format)


def _padding(kernel: int, stride: int, padding: int, layout: str) -> Any:
    """Our number of zeros a side as TensorFlow's word where the two mean the same: its explicit lists are slower."""
    if padding == 0:
        return "VALID"
    if stride == 1 and kernel == 2 * padding + 1:
        return "SAME"
    sides = [padding, padding]
    return [[0, 0], sides, sides, [0, 0]] if layout == "nhwc" else [[0, 0], [0, 0], sides, sides]
