"""Canaries: tiny workloads through the ordinary adapters, whose result tells which arithmetic was really done."""

from itertools import pairwise

import numpy as np
from msgspec.structs import replace

from bench.axes import Array
from bench.layers import Dense, Dropout
from bench.program import BackendModule, Settings
from bench.workload import SGD, Workload

TERMS = 1024


class Probe(Workload, frozen=True):
    """A workload whose kernels all hold `fill`, and whose biases hold 0."""

    fill: float = 0.0

    def weights(self, seed: int) -> dict[str, Array]:
        return {
            path: np.full(shape, self.fill if path.endswith("kernel") else 0.0)
            for path, shape in self.parameters().items()
        }


def probe(fill: float, inputs: int, layers: tuple[Dense | Dropout, ...], rate: float = 0.0) -> Probe:
    return Probe("canary", "", (inputs,), layers[-1].out((inputs,))[0], layers, SGD(rate), fill)


def disagreement(backend: BackendModule, settings: Settings) -> str:
    """What a canary says against the settings, or an empty string. Also the framework's first work in the process."""
    total = _sum(backend, settings, 1.0001, 1.0)
    wanted = TERMS * 1.0001
    # TF32 and bf16 round 1.0001 to 1, so that the sum is 1024 exactly; fp32 keeps it to 1e-7 a term.
    allowed = {"fp32": 1e-2, "fp64": 1e-9}[settings.precision]
    if not abs(total - wanted) < allowed:
        return f"canary precision: {TERMS} x 1.0001 summed to {total!r}, wanted {wanted!r} in {settings.precision}"
    if settings.precision == "fp32" and settings.device == "cpu":
        total = _sum(backend, settings, 1e-20, 1e-20)
        if total != 0.0:
            return f"canary denormals: products of 1e-40 summed to {total!r}, wanted 0 (denormals are to be flushed)"
    return ""


def _sum(backend: BackendModule, settings: Settings, fill: float, value: float) -> float:
    workload = probe(fill, TERMS, (Dense(8),))
    program = backend.build(workload, _flat(settings))
    x, y = np.full((1, TERMS), value, np.float32), np.zeros(1, np.int32)
    total = float(program.logits(x)[0, 0])
    program.train(program.put(x, y))  # so that the first timed step is not the process's first backward pass
    program.fence()
    return total


def _flat(settings: Settings) -> Settings:
    return replace(settings, layout="flat")


def dropout_masks(backend: BackendModule, settings: Settings, rate: float) -> Array:
    """What a Dropout made of ones in two steps of the very `train` that is timed: shape (2 steps, 2 samples, 4096).

    Weights start at 0 and hardly move, so the loss's gradient at the logits is (1/10 - onehot) / 2 whatever the masks
    are; one step of SGD adds -learning rate x (mask x scale) x that to the kernel, from which the columns of the two
    samples' labels give both samples' values.
    """
    inputs, learning = 4096, 1e-6
    program = backend.build(probe(0.0, inputs, (Dropout(rate), Dense(10)), learning), _flat(settings))
    batch = program.put(np.ones((2, inputs), np.float32), np.array([0, 1], np.int32))
    kernels = [np.zeros((inputs, 10))]
    for _ in range(2):
        program.train(batch)
        program.fence()
        kernels.append(program.weights()["dense_1.kernel"])
    # column 0 = learning x (0.9 a - 0.1 b) / 2 and column 1 = learning x (0.9 b - 0.1 a) / 2 for the values a and b
    solve = np.linalg.inv(np.array([[0.9, -0.1], [-0.1, 0.9]]) / 2) / learning
    return np.stack([solve @ (after - before)[:, :2].T for before, after in pairwise(kernels)])
