"""Builds small workloads by every recipe in one backend on the CPU in fp64; judges nothing.

`python recipes.py BACKEND FOLDER` leaves `found.json` (what could not be built, with its reason) and an `.npz` for each
program in FOLDER: see `climbed`. Beside the headline mode and layout only some, and of Keras none. Run it in a fresh
process.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from building import build
from vocabulary import MADE

from bench import evidence
from bench.backends import Backend
from bench.program import Program
from bench.workload import Workload


def climbed(program: Program, workload: Workload) -> dict[str, np.ndarray]:
    """The gradients of each batch at the weights before its step, and the weights after; at last the losses."""
    data = evidence.proof_batches(workload)
    found = {"logits": program.logits(data[0][0])}
    for step, (x, y) in enumerate(data):
        found |= {f"{step}/gradient/{path}": array for path, array in program.gradients(x, y).items()}
        program.train(program.put(x, y))
        program.fence()
        found |= {f"{step}/weight/{path}": array for path, array in program.weights().items()}
    return found | {"losses": program.losses()}


def elsewhere(row: Backend, made: str, mode: str) -> bool:
    """What a compiler or another layout may get wrong: all at once, images, positions. torch's compiles for minutes."""
    few = ("all",) if (row.name, mode) == ("torch", "compiled") else ("all", "augment", "smoothing of")
    return not row.engine and made.startswith(few)


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[-1]), MADE, climbed, elsewhere)
