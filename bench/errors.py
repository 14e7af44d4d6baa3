"""The one error of Stepwatch. Its text is for a person: what was wanted, what was found, what to do."""

import errno
from pathlib import Path

# What a disk says that is full, or that nothing may be written to; the second list adds what only a parent may read so.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
CANNOT_WRITE = (*FULL, errno.EFBIG, errno.EACCES, errno.EIO)


class BenchError(Exception):
    """A wrong request or an unusable input; `__main__` prints it as one line and ends with `exit_code`."""

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Unsupported(BenchError):
    """A combination that a backend does not have; it becomes a row `unsupported` with this reason."""


class NoGpu(Unsupported):
    """A machine with a GPU, and a framework that does not see it. pip does not replace a build by the same version's
    other one."""

    def __init__(self, framework: str, distribution: str) -> None:
        super().__init__(
            f"{framework} sees no GPU: if its build is without CUDA, pip uninstall {distribution}, then install the "
            "extra 'gpu' as the README says; if it is for a newer driver than this machine's, update that"
        )


def not_writable(path: Path, error: OSError) -> BenchError:
    """The error of a results file that may not even be opened for writing."""
    return BenchError(f"cannot write {path}: {error.strerror}; make it writable or choose another --out")


def cannot_write(path: Path, error: OSError, kept: str, folder: Path) -> BenchError:
    """The error of a disk that is full or refuses: names the path and what was kept; exit code 74."""
    return BenchError(
        f"cannot write {path}: {error.strerror}; {kept}; free some space, then --resume {folder}", exit_code=74
    )
