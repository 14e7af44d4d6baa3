"""Feeds programs of one backend from the host and puts the same batches there; judges nothing.

`python loading.py BACKEND FOLDER` leaves `found.json` in FOLDER: by case, of each batch and array, whether what the
loader brings is what `put` makes, in value, kind and place in memory. Run it in a fresh process.
"""

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bench import backends, feeds, workloads
from bench.program import Settings

BATCHES, SIZE = 3, 4
NAMES = ("mlp", "cnn", "cnn+augment", "gpt_tiny")


def alike(loaded: Any, put: Any) -> bool:
    same = loaded.dtype == put.dtype and type(loaded) is type(put) and loaded.device == put.device
    if hasattr(put, "stride"):
        same &= loaded.stride() == put.stride()
    return bool(same and np.array_equal(np.asarray(loaded), np.asarray(put)))


def main(name: str, folder: Path) -> None:
    row = backends.get(name)
    backend = row.module()
    backend.before_import(Settings(row.modes[0], "fp32", row.layouts[0], "cpu", 1))
    backend.after_import(Settings(row.modes[0], "fp32", row.layouts[0], "cpu", 1))
    found: dict[str, Any] = {}
    for asked in NAMES:
        workload = workloads.get(asked)
        if row.engine and workload.recipe.augment:
            continue
        path = folder / f"{asked}.npz"
        feeds.write(path, workload, data="synthetic", size=SIZE, count=BATCHES, seed=1)
        for layout in row.layouts if workload.has_layout() else ("flat",):
            mode = row.modes[0 if layout in ("flat", row.layouts[0]) else -1]  # TensorFlow's graphs pool in one alone
            program: Any = backend.build(workload, Settings(mode, "fp32", layout, "cpu", 1))
            loaded = islice(program.load(*feeds.samples(path)), 2 * BATCHES + 1)  # over and over
            data = feeds.read(path, workload)
            found[f"{asked} {layout}"] = [
                [alike(ours, theirs) for ours, theirs in zip(batch, program.put(*data[n % BATCHES]), strict=True)]
                for n, batch in enumerate(loaded)
            ]
    (folder / "found.json").write_text(json.dumps({"cases": found}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[-1]))
