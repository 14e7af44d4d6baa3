"""The two optimisers in Keras: its SGD is the algorithm that we state, its Adam is another one and is subclassed."""

from typing import Any, assert_never

import keras
import numpy as np
from keras import ops

from bench.recipe import Recipe
from bench.workload import SGD, Adam, Optimiser


class CorrectedAdam(type(keras.optimizers.Adam())):  # type: ignore[misc]
    """Keras adds epsilon before the bias correction (the "epsilon hat" of Kingma & Ba 2015, section 2).

    Algorithm 1 adds it after: the same update with epsilon x sqrt(1 - b2^t) in Keras's place of epsilon. Based on what
    Keras takes for its Adam on the engine: on PyTorch one that updates all variables at once.
    """

    epsilon: Any

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Of one variable, on TensorFlow and JAX."""
        declared = self.epsilon
        self.epsilon = self._hat(variable.dtype)
        super().update_step(_dense(gradient), variable, learning_rate)
        self.epsilon = declared

    def _hat(self, dtype: Any) -> Any:
        step = ops.cast(self.iterations + 1, dtype)
        return self.epsilon * ops.sqrt(1 - ops.power(ops.cast(self.beta_2, dtype), step))

    def _parallel_update_step(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        """Of all variables at once, on PyTorch, as Keras does it there but with Algorithm 1's own epsilon.

        Not Keras's with another epsilon: torch.compile (2.13) keeps the first value of a tensor that `_foreach_add`
        adds to a list, and goes on with it in every later step.
        """
        import torch

        places = [self._get_variable_index(variable) for variable in variables]
        means = [self._momentums[place].value for place in places]
        squares = [self._velocities[place].value for place in places]
        dtype = variables[0].dtype
        step = ops.cast(self.iterations + 1, dtype)
        rate = ops.cast(learning_rate, dtype) / (1 - ops.power(ops.cast(self.beta_1, dtype), step))
        unbiased = ops.rsqrt(1 - ops.power(ops.cast(self.beta_2, dtype), step))
        torch._foreach_mul_(means, self.beta_1)
        torch._foreach_add_(means, gradients, alpha=1 - self.beta_1)
        torch._foreach_mul_(squares, self.beta_2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - self.beta_2)
        roots = torch._foreach_mul(torch._foreach_sqrt(squares), unbiased)
        torch._foreach_add_(roots, self.epsilon)
        moves = torch._foreach_div(torch._foreach_mul(means, rate), roots)
        torch._foreach_sub_([variable.value for variable in variables], moves)


def _dense(gradient: Any) -> Any:
    """TensorFlow hands an Embedding's as rows, of which Keras would sum the squares where a token comes again."""
    if keras.backend.backend() != "tensorflow":
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)


class RateOutside(type(keras.optimizers.SGD())):  # type: ignore[misc]
    """Keras keeps the rate inside its velocity, `v <- momentum v - rate g`: another algorithm once the rate changes."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.momentums[self._get_variable_index(variable)]
        moved = ops.cast(self.momentum, variable.dtype) * velocity + _dense(gradient)
        self.assign(velocity, moved)
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * moved)

    def _parallel_update_step(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        """Of all variables at once, on PyTorch, as Keras does it there."""
        import torch

        moved = [self.momentums[self._get_variable_index(variable)].value for variable in variables]
        torch._foreach_mul_(moved, self.momentum)
        torch._foreach_add_(moved, gradients)
        moves = torch._foreach_mul(moved, ops.cast(learning_rate, variables[0].dtype))
        torch._foreach_sub_([variable.value for variable in variables], moves)


def by_recipe(kind: type[Any]) -> type[Any]:
    """The optimiser with two things that none of Keras's has.

    Coupled weight decay, for its own `weight_decay` is the other one; and a global norm, on TensorFlow, of an
    Embedding's gradient summed over repeated tokens, where Keras would take the rows as they come.
    """

    class ByRecipe(kind):
        l2: Any = 0.0

        def _clip_gradients(self, grads: Any) -> Any:
            clipped = super()._clip_gradients([_dense(gradient) for gradient in grads])
            if not self.l2:
                return clipped
            pairs = zip(clipped, self._trainable_variables, strict=True)
            return [gradient + ops.cast(self.l2, variable.dtype) * variable for gradient, variable in pairs]

    return ByRecipe


def _constant(number: float) -> Any:
    """TensorFlow rounds a Python number to fp32 on its way into an fp64 model; torch.compile takes no NumPy number.

    In an fp32 model a NumPy number would make all of an Adam's arithmetic fp64.
    """
    wide = keras.backend.backend() == "tensorflow" and keras.config.floatx() == "float64"
    return np.float64(number) if wide else number


def optimiser(declared: Optimiser, recipe: Recipe) -> Any:
    rate: Any = declared.rate
    if recipe.schedule:
        start = np.dtype(keras.config.floatx()).type(declared.rate)  # a Python number becomes fp32 on TensorFlow
        rate = keras.optimizers.schedules.CosineDecay(start, recipe.schedule)
    more: dict[str, Any] = {"weight_decay": _constant(recipe.decay)} if recipe.decay else {}
    more |= {"global_clipnorm": recipe.clip} if recipe.clip else {}
    match declared:
        case SGD(_, momentum):
            stock = RateOutside if recipe.schedule and momentum else keras.optimizers.SGD
            kind = by_recipe(stock) if recipe.l2 or recipe.clip else stock
            made = kind(rate, _constant(momentum), **more)
        case Adam(_, b1, b2, epsilon):
            kind = by_recipe(CorrectedAdam) if recipe.l2 or recipe.clip else CorrectedAdam
            constants = {"beta_1": _constant(b1), "beta_2": _constant(b2), "epsilon": _constant(epsilon)}
            made = kind(rate, **constants, **more)
        case _:
            assert_never(declared)
    if recipe.l2:
        made.l2 = _constant(recipe.l2)
    return made
