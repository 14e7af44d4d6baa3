"""Compile caches of a run: a pilot's begins empty, so that its first call is cold; its worker's rounds inherit it.

A case's mark in the rounds' cache says that its programs are there. Who deletes the cache deletes the marks too.
"""

import os
import shutil
from pathlib import Path

from bench.case import Case

# Not inherited: CUDA keeps one index of all it holds, Triton the paths of its files; Inductor writes Triton's anew.
APART = ("cuda", "triton")


def of_pilot(folder: Path, case: Case) -> Path:
    """The case's own, in the run folder, until it is inherited."""
    return (folder / "cache" / f"pilot-{case.file}").absolute()


def of_rounds(folder: Path, case: Case) -> Path:
    """That of all cases of one worker."""
    return (folder / "cache" / case.worker_file).absolute()


def inherit(folder: Path, case: Case) -> None:
    """What the ended pilot's process compiled becomes its worker's, once. A kill leaves whole files: it goes on."""
    source, target = of_pilot(folder, case), of_rounds(folder, case)
    if holds(folder, case) or not source.exists():
        return
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and name.parts[0] not in APART:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target / name)
    mark(folder, case)
    shutil.rmtree(source, ignore_errors=True)


def mark(folder: Path, case: Case) -> None:
    """The case's programs are in its worker's cache."""
    path = _mark(folder, case)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def holds(folder: Path, case: Case) -> bool:
    """Whether the case's programs are in its worker's cache."""
    return _mark(folder, case).exists()


def _mark(folder: Path, case: Case) -> Path:
    return of_rounds(folder, case) / f"{case.file}.there"
