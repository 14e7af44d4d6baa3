"""Keras 3 on one of its engines, TensorFlow, JAX or PyTorch: chosen before the import, one for each process."""

from bench.backends.keras.device import Room
from bench.program import Facts, Program, Settings
from bench.workload import Workload


class Keras:
    """A `bench.program.BackendModule`. `engine`: tensorflow, jax or torch."""

    def __init__(self, engine: str) -> None:
        self.room = Room(engine)

    def before_import(self, settings: Settings) -> None:
        self.room.before_import(settings)

    def after_import(self, settings: Settings) -> Facts:
        return self.room.after_import(settings)

    def build(self, workload: Workload, settings: Settings) -> Program:
        from bench.backends.keras.program import KerasProgram

        return KerasProgram(workload, settings, self.room)
