"""Who may import whom, and how long a file may be: the rules of the design, read from the sources, none of them run.

Each rule is shown to fail on a module made up for it.
"""

import ast
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, python

from bench import backends

Sources = dict[str, str]  # module name to its text
PACKAGE = ROOT / "bench"
LONGEST = 300
FRAMEWORKS = {
    *(package for row in backends.REGISTRY.values() for package in row.packages),
    *("jaxlib", "keras", "tf_keras", "torchvision"),
}


def sources() -> Sources:
    """Every module of the package. A package's own module has its folder's name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


SOURCES = sources()


@cache
def stated(text: str) -> list[ast.Import | ast.ImportFrom]:
    """The import statements of a module, wherever they stand in it."""
    return [node for node in ast.walk(parsed(text)) if isinstance(node, ast.Import | ast.ImportFrom)]


parsed = cache(ast.parse)


def imports(name: str, sources: Sources) -> set[str]:
    """All that a module imports, wherever in its text: `bench.layers`, `numpy`, `torch.nn`.

    `from bench import layers` is `bench.layers` where there is such a module.
    """
    found: set[str] = set()
    for node in stated(sources[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{name} line {node.lineno}: a relative import hides what it imports"
            base = node.module or ""
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in sources else base)
    return found


def reached(start: str, sources: Sources) -> set[str]:
    """The modules of the package that a module imports, and those that they import, and so on."""
    todo, seen = [start], set()
    while todo:
        for name in imports(todo.pop(), sources):
            # Importing a module imports the packages around it first.
            parts = name.split(".")
            around = {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & sources.keys()
            todo += around - seen
            seen |= around
    return seen


def inside(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}.")


def top(name: str) -> str:
    return name.split(".")[0]


def outside(found: Iterable[str], allowed: set[str]) -> list[str]:
    """What is neither allowed (itself or something around it) nor in the standard library."""
    return sorted(
        name
        for name in found
        if top(name) not in sys.stdlib_module_names and not any(inside(name, one) for one in allowed)
    )


# --- the rules: each gives, for a package's sources, what breaks it, as "module: what" --------------------------------

NEUTRAL = {
    *("bench.layers", "bench.placement", "bench.workload", "bench.workloads"),
    *("bench.recipe", "bench.samples", "bench.datasets", "bench.errors", "bench.third_parties"),
}
ADAPTER = {
    "bench.placement",
    "bench.errors",
    *("bench.no_model", "bench.recipe", "bench.augmentation"),
    "bench.layers",
    "bench.program",
    "bench.workload",
    "numpy",
    "msgspec",
}
# They read what was recorded; nothing that they import may start a process or measure.
PURE = (
    *("bench.stats", "bench.noise", "bench.bounds", "bench.break_even", "bench.status", "bench.joules"),
    *(
        "bench.parity",
        "bench.prices",
        "bench.table",
        "bench.reports",
        "bench.gate",
        "bench.pairs",
        "bench.arms",
        "bench.compare",
        "bench.history",
        "bench.api",
        "bench.search",
        "bench.doubling",
    ),
)
RUNNING = {
    "bench.runner",
    "bench.baseline",
    "bench.starts",
    "bench.process",
    "bench.worker",
    "bench.verbs",
    "bench.verbs.run",
    "bench.verbs.parity",
    "bench.proofs",
    "bench.prover",
    "bench.measuring",
    "bench.trial",
    "bench.ceilings",
    "bench.clock",
    "bench.interpreters",
    "bench.programs",
    "bench.comparison",
    "bench.revisions",
    "bench.docket",
    "bench.pairer",
    "bench.ping_pong",
    "bench.gatekeeper",
    "bench.verbs.gate",
    "bench.verbs.prices",
    "bench.verbs.price_books",
}
# What is imported in the worker's process alone: by the worker, and by each other.
WORKERS_OWN = {
    *("bench.worker", "bench.trial", "bench.warm_up", "bench.quiet", "bench.memory", "bench.energy"),
    *("bench.ceilings", "bench.clock", "bench.probes", "bench.own", "bench.fences", "bench.origins"),
}


def neutral(sources: Sources) -> list[str]:
    """The vocabulary, workloads and data know NumPy, msgspec and each other."""
    broken = []
    for name in sources:
        if any(inside(name, one) for one in NEUTRAL):
            # scikit-learn is where one of the data sets is, and nothing else of it is used.
            extra = {"sklearn.datasets"} if name == "bench.datasets" else set()
            unknown = outside(imports(name, sources), NEUTRAL | {"numpy", "msgspec"} | extra)
            broken += [f"{name}: {what}" for what in unknown]
    return broken


def adapters(sources: Sources) -> list[str]:
    """A backend knows its own framework and the vocabulary; never another backend, never the runner."""
    broken = []
    for name in sources:
        if name.startswith("bench.backends."):
            backend = name.split(".")[2]
            rows = [row for row in backends.REGISTRY.values() if row.folder == backend]
            allowed = ADAPTER | {f"bench.backends.{backend}", *(package for row in rows for package in row.packages)}
            broken += [f"{name}: {what}" for what in outside(imports(name, sources), allowed)]
    return broken


def frameworks(sources: Sources) -> list[str]:
    """Only a backend's own folder names a framework at all, and the selftest's steps, which are a user's own files."""
    return [
        f"{name}: {what}"
        for name in sources
        if not name.startswith(("bench.backends.", "bench.selftest.work."))
        for what in sorted(imports(name, sources))
        if top(what) in FRAMEWORKS
    ]


