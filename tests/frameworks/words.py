"""Builds a small workload for every word of the vocabulary in one backend on the CPU in fp64; judges nothing.

`python words.py BACKEND [every] FOLDER` leaves `found.json` (what could not be built, and why) and an `.npz` for
each program in FOLDER: see `climbed`. Without `every`, beside the headline mode and layout only `ELSEWHERE`, and of
Keras none. Run it in a fresh process.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from vocabulary import ELSEWHERE, WORDS

from bench import backends, evidence
from bench.errors import Unsupported
from bench.program import Program, Settings
from bench.workload import Workload

SEED = 1


def climbed(program: Program, workload: Workload) -> dict[str, np.ndarray]:
    """Logits and gradients at the initial weights; after each of four steps all weights, and then logits again."""
    data = evidence.proof_batches(workload)
    x, y = data[0]
    found = {"logits": program.logits(x)}
    found |= {f"gradient/{path}": array for path, array in program.gradients(x, y).items()}
    for step, (x, y) in enumerate(data):
        program.train(program.put(x, y))
        program.fence()
        found |= {f"{step}/{path}": array for path, array in program.weights().items()}
    found["losses"] = program.losses()
    return found | {"logits after": program.logits(data[0][0])}


def main(name: str, choice: str, folder: Path) -> None:
    row = backends.get(name)
    backend = row.module()
    settings = Settings(row.modes[0], "fp64", row.layouts[0], "cpu", 1, seed=SEED)
    backend.before_import(settings)
    backend.after_import(settings)
    found: dict[str, Any] = {"unsupported": {}, "programs": {}}
    for word, workload in WORDS.items():
        for mode in row.modes:
            for layout in row.layouts if workload.has_layout() else ("flat",):
                headline = mode == row.modes[0] and layout in ("flat", row.layouts[0])
                if choice == "some" and not headline and (row.engine or word not in ELSEWHERE):
                    continue
                case = f"{word}|{mode}|{layout}"
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
    main(sys.argv[1], "every" if "every" in sys.argv else "some", Path(sys.argv[-1]))
