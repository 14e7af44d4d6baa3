"""The gradient of a compiled Keras model's loss, which Keras itself offers on no engine: for the proof alone."""

from typing import Any

import keras
import numpy as np

from bench.placement import Array


def gradients(engine: str, model: Any, x: Any, y: Any) -> list[Array]:
    """Of the mean loss in training, by the model's trainable variables in their order; moves no state."""
    state = [(variable, np.array(keras.ops.convert_to_numpy(variable))) for variable in model.non_trainable_variables]
    found = {"tensorflow": _tape, "jax": _functional, "torch": _backward}[engine](model, x, y)
    for variable, value in state:
        variable.assign(value)
    return found


def _tape(model: Any, x: Any, y: Any) -> list[Array]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = _objective(model, y, model(x, training=True), model.losses)
    variables = [variable.value for variable in model.trainable_variables]
    # An Embedding's is a list of rows, as tokens come.
    return [np.array(tf.convert_to_tensor(found).numpy(), np.float64) for found in tape.gradient(loss, variables)]


def _functional(model: Any, x: Any, y: Any) -> list[Array]:
    import jax

    rest = [variable.value for variable in model.non_trainable_variables]

    def loss(weights: Any) -> Any:
        logits, _, penalties = model.stateless_call(weights, rest, x, training=True, return_losses=True)
        return _objective(model, y, logits, penalties)

    found = jax.jit(jax.grad(loss))([variable.value for variable in model.trainable_variables])
    return [np.array(gradient, np.float64) for gradient in found]


def _backward(model: Any, x: Any, y: Any) -> list[Array]:
    model.zero_grad()
    _objective(model, y, model(x, training=True), model.losses).backward()
    return [np.array(v.value.grad.detach().cpu().numpy(), np.float64) for v in model.trainable_variables]


def _objective(model: Any, y: Any, logits: Any, penalties: Any) -> Any:
    """The mean over batch and positions, whether `compile` was handed a loss or a function, and what a recipe adds."""
    found = keras.ops.mean(model.loss(y, logits))
    return sum(penalties, found)
