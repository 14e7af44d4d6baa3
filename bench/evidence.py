"""In the worker: what a program computed on the rungs of the ladder, as named NumPy arrays. It judges nothing.

Keys: `logits`, `loss`, `gradient/<path>`, `losses` (each optimiser step), `weight/<path>` (after the last step).
"""

from itertools import cycle, islice

import numpy as np

from bench import feeds, samples
from bench.placement import Array
from bench.program import Program
from bench.workload import Workload, batches

SEED = 7
FIRST_STEPS = 5  # of a case's own batches: their losses are foretold by the proof, and repeated where it is timed
Evidence = dict[str, Array]


def proof_batches(workload: Workload) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches of the proof's own samples, as many and as large as the workload says."""
    size, steps = workload.proof.batch, workload.proof.steps
    found, labels = samples.draw(workload, np.random.Generator(np.random.PCG64(SEED)), size * 4)
    drawn = batches(found, labels, seed=SEED, size=size, count=steps)
    return [(workload.shape_samples(x), y) for x, y in drawn]


def climb(program: Program, workload: Workload, steps_per_call: int = 1) -> Evidence:
    """All rungs on a fresh program: logits by the very `infer`, losses and weights by the very `train` of the clock."""
    return climb_on(program, proof_batches(workload), steps_per_call)


def climb_on(program: Program, data: feeds.Data, steps_per_call: int = 1) -> Evidence:
    """All rungs on a fresh program and these batches, the first of which is that of the first three rungs."""
    x, y = data[0]
    logits = program.logits(x)
    evidence: Evidence = {"logits": logits, "loss": np.array([cross_entropy(logits, y)])}
    evidence |= {f"gradient/{path}": array for path, array in program.gradients(x, y).items()}
    for batch in [program.put(x, y) for x, y in feeds.calls(data, steps_per_call, whole=False)]:
        program.train(batch)
    program.fence()
    evidence["losses"] = program.losses()
    evidence |= {f"weight/{path}": array for path, array in program.weights().items()}
    return evidence


def first_losses(program: Program, phase: str, data: feeds.Data, steps_per_call: int = 1) -> Array:
    """The losses of the first batches: while training, or of the untouched model's `infer`. Shape `(len(data),)`."""
    if phase == "infer":
        return np.array([cross_entropy(program.logits(x), y) for x, y in data])
    for x, y in feeds.calls(data, steps_per_call, whole=False):
        program.train(program.put(x, y))
    program.fence()
    return program.losses()


def two_calls(program: Program, workload: Workload, chained: int, steps_per_call: int) -> Array:
    """The losses of `2 * chained` steps on the proof's batches, by a program that makes `steps_per_call` in a call."""
    data, losses = list(islice(cycle(proof_batches(workload)), 2 * chained)), list[Array]()
    for x, y in feeds.calls(data, steps_per_call):
        program.train(program.put(x, y))
        program.fence()
        losses.append(program.losses())  # now, since a program keeps 32 of them
    return np.concatenate(losses)


def cross_entropy(logits: Array, y: np.ndarray) -> float:
    """Mean softmax cross-entropy of `(..., classes)` logits and `(...)` labels."""
    if logits.shape[:-1] != y.shape:
        return float("nan")  # samples were lost: the rung is to break, with its name
    shifted = logits - logits.max(axis=-1, keepdims=True)
    right = np.take_along_axis(shifted, y[..., None], axis=-1)[..., 0]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=-1)) - right))
