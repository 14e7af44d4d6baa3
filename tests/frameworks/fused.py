"""TensorFlow's fused BatchNorm as `eager` and `graph` time it, in fp32 on the CPU; judges nothing.

`python fused.py FOLDER` leaves `found.json`, the cases ("images, biased|graph"), and an `.npz` for each of them in
FOLDER: see `normalised`. Run it in a fresh process.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from vocabulary import NORMALISED, few_samples

from bench import backends
from bench.program import Settings
from bench.workload import Workload

SEED = 1


def normalised(program: Any, workload: Workload, mode: str) -> dict[str, np.ndarray]:
    """What leaves in training on six samples, and then on one, with the state after each; at last in inference."""
    import tensorflow as tf

    def training(x: Any) -> Any:
        return program.model(x, True)

    call = training if mode == "eager" else tf.function(training, autograph=False)
    found = {}
    for count in (6, 1):
        x = few_samples(workload, count)
        batch, *_ = program.put(x, np.zeros((count, *workload.labels()), np.int32))
        found[f"{count}/training"] = call(batch).numpy()
        found |= {f"{count}/{path}": array for path, array in program.weights().items()}
    return found | {"inference": program.logits(few_samples(workload, 6))}


def main(folder: Path) -> None:
    backend = backends.get("tensorflow").module()
    settings = Settings("graph", "fp32", "nhwc", "cpu", 1, seed=SEED)
    backend.before_import(settings)
    backend.after_import(settings)
    found = {}
    for called, workload in NORMALISED.items():
        for mode in ("eager", "graph"):
            layout = "nhwc" if workload.has_layout() else "flat"
            program = backend.build(workload, Settings(mode, "fp32", layout, "cpu", 1, seed=SEED))
            found[f"{called}|{mode}"] = f"{len(found)}.npz"
            np.savez(folder / found[f"{called}|{mode}"], **normalised(program, workload, mode))
    (folder / "found.json").write_text(json.dumps({"cases": found}))


if __name__ == "__main__":
    main(Path(sys.argv[-1]))
