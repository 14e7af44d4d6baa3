"""How a function of one batch is called: with several at once, and through its concrete function. It knows no model."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def several(function: Callable[..., Any], count: int, result: Any, *, unrolled: bool) -> Callable[..., Any]:
    """Of `count` batches or fewer, one after the other: their results of dtype `result` in a stack; of one its own.

    A loop of TensorFlow's is as fast as one of Python's, and is traced once. `unrolled`: XLA on a CPU is fifteen
    times as slow in a convolution's gradients where they stand in a loop.
    """
    if count == 1:
        return function
    if unrolled:
        return lambda *batches: tf.stack([function(*batch) for batch in zip(*map(tf.unstack, batches), strict=True)])
    return lambda *batches: tf.map_fn(
        lambda batch: function(*batch), batches, parallel_iterations=1, fn_output_signature=result
    )


class Concrete:
    """A tf.function called through its concrete function, which spares a fixed shape the search for its trace."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.shape: Any = None
        self.concrete: Any = None

    def by_xla(self) -> bool:
        """Whether the runtime must compile it by XLA, as its own definition says; True before the first call."""
        return self.concrete is None or bool(self.concrete.function_def.attr["_XlaMustCompile"].b)

    def __call__(self, *tensors: Any) -> Any:
        if tensors[0].shape != self.shape:
            self.shape = tensors[0].shape
            self.concrete = self.function.get_concrete_function(*tensors)
        return self.concrete(*tensors)