def doors(sources: Sources) -> list[str]:
    """A backend's `__init__` and `device` import no framework when they are imported: `before_import` comes first."""
    broken = []
    for name in sources:
        parts = name.split(".")
        if parts[:2] == ["bench", "backends"] and (len(parts) == 3 or parts[-1] == "device"):
            at_once = ast.Module([node for node in ast.parse(sources[name]).body if is_import(node)], [])
            found = imports(name, {**sources, name: ast.unparse(at_once)})
            broken += [f"{name}: {what}" for what in sorted(found) if top(what) in FRAMEWORKS or is_room(what)]
    return broken


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def is_room(name: str) -> bool:
    """A module that imports its framework at once: of a backend's all but these two."""
    return name.startswith("bench.backends.") and name.count(".") == 3 and name.split(".")[-1] not in ("device",)


def pure(sources: Sources) -> list[str]:
    """What judges and prints can never run anything, not even through what it imports."""
    broken = []
    for name in sources:
        if any(inside(name, one) for one in PURE):
            broken += [f"{name}: {what}" for what in sorted(reached(name, sources) & RUNNING)]
    return broken


def apart(sources: Sources) -> list[str]:
    """Nobody imports the worker, and what only it imports: it is another process."""
    return [
        f"{name}: {what}"
        for name in sources
        if name not in WORKERS_OWN
        for what in sorted(imports(name, sources) & WORKERS_OWN)
    ]


def sheltered(sources: Sources) -> list[str]:
    """The worker answers; it knows nothing of who asks, of records and of prices."""
    parents = RUNNING - WORKERS_OWN | {"bench.records", "bench.table", "bench.prices", "bench.run"}
    return [f"bench.worker: {what}" for what in sorted(reached("bench.worker", sources) & parents)]


def short(sources: Sources) -> list[str]:
    """A file can be read in one sitting."""
    lengths = {name: len(text.splitlines()) for name, text in sources.items()}
    return [f"{name}: {lines} lines, at most {LONGEST}" for name, lines in lengths.items() if lines > LONGEST]


def told(sources: Sources) -> list[str]:
    """The module docstring comes first: what the file is; six lines at most."""
    docstrings = {name: ast.get_docstring(ast.parse(text)) for name, text in sources.items()}
    return [
        f"{name}: {'no docstring' if not text else 'more than six lines'}"
        for name, text in docstrings.items()
        if not text or len(text.splitlines()) > 6
    ]


Rule = Callable[[Sources], list[str]]
RULES: tuple[Rule, ...] = (neutral, adapters, frameworks, doors, pure, apart, sheltered, short, told)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps(rule: Rule) -> None:
    assert rule(SOURCES) == []


