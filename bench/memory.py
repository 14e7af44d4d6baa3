"""How far the resident set of this process rose: the peak memory of a case whose device is the host."""

from pathlib import Path

import psutil


def reset_peak() -> int:
    """Sets the kernel's peak of the resident set back to the present, and returns that, in bytes; 0: cannot be done."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0  # no such file (not Linux) or not allowed: the peak stays unknown
    return int(psutil.Process().memory_info().rss)


def peak(baseline: int) -> int | None:
    """Bytes by which the resident set rose above `baseline` at its highest; None where the kernel cannot say."""
    if not baseline:
        return None
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return max(0, int(line.split()[1]) * 1024 - baseline)
    return None
