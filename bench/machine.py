"""The machine: what, if it differs, makes two results incomparable. No host name, no user name."""

import hashlib
import os
import platform
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct

from bench.errors import BenchError


class Gpu(Struct, frozen=True):
    name: str
    memory_mib: int
    driver: str


class Machine(Struct, frozen=True):
    """`cores` are those this process may use: the smaller of its affinity and its cgroup's quota, at least 1."""

    cpu: str
    cores: int
    cores_present: int
    memory_gib: float
    gpus: tuple[Gpu, ...]
    system: str
    kernel: str
    python: str
    instance: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]


def read() -> Machine:
    return Machine(
        cpu=_cpu(),
        cores=usable_cores(),
        cores_present=os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpus=gpus(),
        system=_system(),
        kernel=platform.release(),
        python=platform.python_version(),
        instance=_text(Path("/sys/class/dmi/id/product_name")),
    )


def usable_cores() -> int:
    """Whole cores this process may use at once: affinity and cgroup quota respected."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, min(allowed, int(quota)) if quota else allowed)


def _quota() -> float | None:
    """Cores by cgroup v2's `cpu.max` or v1's `cpu.cfs_quota_us`, the tightest up the tree; None without a limit."""
    limits = []
    for level in cpu_groups():
        words = _text(level / "cpu.max").split()
        if len(words) == 2 and words[0] != "max":
            limits.append(int(words[0]) / int(words[1]))
        quota, period = _text(level / "cpu.cfs_quota_us"), _text(level / "cpu.cfs_period_us")
        if quota and period and int(quota) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def cpu_groups() -> list[Path]:
    """The folders of the control groups that may limit this process's CPU time: its own and those above it."""
    groups: list[Path] = []
    own = [line.split(":", 2) for line in _text(Path("/proc/self/cgroup")).splitlines()]
    for _, controllers, path in (entry for entry in own if len(entry) == 3):
        if not controllers or "cpu" in controllers.split(","):
            folder = Path("/sys/fs/cgroup" if not controllers else "/sys/fs/cgroup/cpu") / path.strip("/")
            groups += [folder, *folder.parents]
    return groups


def no_gpu(instead: str) -> BenchError:
    """The error of who asks for a GPU where there is none; `instead`: what to do."""
    return BenchError(f"device 'gpu' is asked for and this machine has no NVIDIA device that a driver shows; {instead}")


def gpus() -> tuple[Gpu, ...]:
    """NVIDIA devices by NVML; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        driver = pynvml.nvmlSystemGetDriverVersion()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return tuple(
            Gpu(pynvml.nvmlDeviceGetName(h), int(pynvml.nvmlDeviceGetMemoryInfo(h).total) // 2**20, driver)
            for h in handles
        )
    finally:
        pynvml.nvmlShutdown()


def _cpu() -> str:
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.platform()


def _text(path: Path) -> str:
    """A small file of the kernel's, or nothing where this system has no such file."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
