"""The one error of Stepwatch. Its text is for a person: what was wanted, what was found, what to do."""

import errno

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
