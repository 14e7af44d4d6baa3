"""What all tests share: a home of their own, frameworks in processes of their own, and one clear skip without them.

pytest's own process imports no framework: a test that needs one asks `framework` for a script's run in a subprocess.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from bench import backends

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(__file__).parent / "frameworks"
FRAMEWORKS = tuple(name for name, backend in backends.REGISTRY.items() if backend.packages)

# Hypothesis fails a slow example by default; no test here asserts how long anything took.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*backends): skip where a framework of these is not installed")
    config.addinivalue_line("markers", "alone: judges times, which another test's processes beside it would move")
    config.addinivalue_line("markers", "long: has a quicker one that stands for it; only by `make test-all`")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if reason := backends.get(name).missing():
                pytest.skip(reason)


def each_framework() -> pytest.MarkDecorator:
    """The test runs once a framework, as its argument `backend`, and skips where that one is not installed."""
    return pytest.mark.parametrize(
        "backend", [pytest.param(name, marks=pytest.mark.needs(name)) for name in FRAMEWORKS]
    )


@pytest.fixture(params=["some", pytest.param("every", marks=pytest.mark.long)])
def choice(request: pytest.FixtureRequest) -> str:
    """How many of a script's programs are looked at: a sample in the quick tests."""
    return str(request.param)


def unless(quick: bool) -> list[pytest.MarkDecorator]:
    """The marks of a case that is `long` unless it is quick, or stands for its like in the quick tests."""
    return [] if quick else [pytest.mark.long]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder of this session's own: no test reads or writes the user's cache, and no process it starts.

    None waits for a quiet machine either, but where a test asks for that: no figure of these runs is looked at.
    """
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(folder / ".cache"))
        patch.setenv("STEPWATCH_PATIENCE", "0")
        patch.delenv("BENCH_DATA", raising=False)
        patch.delenv("GITHUB_STEP_SUMMARY", raising=False)  # of the job that runs these tests
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            patch.delenv(name)  # pytest in a process of its own would take itself for one of these tests' workers
        yield folder


@pytest.fixture(autouse=True)
def openmp() -> Iterator[None]:
    """No test leaves to the next what scikit-learn sets when it is imported, which a proof's name would have."""
    before = set(os.environ)
    yield
    for name in [name for name in set(os.environ) - before if name.startswith("KMP_")]:
        del os.environ[name]


def python(*arguments: object, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs this interpreter with `bench` importable; output is captured, the exit code is the caller's to judge."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths} | environment,
        capture_output=True,
        text=True,
    )


def side_by_side(framework: Callable[..., Any], script: str, request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """What a script found of a backend; for all backends that this session asks a module's tests for, two at a time."""
    items = [item for item in request.session.items if item.path == request.path and "backend" in _parameters(item)]
    names = {_parameters(item)["backend"] for item in items}
    here = [name for name in FRAMEWORKS if name in names and not backends.get(name).missing()]
    with ThreadPoolExecutor(2) as pool:
        runs: dict[str, Future[Any]] = {name: pool.submit(framework, script, name) for name in here}
    return lambda name: runs[name].result()


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


@pytest.fixture(scope="session")
def framework(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`framework("programs.py", "torch")`: what that script of tests/frameworks found, run once a session.

    The script gets its arguments and an empty folder, and leaves its findings there in `found.json`.
    """

    @cache
    def found(script: str, *arguments: str) -> Any:
        folder = tmp_path_factory.mktemp(script.removesuffix(".py"))
        done = python(SCRIPTS / script, *arguments, folder)
        assert done.returncode == 0, f"{script} {' '.join(arguments)} failed:\n{done.stderr[-4000:]}"
        return json.loads((folder / "found.json").read_text()) | {"folder": str(folder)}

    return found
