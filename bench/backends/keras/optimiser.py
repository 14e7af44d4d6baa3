"""The two optimisers in Keras: its SGD is the algorithm that we state, its Adam is another one and is subclassed."""

from typing import Any, assert_never

import keras
import numpy as np
from keras import ops

from bench.workload import SGD, Adam, Optimiser


class CorrectedAdam(keras.optimizers.Adam):
    """Keras adds epsilon before the bias correction (the "epsilon hat" of Kingma & Ba 2015, section 2).

    Algorithm 1 adds it after: the same update with epsilon x sqrt(1 - b2^t) in Keras's place of epsilon.
    """

    epsilon: Any

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        declared = self.epsilon
        step = ops.cast(self.iterations + 1, variable.dtype)
        power = ops.power(ops.cast(self.beta_2, variable.dtype), step)
        self.epsilon = declared * ops.sqrt(1 - power)
        super().update_step(gradient, variable, learning_rate)
        self.epsilon = declared


def optimiser(declared: Optimiser) -> Any:
    """Its constants as NumPy's numbers: Python's are rounded to fp32 on their way, in fp64 models too."""
    match declared:
        case SGD(rate, momentum):
            return keras.optimizers.SGD(rate, np.float64(momentum))
        case Adam(rate, b1, b2, epsilon):
            return CorrectedAdam(rate, beta_1=np.float64(b1), beta_2=np.float64(b2), epsilon=np.float64(epsilon))
        case _:
            assert_never(declared)