# rule, a module, what it says, what the rule must say of it
MADE_UP: list[tuple[Rule, str, str, str]] = [
    (neutral, "bench.layers", "import torch", "bench.layers: torch"),
    (neutral, "bench.workload", "from bench.backends import get", "bench.workload: bench.backends"),
    (neutral, "bench.workloads.new", "from bench import suite", "bench.workloads.new: bench.suite"),
    (neutral, "bench.layers", "import pandas", "bench.layers: pandas"),
    (neutral, "bench.third_parties", "from bench import backends", "bench.third_parties: bench.backends"),
    (neutral, "bench.layers", "from sklearn.datasets import load_digits", "bench.layers: sklearn.datasets"),
    (neutral, "bench.datasets", "from sklearn import svm", "bench.datasets: sklearn"),
    (neutral, "bench.placement", "def f():\n    import bench.runner", "bench.placement: bench.runner"),
    (adapters, "bench.backends.torch.new", "import tensorflow", "bench.backends.torch.new: tensorflow"),
    (
        adapters,
        "bench.backends.torch.new",
        "from bench.backends.jax import build",
        "bench.backends.torch.new: bench.backends.jax",
    ),
    (adapters, "bench.backends.torch.new", "from bench import backends", "bench.backends.torch.new: bench.backends"),
    (
        adapters,
        "bench.backends.jax.program",
        "from bench.runner import Runner",
        "bench.backends.jax.program: bench.runner",
    ),
    (adapters, "bench.backends.null", "import torch", "bench.backends.null: torch"),
    (adapters, "bench.backends.unregistered", "import mxnet", "bench.backends.unregistered: mxnet"),
    (frameworks, "bench.runner", "def f():\n    import torch", "bench.runner: torch"),
    (frameworks, "bench.worker", "from jax import numpy", "bench.worker: jax"),
    (frameworks, "bench.backends", "import tensorflow.nn", "bench.backends: tensorflow.nn"),
    (frameworks, "bench.reports.new", "import keras", "bench.reports.new: keras"),
    (doors, "bench.backends.torch", "import torch", "bench.backends.torch: torch"),
    (doors, "bench.backends.jax.device", "import jax.numpy as jnp", "bench.backends.jax.device: jax.numpy"),
    (
        doors,
        "bench.backends.torch",
        "from bench.backends.torch.program import P",
        "bench.backends.torch: bench.backends.torch.program",
    ),
    (pure, "bench.stats", "from bench.runner import works", "bench.stats: bench.runner"),
    (pure, "bench.reports.new", "from bench import process", "bench.reports.new: bench.process"),
    (
        pure,
        "bench.prices.book",
        "from bench.verbs import doctor",
        "bench.prices.book: bench.process",
    ),  # by way of another
    (pure, "bench.prices.query", "from bench.verbs import price_books", "bench.prices.query: bench.verbs.price_books"),
    (pure, "bench.noise", "from bench import prover", "bench.noise: bench.prover"),
    (pure, "bench.api", "from bench.verbs import report", "bench.api: bench.verbs"),
    (pure, "bench.bounds", "from bench.ceilings import measure", "bench.bounds: bench.ceilings"),
    (pure, "bench.break_even", "from bench.measuring import sample", "bench.break_even: bench.measuring"),
    (pure, "bench.status", "from bench import runner", "bench.status: bench.runner"),
    (pure, "bench.joules", "from bench import clock", "bench.joules: bench.clock"),
    (pure, "bench.search", "from bench import measuring", "bench.search: bench.measuring"),
    (pure, "bench.doubling", "from bench import process", "bench.doubling: bench.process"),
    (pure, "bench.patience", "from bench.process import Process", "bench.noise: bench.process"),  # what noise imports
    (apart, "bench.runner", "from bench.worker import Worker", "bench.runner: bench.worker"),
    *(
        (apart, "bench.measuring", f"from bench import {name}", f"bench.measuring: bench.{name}")
        for name in ("trial", "warm_up", "quiet", "memory", "energy", "ceilings", "probes")
    ),
    (apart, "bench.table", "from bench import clock", "bench.table: bench.clock"),
    (sheltered, "bench.worker", "from bench import records", "bench.worker: bench.records"),
    (sheltered, "bench.evidence", "from bench.runner import Runner", "bench.worker: bench.runner"),
    (sheltered, "bench.trial", "from bench.records import Sample", "bench.worker: bench.records"),
    (sheltered, "bench.sensors", "from bench import measuring", "bench.worker: bench.measuring"),
    (short, "bench.stats", "x = 0\n" * 301, "bench.stats: 301 lines, at most 300"),
    (told, "bench.stats", "x = 0", "bench.stats: no docstring"),
    (told, "bench.stats", '"""' + "line\n" * 7 + '"""', "bench.stats: more than six lines"),
]


@pytest.mark.parametrize(("rule", "name", "text", "says"), MADE_UP)
def test_each_rule_can_fail(rule: Rule, name: str, text: str, says: str) -> None:
    assert says in rule({**SOURCES, name: text})
    assert says not in rule(SOURCES)


def test_every_rule_is_shown_to_fail() -> None:
    assert {rule for rule, *_ in MADE_UP} == set(RULES)


@pytest.mark.parametrize("text", ["from . import layers", "from .layers import Dense", "from .. import bench"])
def test_a_relative_import_is_not_overlooked(text: str) -> None:
    with pytest.raises(AssertionError, match="relative import"):
        imports("bench.stats", {**SOURCES, "bench.stats": text})


def test_the_longest_file_allowed_is_allowed() -> None:
    assert short({"bench.stats": "x = 0\n" * 300}) == []


# --- and as it really happens -----------------------------------------------------------------------------------------

EVERYTHING = """
import importlib, pkgutil, sys
import bench, bench.__main__
if sys.argv[1:]:
    names = [module.name for module in pkgutil.walk_packages(bench.__path__, "bench.")]
    for name in names:
        room = name.count(".") == 3 and ".backends." in name and not name.endswith(".device")
        if not room and not name.endswith("_work"):
            importlib.import_module(name)
print(*(name for name in sys.modules if "." not in name))
"""


@pytest.mark.parametrize("how", [[], ["every module that is no room of a backend"]], ids=["bench", "all"])
def test_importing_the_package_imports_no_framework(tmp_path: Path, how: list[str]) -> None:
    done = python("-c", EVERYTHING, *how, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "bench" in loaded
    assert loaded & FRAMEWORKS == set()


def test_that_such_an_import_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("")
    done = python("-c", f"import torch{EVERYTHING}", folder=tmp_path)
    assert "torch" in set(done.stdout.split()) & FRAMEWORKS
