"""What the operations are built for: mode, device, layout, and the dtype of each kind of number. It knows no word."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from msgspec import Struct

from bench.errors import Unsupported
from bench.program import Settings

Operation = Callable[[Any, bool], Any]  # (tensor, training) -> tensor
# Of parameters, state, statistics, softmax and loss; and of what a product or convolution takes and gives.
DTYPES = {
    "fp32": (tf.float32, tf.float32),
    "tf32": (tf.float32, tf.float32),
    "bf16": (tf.float32, tf.bfloat16),
    "fp64": (tf.float64, tf.float64),
}


class Target(Struct, frozen=True):
    """`kept` and `product` are the two dtypes of `DTYPES`; `time_first`: see `sequences`."""

    mode: str
    layout: str
    device: str
    kept: Any
    product: Any
    time_first: bool

    @property
    def xla(self) -> bool:
        return self.mode == "compiled"

    @property
    def channels_first(self) -> bool:
        return self.layout == "nchw"

    @property
    def data_format(self) -> str:
        return "NCHW" if self.channels_first else "NHWC"

    def operand(self, tensor: Any) -> Any:
        """As a product takes it: in bf16 each step casts the weights anew, for they are kept in fp32."""
        return tensor if self.kept is self.product else tf.cast(tensor, self.product)

    def exact(self, tensor: Any) -> Any:
        """As statistics, softmax and loss take it."""
        return tensor if self.kept is self.product else tf.cast(tensor, self.kept)

    def sides(self, height: int, width: int) -> list[list[int]]:
        """TensorFlow's list of so many pixels above and below, and so many to the left and to the right."""
        places = [[height, height], [width, width]]
        return [[0, 0], [0, 0], *places] if self.channels_first else [[0, 0], *places, [0, 0]]


def target(settings: Settings, *, time_first: bool) -> Target:
    """`Unsupported` where TensorFlow lacks the combination."""
    if settings.layout == "nchw" and settings.device == "cpu" and settings.mode != "compiled":
        raise Unsupported("TensorFlow has no channels-first pooling on a CPU outside XLA; use layout nhwc")
    if settings.steps_per_call > 1 and settings.mode == "eager":
        raise Unsupported("TensorFlow makes several steps in one call only inside a tf.function; use mode graph")
    return Target(settings.mode, settings.layout, settings.device, *DTYPES[settings.precision], time_first)
