"""The batches of a run, drawn once by the parent and kept as a file: every backend reads the same bytes."""

import os
from pathlib import Path

import numpy as np
import psutil

from bench import datasets
from bench.workload import Workload, batches

Data = list[tuple[np.ndarray, np.ndarray]]


def write(path: Path, *, data: str, size: int, count: int, seed: int) -> None:
    """`count` batches of `size` images of a data set: uint8 `(count, size, 28, 28)` and labels `(count, size)`.

    MemoryError where they would not fit.
    """
    images, labels = datasets.load(datasets.locate(data))
    # Linux grants memory that it does not have and kills for it later: say no here, while it is only one row.
    if 2 * count * size * images[0].nbytes > psutil.virtual_memory().available:
        raise MemoryError
    drawn = batches(images, labels, seed=seed, size=size, count=count)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with open(draft, "wb") as file:
            np.savez(file, images=np.stack([x for x, _ in drawn]), labels=np.stack([y for _, y in drawn]))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # a full disk must not keep half of it


def read(path: Path, workload: Workload, count: int | None = None) -> Data:
    """The first `count` batches (by default all) as the workload takes them: float32 `(size, *input)`, int32."""
    with np.load(path) as file:
        images, labels = file["images"][:count], file["labels"][:count]
    return [(workload.shape_images(x), y) for x, y in zip(images, labels, strict=True)]
