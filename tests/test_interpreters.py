"""Two environments of a gate: under two names they are still one, and two of the same packages compare nothing."""

import sys
import sysconfig
from pathlib import Path

import pytest

from bench import arms, interpreters
from bench.arms import Arm, Launch
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
