"""In the worker: what a program computed on the rungs of the ladder, as named NumPy arrays. It judges nothing.

Keys: `logits`, `loss`, `gradient/<path>`, `losses` (each optimiser step), `weight/<path>` (after the last step).
"""

import numpy as np

from bench.placement import Array
from bench.program import Program
from bench.workload import Workload, batches

STEPS = 20
BATCH = 32
SEED = 7
FIRST_STEPS = 5  # of a case's own batches: their losses are foretold by the proof, and repeated where it is timed
Evidence = dict[str, Array]


def proof_batches(workload: Workload) -> list[tuple[np.ndarray, np.ndarray]]:
    """`STEPS` batches of the proof's own images: seeded noise around ten class means, the same on every machine."""
    generator = np.random.Generator(np.random.PCG64(SEED))
    labels = np.arange(BATCH * 4) % workload.classes
    means = generator.random((workload.classes, 28, 28))
    images = np.rint(255 * (0.5 * means[labels] + 0.5 * generator.random((BATCH * 4, 28, 28)))).astype(np.uint8)
    drawn = batches(images, labels, seed=SEED, size=BATCH, count=STEPS)
    return [(workload.shape_images(x), y) for x, y in drawn]


def climb(program: Program, workload: Workload) -> Evidence:
    """All rungs on a fresh program: logits by the very `infer`, losses and weights by the very `train` of the clock."""
    return climb_on(program, proof_batches(workload))


def climb_on(program: Program, data: list[tuple[np.ndarray, np.ndarray]]) -> Evidence:
    """All rungs on a fresh program and these batches, the first of which is that of the first three rungs."""
    x, y = data[0]
    logits = program.logits(x)
    evidence: Evidence = {"logits": logits, "loss": np.array([cross_entropy(logits, y)])}
    evidence |= {f"gradient/{path}": array for path, array in program.gradients(x, y).items()}
    for batch in [program.put(x, y) for x, y in data]:
        program.train(batch)
    program.fence()
    evidence["losses"] = program.losses()
    evidence |= {f"weight/{path}": array for path, array in program.weights().items()}
    return evidence


def first_losses(program: Program, phase: str, data: list[tuple[np.ndarray, np.ndarray]]) -> Array:
    """The losses of the first batches: while training, or of the untouched model's `infer`. Shape `(len(data),)`."""
    if phase == "infer":
        return np.array([cross_entropy(program.logits(x), y) for x, y in data])
    for x, y in data:
        program.train(program.put(x, y))
    program.fence()
    return program.losses()


def cross_entropy(logits: Array, y: np.ndarray) -> float:
    """Mean softmax cross-entropy of `(n, classes)` logits and `(n,)` labels."""
    if len(logits) != len(y):
        return float("nan")  # samples were lost: the rung is to break, with its name
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]))
