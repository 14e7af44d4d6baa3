"""Compile caches of a run: a pilot's begins empty, so that its first call is cold; its worker's rounds inherit it."""

import os
import shutil
from pathlib import Path

from bench.case import Case


def pilots(folder: Path, case: Case) -> Path:
    """The case's own, in the run folder, until it is handed over."""
    return (folder / "cache" / f"pilot-{case.file}").absolute()


def rounds(folder: Path, case: Case) -> Path:
    """That of all cases of one worker."""
    return (folder / "cache" / case.worker_file).absolute()


def hand_over(folder: Path, case: Case) -> None:
    """What the pilot's process compiled goes to its worker's rounds; file by file, so that a kill leaves whole ones.

    Frameworks name what they keep by its content and its versions: two pilots' files of one name are the same.
    """
    source, target = pilots(folder, case), rounds(folder, case)
    for path in sorted(source.rglob("*")):
        if path.is_file():
            wanted = target / path.relative_to(source)
            wanted.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, wanted)
    shutil.rmtree(source, ignore_errors=True)


def waits(folder: Path, case: Case) -> bool:
    """Whether a pilot's cache was not handed over: its process was killed, or failed."""
    return pilots(folder, case).exists()


def filled(path: Path) -> bool:
    return any(found.is_file() for found in path.rglob("*"))
