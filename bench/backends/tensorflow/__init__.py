"""TensorFlow without Keras: `graph` by tf.function, `compiled` by XLA, `eager`."""

from bench.backends.tensorflow.device import after_import, before_import
from bench.program import Program, Settings
from bench.workload import Workload

__all__ = ["after_import", "before_import", "build"]


def build(workload: Workload, settings: Settings) -> Program:
    from bench.backends.tensorflow.program import TensorFlowProgram

    return TensorFlowProgram(workload, settings)
