"""The loss of a Keras model, by the workload's recipe: what is handed to `compile`, and what hangs on the variables."""

from typing import Any

import keras
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


def penalise(model: Any, workload: Workload) -> None:
    """Hangs the sum of absolute values on every trained variable, as `kernel_regularizer` does on one."""
    if workload.recipe.l1:
        for variable in model.trainable_variables:
            variable.regularizer = keras.regularizers.L1(workload.recipe.l1)
