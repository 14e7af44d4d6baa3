"""The engine's own room, and on top of it what Keras itself is told: which engine, and no config file of somebody's."""

import os
from importlib import import_module
from typing import Any

from bench.errors import BenchError
from bench.program import Facts, Settings


class Room:
    """Threads, caches, fences and memory are the engine's affair: `bench.backends.<engine>.device`."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.own: Any = import_module(f"bench.backends.{engine}.device")

    def before_import(self, settings: Settings) -> None:
        self.own.before_import(settings)
        os.environ["KERAS_BACKEND"] = self.engine
        os.environ["KERAS_HOME"] = os.path.join(settings.cache or os.devnull, "keras")  # no ~/.keras/keras.json
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
        if self.engine == "torch":
            os.environ["KERAS_TORCH_DEVICE"] = "cuda" if settings.device == "gpu" else "cpu"

    def after_import(self, settings: Settings) -> Facts:
        facts: Facts = self.own.after_import(settings)
        import keras

        if keras.backend.backend() != self.engine:
            found = keras.backend.backend()
            raise BenchError(f"Keras runs on {found}, wanted {self.engine}: its engine is chosen once a process")
        keras.config.set_image_data_format("channels_last")
        return facts

    def choose(self, settings: Settings) -> None:
        """What is the process's and depends on the program: arrays of 64 bits, a fresh start in Dynamo."""
        if self.engine == "jax":
            import jax

            jax.config.update("jax_enable_x64", settings.precision == "fp64")
        if self.engine != "tensorflow":
            # Keras 3 forces what two fp64 tensors come to into fp32 on every engine but TensorFlow, whatever its
            # floatx: without this there is no fp64 proof on the others. In fp32, which is timed, nothing changes.
            from keras.src.backend.common import dtypes

            dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64" if settings.precision == "fp64" else "float32"
        if self.engine == "torch":
            self.own.search(settings)
        if self.engine == "torch" and settings.mode == "compiled":
            self.own.check_compiler(settings)
            import torch._dynamo

            torch._dynamo.reset()
            torch._dynamo.utils.counters.clear()

    def put(self, array: Any, dtype: str) -> Any:
        import keras

        return keras.ops.convert_to_tensor(array, dtype)

    def compilations(self) -> int:
        """Of the process, by the engine; TensorFlow's traces are counted where they happen."""
        return 0 if self.engine == "tensorflow" else int(self.own.compilations())
