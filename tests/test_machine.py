"""The machine as a result records it: cores by affinity and cgroup, and no word about whose machine it is."""

import getpass
import os
import socket
from pathlib import Path

import msgspec
import pytest

from bench import machine

Files = dict[str, str]
V2 = "/sys/fs/cgroup"
V1 = "/sys/fs/cgroup/cpu"


def cores(monkeypatch: pytest.MonkeyPatch, files: Files, allowed: int = 16) -> int:
    monkeypatch.setattr(machine, "_text", lambda path: files.get(str(path), ""))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)))
    return machine.usable_cores()


def v1(quota: str, period: str = "100000", folder: str = V1) -> Files:
    return {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": period}


QUOTAS: dict[str, tuple[Files, int]] = {
    "no /proc and no /sys": ({}, 16),
    "v2 without a limit": ({"/proc/self/cgroup": "0::/", f"{V2}/cpu.max": "max 100000"}, 16),
    "v2 at the root, as a container sees it": ({"/proc/self/cgroup": "0::/", f"{V2}/cpu.max": "400000 100000"}, 4),
    "v2 in its own folder": ({"/proc/self/cgroup": "0::/job/a", f"{V2}/job/a/cpu.max": "200000 100000"}, 2),
    "v2, tightest above": (
        {
            "/proc/self/cgroup": "0::/job/a",
            f"{V2}/job/a/cpu.max": "800000 100000",
            f"{V2}/job/cpu.max": "300000 100000",
            f"{V2}/cpu.max": "max 100000",
        },
        3,
    ),
    "v2, tightest below": (
        {
            "/proc/self/cgroup": "0::/job/a",
            f"{V2}/job/a/cpu.max": "200000 100000",
            f"{V2}/job/cpu.max": "300000 100000",
        },
        2,
    ),
    "v2, a broken share is rounded down": ({"/proc/self/cgroup": "0::/", f"{V2}/cpu.max": "250000 100000"}, 2),
    "v2, half a core is still one": ({"/proc/self/cgroup": "0::/", f"{V2}/cpu.max": "50000 100000"}, 1),
    "v2, another period": ({"/proc/self/cgroup": "0::/", f"{V2}/cpu.max": "30000 10000"}, 3),
    "v2, more than there is": ({"/proc/self/cgroup": "0::/", f"{V2}/cpu.max": "6400000 100000"}, 16),
    "v2, no such file": ({"/proc/self/cgroup": "0::/gone"}, 16),
    "v1 without a limit": ({"/proc/self/cgroup": "4:cpu,cpuacct:/", **v1("-1")}, 16),
    "v1 at the root": ({"/proc/self/cgroup": "4:cpu,cpuacct:/", **v1("400000")}, 4),
    "v1, cpu alone": ({"/proc/self/cgroup": "2:cpu:/", **v1("400000")}, 4),
    "v1 in its own folder": (
        {"/proc/self/cgroup": "4:cpuacct,cpu:/docker/a", **v1("200000", folder=f"{V1}/docker/a")},
        2,
    ),
    "v1 seen from inside": ({"/proc/self/cgroup": "4:cpu,cpuacct:/docker/a", **v1("300000")}, 3),
    "v1, tightest between": (
        {
            "/proc/self/cgroup": "4:cpu,cpuacct:/pods/pod/box",
            **v1("-1", folder=f"{V1}/pods/pod/box"),
            **v1("200000", folder=f"{V1}/pods/pod"),
            **v1("-1"),
        },
        2,
    ),
    "v1 beside v2": (
        {
            "/proc/self/cgroup": "12:cpuset:/x\n4:cpu,cpuacct:/x\n1:name=systemd:/x\n0::/x",
            **v1("500000", folder=f"{V1}/x"),
        },
        5,
    ),
    "cpuset is no quota": ({"/proc/self/cgroup": "12:cpuset:/", **v1("200000")}, 16),
    "a line that is none": ({"/proc/self/cgroup": "nonsense\n\n0::/", f"{V2}/cpu.max": "400000 100000"}, 4),
}


@pytest.mark.parametrize("name", QUOTAS)
def test_cores_by_cgroup(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    files, wanted = QUOTAS[name]
    assert cores(monkeypatch, files) == wanted


@pytest.mark.parametrize(("allowed", "wanted"), [(1, 1), (3, 3), (16, 4)])
def test_the_smaller_of_affinity_and_quota(monkeypatch: pytest.MonkeyPatch, allowed: int, wanted: int) -> None:
    files = {"/proc/self/cgroup": "0::/", f"{V2}/cpu.max": "400000 100000"}
    assert cores(monkeypatch, files, allowed) == wanted


def test_without_affinity_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_text", lambda path: "")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert machine.usable_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cores() == 1


def test_affinity_is_this_processs_own() -> None:
    assert 1 <= machine.usable_cores() <= len(os.sched_getaffinity(0))


def test_text_is_a_files_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(" a word\n")
    assert machine._text(tmp_path / "file") == "a word"
    assert machine._text(tmp_path / "none") == ""
    assert machine._text(tmp_path) == ""


# --- the record -------------------------------------------------------------------------------------------------------


def test_a_machine_without_proc_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_text", lambda path: "")
    monkeypatch.setattr(machine.platform, "freedesktop_os_release", lambda: (_ for _ in ()).throw(OSError()))
    here = machine.read()
    assert here.cpu
    assert here.system
    assert here.cores >= 1
    assert here.instance == ""


def test_reading_twice_gives_the_same_digest() -> None:
    here, again = machine.read(), machine.read()
    assert here == again
    assert here.digest == again.digest
    assert len(here.digest) == 12


OTHERWISE: dict[str, object] = {
    "cpu": "another",
    "cores": 999,
    "cores_present": 999,
    "memory_gib": 0.5,
    "gpus": (machine.Gpu("another", 1, "1.0"),),
    "system": "another",
    "kernel": "another",
    "python": "3.0",
    "instance": "another",
}


def test_whatever_differs_makes_another_machine() -> None:
    here = machine.read()
    assert set(OTHERWISE) == set(machine.Machine.__struct_fields__)  # a new field has to be put above
    digests = {msgspec.structs.replace(here, **{field: value}).digest for field, value in OTHERWISE.items()}
    assert len(digests | {here.digest}) == len(OTHERWISE) + 1


def test_the_record_names_neither_the_host_nor_the_user() -> None:
    text = msgspec.json.encode(machine.read()).decode().lower()
    fields = set(machine.Machine.__struct_fields__)
    assert not fields & {"host", "hostname", "node", "user", "name"}
    for word in (socket.gethostname(), getpass.getuser()):
        # A host named after a common word proves nothing.
        assert len(word) < 5 or word.lower() not in text
