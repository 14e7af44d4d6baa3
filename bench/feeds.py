"""The batches of a run, drawn once by the parent and kept as a file: every backend reads the same bytes."""

import os
from itertools import chain, cycle, islice
from math import prod
from pathlib import Path

import numpy as np
import psutil

from bench import datasets
from bench.samples import draw
from bench.workload import Workload, batches

COPIES = 6  # of the file's bytes are in memory: its batches, these stacked to be written, a worker's float32 of them
ROOM = 2**30  # bytes that all batches of a feed take on the device, as 4-byte numbers
FEWEST = 5  # batches of a feed, however large: the first losses are those of so many steps
DISTINCT = 512  # samples that a workload without a data set draws, before it repeats them
Data = list[tuple[np.ndarray, np.ndarray]]
Samples = tuple[np.ndarray, np.ndarray, int]


def file(folder: Path, workload: Workload, data: str, size: int) -> Path:
    """Where a folder keeps the batches of a case: workloads that take 28x28 images share them."""
    owner = "" if workload.takes_28x28() else f"{workload.name}-"
    return (folder / f"{owner}{data}-{size}.npz").absolute()


def fewer(workload: Workload, size: int, count: int) -> int:
    """`count`, or as many batches of `size` samples as there is `ROOM` for: they lie on the device beside the model."""
    return max(min(count, FEWEST), min(count, ROOM // (4 * size * prod(workload.input))))


def write(path: Path, workload: Workload, *, data: str, size: int, count: int, seed: int) -> None:
    """`count` batches of `size` samples: uint8 images or int32 tokens `(count, size, ...)`, and their labels.

    Large ones are `fewer`. MemoryError where they would not fit.
    """
    count = fewer(workload, size, count)
    # Linux grants memory that it does not have and kills for it later: say no here, while it is only one row.
    if COPIES * count * size * prod(workload.input) * (4 if workload.vocabulary else 1) > _free():
        raise MemoryError
    if workload.takes_28x28():
        images, labels = datasets.load(datasets.locate(data))
    else:
        many = min(size * count, max(DISTINCT, size))
        images, labels = draw(workload, np.random.Generator(np.random.PCG64(seed)), many)
    drawn = batches(images, labels, seed=seed, size=size, count=count)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with open(draft, "wb") as file:
            np.savez(file, images=np.stack([x for x, _ in drawn]), labels=np.stack([y for _, y in drawn]))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # a full disk must not keep half of it


def _free() -> int:
    return int(psutil.virtual_memory().available)


def calls(data: Data, steps: int, *, whole: bool = True) -> Data:
    """The batches in groups of `steps`, `(steps, size, ...)` each, for programs that take so many in a call.

    The last group begins again at the first batch where it has too few, or is smaller where it need not be `whole`.
    """
    if steps == 1:
        return data
    groups = [data[at : at + steps] for at in range(0, len(data), steps)]
    if whole:
        groups[-1] = list(islice(chain(groups[-1], cycle(data)), steps))
    return [(np.stack([x for x, _ in group]), np.stack([y for _, y in group])) for group in groups]


def samples(path: Path) -> Samples:
    """All samples as they lie on disk, one behind the other, and how many a batch has: what a loader begins with."""
    with np.load(path) as file:
        images, labels = file["images"], file["labels"]
    return images.reshape(-1, *images.shape[2:]), labels.reshape(-1, *labels.shape[2:]), images.shape[1]


def read(path: Path, workload: Workload, count: int | None = None) -> Data:
    """The first `count` batches (by default all) as the workload takes them, float32 or int32, and int32 labels."""
    with np.load(path) as file:
        images, labels = file["images"][:count], file["labels"][:count]
    return [(workload.shape_samples(x), y) for x, y in zip(images, labels, strict=True)]
