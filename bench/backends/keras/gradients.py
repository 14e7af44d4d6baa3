"""The gradient of a compiled Keras model's loss, which Keras itself offers on no engine: for the proof alone."""

from typing import Any

import numpy as np

from bench.placement import Array


def gradients(engine: str, model: Any, x: Any, y: Any) -> list[Array]:
    """Of the mean loss in training, by the model's trainable variables in their order."""
    return {"tensorflow": _tape, "jax": _functional, "torch": _backward}[engine](model, x, y)


def _tape(model: Any, x: Any, y: Any) -> list[Array]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = model.loss(y, model(x, training=True))
    variables = [variable.value for variable in model.trainable_variables]
    return [np.array(gradient.numpy(), np.float64) for gradient in tape.gradient(loss, variables)]


def _functional(model: Any, x: Any, y: Any) -> list[Array]:
    import jax

    rest = [variable.value for variable in model.non_trainable_variables]

    def loss(weights: Any) -> Any:
        logits, _ = model.stateless_call(weights, rest, x, training=True)
        return model.loss(y, logits)

    found = jax.jit(jax.grad(loss))([variable.value for variable in model.trainable_variables])
    return [np.array(gradient, np.float64) for gradient in found]


def _backward(model: Any, x: Any, y: Any) -> list[Array]:
    model.zero_grad()
    model.loss(y, model(x, training=True)).backward()
    return [np.array(v.value.grad.detach().cpu().numpy(), np.float64) for v in model.trainable_variables]
