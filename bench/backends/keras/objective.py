"""The loss of a Keras model, by the workload's recipe: what is handed to `compile`, and what hangs on the variables."""

from typing import Any

import keras
import numpy as np
from keras import ops

from bench.errors import Unsupported
from bench.workload import Workload


def loss(workload: Workload) -> Any:
    """Keras's own cross-entropy; with smoothing the one that takes shares, for the other one has no smoothing."""
    recipe = workload.recipe
    if recipe.augment:
        raise Unsupported(
            "recipe augment in Keras: its augmentation layers draw for themselves, and take no decisions of others; "
            "use the engine's own backend"
        )
    if not recipe.smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def smoothed(y: Any, logits: Any) -> Any:
        shares = ops.one_hot(y, workload.classes, dtype=logits.dtype)
        return keras.losses.categorical_crossentropy(shares, logits, from_logits=True, label_smoothing=recipe.smoothing)

    return smoothed


class Absolute(keras.regularizers.Regularizer):
    """Keras's L1, but that it rounds its factor to fp32 on TensorFlow, in fp64 models too."""

    def __init__(self, factor: float) -> None:
        self.factor = np.float64(factor)

    def __call__(self, x: Any) -> Any:
        return ops.cast(self.factor, x.dtype) * ops.sum(ops.absolute(x))


def penalise(model: Any, workload: Workload) -> None:
    """Hangs the sum of absolute values on every trained variable, as `kernel_regularizer` does on one."""
    if workload.recipe.l1:
        for variable in model.trainable_variables:
            variable.regularizer = Absolute(workload.recipe.l1)
