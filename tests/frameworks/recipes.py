"""Builds small workloads by every recipe in one backend on the CPU in fp64; judges nothing.

`python recipes.py BACKEND FOLDER` leaves `found.json` (what could not be built, with its reason) and an `.npz` for each
program in FOLDER: see `climbed`. Beside the headline mode and layout only some, and of Keras none. Run it in a fresh
process.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from vocabulary import MADE

from bench import backends, evidence
from bench.errors import Unsupported
from bench.program import Program, Settings
from bench.workload import Workload

SEED = 1


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


def main(name: str, folder: Path) -> None:
    row = backends.get(name)
    backend = row.module()
    settings = Settings(row.modes[0], "fp64", row.layouts[0], "cpu", 1, seed=SEED)
    backend.before_import(settings)
    backend.after_import(settings)
    found: dict[str, Any] = {"unsupported": {}, "programs": {}}
    for made, workload in MADE.items():
        for mode in row.modes:
            for layout in row.layouts if workload.has_layout() else ("flat",):
                headline = mode == row.modes[0] and layout in ("flat", row.layouts[0])
                if not headline and (row.engine or not made.startswith(("all", "augment", "smoothing of"))):
                    continue
                case = f"{made}|{mode}|{layout}"
                try:
                    program = backend.build(workload, Settings(mode, "fp64", layout, "cpu", 1, seed=SEED))
                except Unsupported as error:
                    found["unsupported"][case] = str(error)
                    continue
                file = f"{len(found['programs'])}.npz"
                np.savez(folder / file, **climbed(program, workload))
                found["programs"][case] = file
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
