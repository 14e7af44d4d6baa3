"""Where a program's modules come from: the other revision's, and those that both revisions would share, are refused."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from bench import origins


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No modules but those that a test names, and no distributions."""
    monkeypatch.setattr(origins, "sys", SimpleNamespace(modules={}, prefix="/env", base_prefix="/usr"))
    monkeypatch.setattr(origins.metadata, "distributions", list)
    yield
    assert "made_up" not in sys.modules


def loaded(name: str, path: Path) -> None:
    module = ModuleType(name)
    module.__file__ = str(path)
    origins.sys.modules[name] = module


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


def test_an_environment_inside_the_repository_is_nobody_s(checkouts: tuple[Path, Path]) -> None:
    work, base = checkouts
    origins.sys.prefix = str(work / ".conda")
    loaded("json", work / ".conda" / "lib" / "python3.11" / "json" / "__init__.py")
    loaded("numpy", work / ".venv" / "lib" / "site-packages" / "numpy" / "__init__.py")
    loaded("bench.worker", work / "bench" / "worker.py")
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
