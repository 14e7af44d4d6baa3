"""Where a program's modules come from: the other revision's, and those that both revisions would share, are refused."""

import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from bench import origins

LIBRARIES = origins.libraries


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No modules but those that a test names, and no distributions."""
    monkeypatch.setattr(origins, "sys", SimpleNamespace(modules={}, prefix="/env", base_prefix="/usr"))
    monkeypatch.setattr(origins, "libraries", lambda: [Path("/env/lib/site-packages")])
    monkeypatch.setattr(origins.metadata, "distributions", list)
    yield
    assert "made_up" not in sys.modules


def loaded(name: str, path: Path) -> None:
    module = ModuleType(name)
    module.__file__ = str(path)
    origins.sys.modules[name] = module


@pytest.fixture
def real() -> list[Path]:
    return LIBRARIES()


@pytest.fixture
def checkouts(tmp_path: Path) -> tuple[Path, Path]:
    """The repository, and a worktree of it that lies inside, as a gate's does by default."""
    work = tmp_path / "repository"
    base = work / "results" / "gate.base"
    for folder in (work, base):
        (folder / ".git").mkdir(parents=True)
        (folder / "scripts").mkdir()
    return work, base


def test_each_revision_has_its_own_modules(checkouts: tuple[Path, Path]) -> None:
    work, base = checkouts
    loaded("made_up", base / "helper.py")
    assert origins.stranger(base / "scripts", work) == ""  # above the present folder, and still the base's own
    assert "made_up from the other revision's checkout" in origins.stranger(work / "scripts", base)
    loaded("made_up", work / "helper.py")
    assert "made_up from the other revision's checkout" in origins.stranger(base / "scripts", work)
    assert origins.stranger(work / "scripts", base) == ""


def test_an_environment_inside_the_repository_is_nobody_s(
    checkouts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, base = checkouts
    library = work / ".conda" / "lib" / "python3.11"
    monkeypatch.setattr(origins, "libraries", lambda: [library])
    loaded("json", library / "json" / "__init__.py")
    loaded("numpy", library / "site-packages" / "numpy" / "__init__.py")
    assert origins.stranger(base, work) == ""


def test_a_project_below_the_interpreter_s_prefix_is_still_looked_at(
    checkouts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container: Python in /usr, the project in /usr/src/app."""
    work, base = checkouts
    origins.sys.base_prefix = str(work.parent)
    monkeypatch.setattr(origins, "libraries", lambda: [work.parent / "lib" / "python3.11"])
    loaded("json", work.parent / "lib" / "python3.11" / "json" / "__init__.py")
    assert origins.stranger(base, work) == ""
    loaded("made_up", work / "helper.py")
    assert "made_up from the other revision's checkout" in origins.stranger(base, work)


def test_what_is_shared_is_the_libraries_and_no_more(real: list[Path]) -> None:
    assert Path(sysconfig.get_path("purelib")).resolve() in real
    assert Path(sysconfig.__file__).resolve().parent in real
    assert Path(sys.prefix).resolve() not in real and Path(sys.base_prefix).resolve() not in real


def test_stepwatch_s_own_modules_are_known_by_their_place(
    checkouts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, base = checkouts
    loaded("bench.helper", work / "bench" / "helper.py")
    assert "bench.helper from the other revision's checkout" in origins.stranger(base, work)
    monkeypatch.setattr(origins, "PACKAGE", work / "bench")
    assert origins.stranger(base, work) == ""


def test_a_build_of_the_repository_would_serve_both(
    checkouts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, base = checkouts
    url = json.dumps({"url": f"file://{work}", "dir_info": {}})
    built = SimpleNamespace(read_text=lambda _: url, files=["made_up/__init__.py", "alone.py"])
    others = SimpleNamespace(read_text=lambda _: None, files=["numpy/__init__.py"])
    monkeypatch.setattr(origins.metadata, "distributions", lambda: [others, built])
    loaded("numpy", Path("/env/lib/site-packages/numpy/__init__.py"))
    assert origins.stranger(work, base) == ""  # it is installed, and not imported
    loaded("made_up.net", Path("/env/lib/site-packages/made_up/net.py"))
    for root, elsewhere in ((work, base), (base, work)):
        assert f"made_up, which is installed from {work}" in origins.stranger(root, elsewhere)
