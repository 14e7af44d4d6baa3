"""Builds a small workload for every word of the vocabulary in one backend on the CPU in fp64; judges nothing.

`python words.py BACKEND [every] FOLDER` leaves `found.json` (what could not be built, and why) and an `.npz` for
each program in FOLDER: see `climbed`. Without `every` a sample: see `wanted`. Run it in a fresh process.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from building import EVERY, build
from vocabulary import ELSEWHERE, FEW, WORDS

from bench import evidence
from bench.backends import Backend
from bench.program import Program
from bench.workload import Workload


def climbed(program: Program, workload: Workload) -> dict[str, np.ndarray]:
    """Logits and gradients at the initial weights; after each of four steps all weights, and then logits again.

    Where a BatchNorm is, at last a step on a single sample: behind a Dense it sees one value a channel then.
    """
    data = evidence.proof_batches(workload)
    x, y = data[0]
    found = {"logits": program.logits(x)}
    found |= {f"gradient/{path}": array for path, array in program.gradients(x, y).items()}
    for step, (x, y) in enumerate(data):
        program.train(program.put(x, y))
        program.fence()
        found |= {f"{step}/{path}": array for path, array in program.weights().items()}
    found["losses"] = program.losses()
    found["logits after"] = program.logits(data[0][0])
    if workload.state():
        program.train(program.put(x[:1], y[:1]))
        program.fence()
        found |= {f"one/{path}": array for path, array in program.weights().items()}
        found["one loss"] = program.losses()
    return found


def wanted(row: Backend, word: str, mode: str, headline: bool) -> bool:
    """Every word in each framework's headline mode and layout, some of them in its others and in Keras's headline.

    Compilers take minutes over them: test_backends has whole models in compiled modes. So does Keras on JAX.
    """
    if EVERY:
        return True
    if row.engine:
        return headline and word in (FEW if row.engine == "jax" else ELSEWHERE)
    return headline or (mode != "compiled" and word in ELSEWHERE)


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[-1]), WORDS, climbed, wanted)
