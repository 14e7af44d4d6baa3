"""Two environments of a gate: under two names they are still one, and two of the same packages compare nothing."""

import shutil
import sys
import sysconfig
from pathlib import Path

import msgspec
import pytest

from bench import arms, comparison, interpreters, machine, suite
from bench.arms import Arm, Launch
from bench.docket import launch_of
from bench.errors import BenchError


@pytest.fixture(scope="module")
def candidate() -> Arm:
    return interpreters.candidate(["null"])


def environment(folder: Path) -> Path:
    """A virtual environment that finds this one's packages, and so has the very same."""
    library = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    library.mkdir(parents=True)
    (library / "others.pth").write_text(sysconfig.get_path("purelib"))
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (folder / "pyvenv.cfg").write_text(
        f"home = {Path(sys.executable).resolve().parent}\ninclude-system-site-packages = false\n"
    )
    return library


def installed(library: Path, name: str, version: str, digest: str) -> None:
    folder = library / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "RECORD").write_text(f"{name}.py,sha256={digest},1\n../../../bin/{name},sha256={library},1\n")


def test_an_environment_under_another_name_is_the_same(tmp_path: Path, candidate: Arm) -> None:
    link = tmp_path / "link"
    link.symlink_to(sys.prefix)
    with pytest.raises(BenchError, match="is the environment that runs now: two identical arms compare nothing"):
        interpreters.other_environment(link, ["null"], candidate)


def test_two_environments_of_the_same_packages_compare_nothing(tmp_path: Path, candidate: Arm) -> None:
    libraries = {name: environment(tmp_path / name) for name in ("twin", "built", "with-pip")}
    installed(libraries["with-pip"], "pip", "1.0", "a")
    for name in ("twin", "with-pip"):
        with pytest.raises(BenchError, match=f"{name} has the interpreter and the packages of the environment") as said:
            interpreters.other_environment(tmp_path / name, ["null"], candidate)
        assert said.value.exit_code == 2
    # Another package makes a difference, and so does another build of the same version.
    found = []
    for digest in "ab":
        folder = libraries["built"]
        for path in (path for path in folder.glob("made_up*/*")):
            path.unlink()
        for path in folder.glob("made_up*"):
            path.rmdir()
        installed(folder, "made_up", "1.0", digest)
        found.append(interpreters.other_environment(tmp_path / "built", ["null"], candidate))
    assert len({arm.installed for arm in (*found, candidate)}) == 3
    (said_,) = arms.differences(found[0], candidate)
    assert said_.startswith("installed files ")


def test_a_variable_is_a_difference(candidate: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the gate's own measurement of identical arms has it: FOO=1, which nothing reads."""
    base = interpreters.other_flags(["FOO=1"], ["null"])
    assert base.launch == Launch(environment={"FOO": "1"}) and base.installed == candidate.installed
    assert arms.differences(base, candidate) == ["FOO=1 -> unset"]


def test_more_threads_than_cores_are_refused_as_in_a_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    with pytest.raises(BenchError, match="use at most that") as ours:
        interpreters.other_flags(["threads=3"], ["null"])
    here = msgspec.structs.replace(machine.read(), cores=2)
    matrix = suite.Matrix(workload=("mlp",), backend=("null",), data=("synthetic",), threads=(3,))
    with pytest.raises(BenchError) as theirs:
        suite.plan(suite.Suite("made", (matrix,)), here)
    assert str(theirs.value).endswith(f": {ours.value}")
    with pytest.raises(BenchError, match="wants a whole number from 1, found '0'"):
        interpreters.other_flags(["threads=0"], ["null"])


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_CACHE_PATH"])
def test_a_program_s_worker_sets_variables_too(name: str) -> None:
    with pytest.raises(BenchError, match=rf"{name}: Stepwatch sets it itself in every worker of model\.py"):
        interpreters.other_flags([f"{name}=0"], ["model.py"])


def test_a_cache_that_cannot_be_written_is_not_the_interpreter_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(launch: object) -> None:
        raise PermissionError(13, "Permission denied", "/cache")

    monkeypatch.setattr(interpreters, "environment", refuse)
    with pytest.raises(PermissionError):
        interpreters.candidate(["null"])


def test_variables_that_change_what_a_framework_does_are_part_of_a_gate(
    candidate: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # which every framework's worker sets itself
    assert not {"XLA_FLAGS", "OMP_NUM_THREADS"} & {*arms.inherited(candidate, ["jax", "torch"])}
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert arms.inherited(candidate, ["jax", "torch"])["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=true"


def test_a_place_for_modules_that_changes_none_is_no_difference(tmp_path: Path, candidate: Arm) -> None:
    """A base that falls back to the Stepwatch that runs, or is a copy of it, would pass whatever the candidate does."""
    with pytest.raises(BenchError, match=f"PYTHONPATH: {tmp_path}/typo holds nothing to import; name a"):
        interpreters.other_flags([f"PYTHONPATH={tmp_path}/typo"], ["null"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    with pytest.raises(BenchError, match=f"PYTHONPATH: {tmp_path}/empty holds nothing to import; name a"):
        interpreters.other_flags([f"PYTHONPATH={tmp_path}/empty"], ["null"])
    (tmp_path / "empty" / "nobodys.py").write_text("")
    shutil.copytree(Path(interpreters.__file__).parent, tmp_path / "copy" / "bench")
    for name in ("empty", "copy"):
        same = interpreters.other_flags([f"PYTHONPATH={tmp_path / name}"], ["null"])
        assert (same.versions, same.installed) == (candidate.versions, candidate.installed)
        with pytest.raises(BenchError, match="two identical arms compare nothing") as said:
            interpreters.check_differs(same, candidate)
        assert said.value.exit_code == 2
    with open(tmp_path / "copy" / "bench" / "clock.py", "a") as file:
        file.write("# another\n")
    interpreters.check_differs(interpreters.other_flags([f"PYTHONPATH={tmp_path / 'copy'}"], ["null"]), candidate)
    both = interpreters.other_flags([f"PYTHONPATH={tmp_path / 'empty'}", "FOO=1"], ["null"])
    interpreters.check_differs(both, candidate)


def test_the_control_is_measured_by_one_stepwatch_in_both_arms(candidate: Arm) -> None:
    """A clock that is slower in the candidate alone is what a gate is to find, and no difference of environments."""
    base = msgspec.structs.replace(candidate, launch=Launch("python", {"PYTHONPATH": "/other", "XLA_FLAGS": "a"}))
    control = comparison.control(2).base
    assert launch_of(base, control) == Launch("python", {"XLA_FLAGS": "a"})
    assert launch_of(base, msgspec.structs.replace(control, backend="null")) == base.launch
