"""Small workloads built in one backend on the CPU in fp64, in its modes and layouts; what they do is the caller's."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import backends
from bench.backends import Backend
from bench.errors import Unsupported
from bench.program import Program, Settings
from bench.workload import Workload

SEED = 1
EVERY = "every" in sys.argv  # asked for by the long tests: all programs, compiled as for a user
# In the quick ones XLA takes longer to optimise a small model than to run it.
QUICK_XLA = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def build(
    name: str,
    folder: Path,
    workloads: dict[str, Workload],
    climbed: Callable[[Program, Workload], dict[str, np.ndarray]],
    wanted: Callable[[Backend, str, str, bool], bool],
) -> None:
    """Those that are `wanted` of the row, by the workload's name here, the mode, and whether mode and layout are the
    row's headline.

    Leaves `found.json` in the folder (what could not be built, and why; the file of each program), and what `climbed`
    makes of each as `.npz`.
    """
    if not EVERY:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_XLA}".strip()
    row = backends.get(name)
    backend = row.module()
    settings = Settings(row.modes[0], "fp64", row.layouts[0], "cpu", 1, seed=SEED)
    backend.before_import(settings)
    backend.after_import(settings)
    found: dict[str, Any] = {"unsupported": {}, "programs": {}}
    for called, workload in workloads.items():
        for mode in row.modes:
            for layout in row.layouts if workload.has_layout() else ("flat",):
                headline = mode == row.modes[0] and layout in ("flat", row.layouts[0])
                if not wanted(row, called, mode, headline):
                    continue
                case = f"{called}|{mode}|{layout}"
                try:
                    program = backend.build(workload, Settings(mode, "fp64", layout, "cpu", 1, seed=SEED))
                except Unsupported as error:
                    found["unsupported"][case] = str(error)
                    continue
                file = f"{len(found['programs'])}.npz"
                np.savez(folder / file, **climbed(program, workload))
                found["programs"][case] = file
    (folder / "found.json").write_text(json.dumps(found))
