"""The wheel as a user gets it: built, installed with its real dependencies and no framework, and run from elsewhere.

Takes about a minute and needs a package registry; where none can be reached, the tests that install are skipped.
"""

import csv
import json
import os
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import FRAMEWORKS, ROOT, python

from bench import __version__, backends, workloads

# pip's own settings may be in the user's home, which the tests of this session do not see.
USER = {name: os.environ[name] for name in ("HOME",) if name in os.environ}


NO_CONNECTION = ("NewConnectionError", "ConnectTimeoutError", "ProxyError", "name resolution", "unreachable")


def out_of_reach(text: str) -> bool:
    """Whether pip says that it reached no registry, as against one that lacks what was asked for."""
    return any(words in text for words in NO_CONNECTION)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the tools that are here, in an environment of its own if hatchling is not."""
    folder = tmp_path_factory.mktemp("dist")
    here = find_spec("hatchling") is not None
    if find_spec("build"):
        done = python("-m", "build", "--wheel", *(["--no-isolation"] if here else []), "--outdir", folder, ROOT, **USER)
    else:
        alone = ["--no-build-isolation"] if here else []
        done = python("-m", "pip", "wheel", "--no-deps", *alone, "--wheel-dir", folder, ROOT, **USER)
    if done.returncode and not here and out_of_reach(done.stdout + done.stderr):
        pytest.skip("hatchling is not here and no package registry can be reached: pip install hatchling")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_is_named_after_the_version(wheel: Path) -> None:
    assert wheel.name == f"stepwatch-{__version__}-py3-none-any.whl"


def test_the_wheel_carries_the_data_that_the_package_reads(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    wanted = {f"bench/suites/{path.name}" for path in (ROOT / "suites").glob("*.toml")}
    wanted |= {"bench/prices/prices.csv", "bench/prices/manifest.toml"}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "bench/workloads/golden").glob("*.json")}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "bench").rglob("*.py")} | {"stepwatch_pytest.py"}
    assert wanted - names == set()
    for name in wanted:
        source = ROOT / name.replace("bench/suites", "suites")
        assert ZipFile(wheel).read(name) == source.read_bytes(), name


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    names = [name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"bench", "stepwatch_pytest.py"}
    assert [name for name in names if "__pycache__" in name] == []


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel and its dependencies, and no framework."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=True)
    command = [folder / "bin" / "python", "-m", "pip", "install", wheel]
    done = subprocess.run(command, capture_output=True, text=True, env=clean() | USER)
    if done.returncode and out_of_reach(done.stderr):
        pytest.skip(f"no package registry can be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def clean() -> dict[str, str]:
    """This environment without what would lead a Python back to the checkout."""
    return {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }


def stepwatch(installed: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(installed / "stepwatch"), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=clean(), capture_output=True, text=True)


def test_the_package_is_the_wheels_own(installed: Path, tmp_path: Path) -> None:
    asked = [installed / "python", "-c", "import bench; print(bench.__file__)"]
    done = subprocess.run(asked, cwd=tmp_path, env=clean(), capture_output=True, text=True)
    assert Path(done.stdout.strip()).is_relative_to(installed.parent)
    assert not Path(done.stdout.strip()).is_relative_to(ROOT)


def test_smoke_runs_without_any_framework(installed: Path, tmp_path: Path) -> None:
    done = stepwatch(installed, tmp_path, "run", "smoke", "--out", tmp_path / "run", "--patience", 0)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "run" / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    statuses = {(row["backend"], row["phase"]): row["status"] for row in rows}
    wanted = {
        (name, phase): {"ok", "unsteady"} if name == "null" else {"skipped"}  # this machine may be busy
        for name in ("null", *backends.NATIVE)
        for phase in ("train", "infer")
    }
    assert statuses.keys() == wanted.keys()
    assert all(status in wanted[row] for row, status in statuses.items()), statuses
    for row in rows:
        assert bool(row["step_ms"]) == (row["backend"] == "null")
        if row["status"] == "skipped":
            extra = backends.get(row["backend"]).extra
            assert f"pip install 'stepwatch[{extra}]'" in row["reason"]
            assert row["reason"] in done.stdout
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["commit"] == f"v{__version__}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_list_finds_what_was_shipped(installed: Path, tmp_path: Path) -> None:
    done = stepwatch(installed, tmp_path, "list")
    assert done.returncode == 0, done.stderr
    wanted = [*workloads.names(), *backends.REGISTRY, *(path.stem for path in (ROOT / "suites").glob("*.toml"))]
    assert [name for name in wanted if name not in done.stdout] == []


def test_parity_without_a_framework_says_so(installed: Path, tmp_path: Path) -> None:
    done = stepwatch(installed, tmp_path, "parity", "mlp")
    assert done.returncode == 2
    assert done.stderr.startswith("stepwatch: nothing to prove: ")
    assert done.stderr.count("skipped: ") == len(FRAMEWORKS)


def test_the_bundled_prices_are_read(installed: Path, tmp_path: Path) -> None:
    done = stepwatch(installed, tmp_path, "run", "null", "--instance", "c5.2xlarge", "--dry-run")
    assert done.returncode == 0, done.stderr
    done = stepwatch(installed, tmp_path, "run", "null", "--instance", "nowhere.large", "--dry-run")
    assert done.returncode == 2
    assert "nowhere.large" in done.stderr


def test_this_python_is_one_that_the_wheel_allows(wheel: Path) -> None:
    metadata = next(name for name in ZipFile(wheel).namelist() if name.endswith("METADATA"))
    text = ZipFile(wheel).read(metadata).decode()
    assert "Requires-Python: <3.14,>=3.11" in text
    assert (3, 11) <= sys.version_info[:2] < (3, 14)
