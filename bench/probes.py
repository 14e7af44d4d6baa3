"""Canaries: tiny workloads through the ordinary adapters, whose result tells which arithmetic was really done."""

from itertools import pairwise

import numpy as np
from msgspec.structs import replace

from bench import feeds
from bench.layers import Conv2D, Dense, Dropout, Flatten, Layer
from bench.placement import Array
from bench.program import BackendModule, Settings
from bench.workload import SGD, Workload

TERMS = 1024
COLUMNS = (1.0001, 1.002, 1e-20)
# A GPU's tensor cores take over from a certain size, and where a row is a multiple of 16 bytes.
ROWS, REPEATED = 64, 16
DTYPES = {"fp32": "float32", "tf32": "float32", "bf16": "float32", "fp64": "float64"}  # of weights and logits


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
    return Probe("canary", "", (inputs,), len(columns), stack, SGD(rate), columns=columns)


def convolution(columns: tuple[float, ...], device: str) -> Probe:
    """`TERMS` products a column again, as a convolution: on a CPU one position, on a GPU many and many channels.

    There a framework tries out its algorithms, and for a tiny one plain fp32 may be the fastest.
    """
    side, kernel = (8, 8) if device == "cpu" else (16, 4)
    image, places = (side, side, TERMS // kernel**2), (side - kernel + 1) ** 2
    stack = (Conv2D(len(columns), kernel=kernel), Flatten())
    return Probe("canary", "", image, places * len(columns), stack, SGD(0.0), columns=columns)


def disagreement(backend: BackendModule, settings: Settings) -> str:
    """What a canary says against the settings, or an empty string.

    It is also the framework's first work in the process, so that no case's first call pays for starting thread pools.
    """
    program = backend.build(probe(COLUMNS * REPEATED, TERMS), _flat(settings))
    ones, tiny = np.ones((ROWS, TERMS), np.float32), np.full((ROWS, TERMS), 1e-20, np.float32)
    if reason := _precision(program.logits(ones)[0], settings.precision, "matrix product"):
        return reason
    batch = program.put(ones, np.zeros(ROWS, np.int32))
    if reason := misplaced(program.kinds(program.infer(batch)), settings):
        return reason
    total = float(program.logits(tiny)[0, 2])
    if settings.precision == "fp32" and settings.device == "cpu" and total != 0.0:
        return f"canary denormals: products of 1e-40 summed to {total!r}, wanted 0 (denormals are to be flushed)"
    program.train(batch)
    program.fence()
    if settings.layout == "flat":
        return ""
    one = convolution(COLUMNS * REPEATED, settings.device)
    program = backend.build(one, replace(settings, steps_per_call=1))
    return _precision(program.logits(np.ones((ROWS, *one.input), np.float32))[0], settings.precision, "convolution")


def _precision(totals: Array, precision: str, where: str) -> str:
    """Whether 1024 terms of 1.0001 and of 1.002 sum to what the precision makes of them."""
    total, coarse = float(totals[0]), float(totals[1])
    # TF32 and bf16 round 1.0001 to 1, so that the sum is 1024 exactly; fp32 keeps it to 1e-7 a term. TF32's steps above
    # 1 are 2^-10, bf16's 2^-7: 1.002 becomes 1 + 2/1024 in the one and 1 in the other.
    rounded = {1024.0: "bf16", 1026.0: "tf32"}.get(coarse, "") if total == TERMS else ""
    if precision in ("tf32", "bf16"):
        wanted, right = float(TERMS), rounded == precision
    else:
        wanted = TERMS * COLUMNS[0]
        right = abs(total - wanted) < {"fp32": 1e-2, "fp64": 1e-9}[precision]
    if right:
        return ""
    looks = f", as {'TF32' if rounded == 'tf32' else rounded} does" if rounded else ""
    return (
        f"canary precision: in a {where} {TERMS} x 1.0001 summed to {total!r}{looks}, wanted {wanted!r} in {precision}"
    )


def misplaced(kinds: dict[str, str], settings: Settings) -> str:
    """Which tensor has another dtype or is on another device than was asked for, or an empty string."""
    wanted = f"{DTYPES[settings.precision]} {settings.device}"
    for path, kind in kinds.items():
        if kind != wanted:
            return f"canary placement: {path} is {kind}, wanted {wanted}"
    return ""


def _flat(settings: Settings) -> Settings:
    return replace(settings, layout="flat", steps_per_call=1)


def dropout_masks(backend: BackendModule, settings: Settings, *rates: float) -> Array:
    """What Dropouts in a row made of ones in two calls of the very `train` that is timed: (steps, 2 samples, 4096).

    Weights start at 0 and hardly move, so the loss's gradient at the logits is (1/10 - onehot) / 2 whatever the masks
    are; one step of SGD adds -learning rate x (mask x scale) x that to the kernel. Each sample of a call has a label of
    its own, so that from these columns all its values come. Where calls make several steps, they make two here.
    """
    inputs, learning, chained = 4096, 1e-8, min(2, settings.steps_per_call)
    stack, samples = tuple(map(Dropout, rates)), 2 * chained
    asked = replace(settings, layout="flat", steps_per_call=chained)
    program = backend.build(probe((0.0,) * 10, inputs, stack, learning), asked)
    x, y = np.ones((2, inputs), np.float32), np.arange(samples, dtype=np.int32).reshape(chained, 2)
    (call,) = feeds.calls([(x, labels) for labels in y], chained)
    batch = program.put(*call)
    kernels: list[Array] = [np.zeros((inputs, 10))]
    for _ in range(2):
        program.train(batch)
        program.fence()
        kernels.append(program.weights()["dense_1.kernel"])
    # A column is learning x (its own sample's value - a tenth of all samples' values) / 2.
    solve = np.linalg.inv((np.eye(samples) - 0.1) / 2) / learning
    found = [solve @ (after - before)[:, :samples].T for before, after in pairwise(kernels)]
    return np.concatenate(found).reshape(-1, 2, inputs)
