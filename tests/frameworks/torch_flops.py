"""What PyTorch's own counter says of the layers and workloads that bench's torch adapter builds; judges nothing.

`python torch_flops.py CASES FOLDER`: CASES is a JSON file of workloads by name. Leaves `found.json` in FOLDER.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import backends
from bench.program import Settings
from bench.workload import Workload

BATCH = 3


def counted(program: Any, batch: Any) -> dict[str, int]:
    """Operation by operation, of one call of `infer` and of one of `train`."""
    from torch.utils.flop_counter import FlopCounterMode

    found = {}
    for phase, call in (("infer", program.infer), ("train", program.train)):
        with FlopCounterMode(display=False) as counter:
            call(batch)
        operations = counter.get_flop_counts()["Global"]
        found |= {f"{phase} {operation.__name__.partition('.')[0]}": n for operation, n in operations.items()}
    return found


def main(cases: Path, folder: Path) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    backend = backends.get("torch").module()
    settings = Settings("eager", "fp32", "nchw", "cpu", 1)
    backend.before_import(settings)
    backend.after_import(settings)
    found: dict[str, Any] = {"batch": BATCH}
    for name, workload in msgspec.json.decode(cases.read_bytes(), type=dict[str, Workload]).items():
        program = backend.build(workload, settings)
        kind = np.int32 if workload.vocabulary else np.float32
        labels = np.zeros((BATCH, *workload.labels()), np.int32)
        batch = program.put(np.zeros((BATCH, *workload.input), kind), labels)
        found[name] = counted(program, batch)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
