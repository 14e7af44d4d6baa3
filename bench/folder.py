"""The folder that a run or a gate leaves: made whole or not at all, held by one process, its tables replaced whole."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.errors import BenchError, cannot_write


def default(started: str, name: str, commit: str) -> Path:
    """Under `results/`, named by when and what it is and of which code."""
    return Path("results") / f"{started.replace('-', '').replace(':', '')}-{name}-{commit}"


def make(folder: Path, document: str, content: Struct) -> None:
    """Creates the folder with its document (`run.json`) in one step: one that exists is not ours to touch."""
    if exists(folder):
        raise taken(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise BenchError(f"cannot create {folder}: {error.strerror}; choose another --out", exit_code=74) from None
    try:
        (draft / "logs").mkdir()
        (draft / document).write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
        draft.chmod(0o755)
        draft.rename(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise BenchError(f"cannot write {folder}: {error.strerror}; nothing was kept", exit_code=74) from None


def exists(folder: Path) -> bool:
    """Whether something of that name exists; `BenchError` for a name that the system refuses."""
    try:
        return folder.exists()
    except OSError as error:
        raise BenchError(f"cannot use the folder {folder}: {error.strerror}; choose another") from None


def taken(folder: Path) -> BenchError:
    """The error of a folder to be made that is there already."""
    what = "a folder" if folder.is_dir() else "a file"
    return BenchError(
        f"--out {folder} wants a folder that is not there yet, found {what}; choose another name, or --resume it"
    )


def lock(folder: Path, document: str) -> int:
    """Holds the folder for this process alone; the kernel lets go when the process ends, however it ends."""
    descriptor = os.open(folder / document, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise BenchError(f"another process is running {folder}; wait for it or stop it") from None
    return descriptor


def write(path: Path, text: str, kept: str) -> None:
    """Replaces a table in one step; `BenchError` that says what is `kept` all the same, where the disk refuses."""
    draft = path.with_name(f".{path.name}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise cannot_write(path, error, kept, path.parent) from None
