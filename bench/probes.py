"""Canaries: tiny workloads through the ordinary adapters, whose result tells which arithmetic was really done."""

from itertools import pairwise

import numpy as np
from msgspec.structs import replace

from bench.axes import Array
from bench.layers import Dense, Dropout, Layer
from bench.program import BackendModule, Settings
from bench.workload import SGD, Workload

TERMS = 1024


class Probe(Workload, frozen=True):
    """A workload whose kernels hold one value a column, and whose biases hold 0."""

    columns: tuple[float, ...] = ()

    def weights(self, seed: int) -> dict[str, Array]:
        return {
            path: np.broadcast_to(np.array(self.columns), shape).copy() if path.endswith("kernel") else np.zeros(shape)
            for path, shape in self.parameters().items()
        }


def probe(columns: tuple[float, ...], inputs: int, layers: tuple[Layer, ...] = (), rate: float = 0.0) -> Probe:
    stack = (*layers, Dense(len(columns)))
    return Probe("canary", "", (inputs,), len(columns), stack, SGD(rate), columns)


def disagreement(backend: BackendModule, settings: Settings) -> str:
    """What a canary says against the settings, or an empty string.

    It is also the framework's first work in the process, so that no case's first call pays for starting thread pools.
    """
    program = backend.build(probe((1.0001, 1e-20), TERMS), _flat(settings))
    ones, tiny = np.ones((1, TERMS), np.float32), np.full((1, TERMS), 1e-20, np.float32)
    total, wanted = float(program.logits(ones)[0, 0]), TERMS * 1.0001
    # TF32 and bf16 round 1.0001 to 1, so that the sum is 1024 exactly; fp32 keeps it to 1e-7 a term.
    allowed = {"fp32": 1e-2, "fp64": 1e-9}[settings.precision]
    if not abs(total - wanted) < allowed:
        return f"canary precision: {TERMS} x 1.0001 summed to {total!r}, wanted {wanted!r} in {settings.precision}"
    total = float(program.logits(tiny)[0, 1])
    if settings.precision == "fp32" and settings.device == "cpu" and total != 0.0:
        return f"canary denormals: products of 1e-40 summed to {total!r}, wanted 0 (denormals are to be flushed)"
    program.train(program.put(ones, np.zeros(1, np.int32)))
    program.fence()
    return ""


def _flat(settings: Settings) -> Settings:
    return replace(settings, layout="flat")


def dropout_masks(backend: BackendModule, settings: Settings, rate: float) -> Array:
    """What a Dropout made of ones in two steps of the very `train` that is timed: shape (2 steps, 2 samples, 4096).

    Weights start at 0 and hardly move, so the loss's gradient at the logits is (1/10 - onehot) / 2 whatever the masks
    are; one step of SGD adds -learning rate x (mask x scale) x that to the kernel, from which the columns of the two
    samples' labels give both samples' values.
    """
    inputs, learning = 4096, 1e-6
    program = backend.build(probe((0.0,) * 10, inputs, (Dropout(rate),), learning), _flat(settings))
    batch = program.put(np.ones((2, inputs), np.float32), np.array([0, 1], np.int32))
    kernels: list[Array] = [np.zeros((inputs, 10))]
    for _ in range(2):
        program.train(batch)
        program.fence()
        kernels.append(program.weights()["dense_1.kernel"])
    # column 0 = learning x (0.9 a - 0.1 b) / 2 and column 1 = learning x (0.9 b - 0.1 a) / 2 for the values a and b
    solve = np.linalg.inv(np.array([[0.9, -0.1], [-0.1, 0.9]]) / 2) / learning
    return np.stack([solve @ (after - before)[:, :2].T for before, after in pairwise(kernels)])
