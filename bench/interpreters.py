"""Arms from what a person names: an interpreter says itself what it has, before anything is measured in it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path

from msgspec.structs import replace

from bench import arms, backends, machine
from bench.arms import SETTINGS, Arm, Launch
from bench.errors import BenchError
from bench.process import environment

SUFFIXES = {".pyc", *SOURCE_SUFFIXES, *EXTENSION_SUFFIXES}
NEEDED = 60.0  # seconds for an interpreter to say what it has; frameworks are looked for, not imported
# Run by the arm's own interpreter: its Python, and the distributions that it has of those that are asked for. Of the
# backends of other packages it has rows of its own.
ASK = """
import hashlib, json, pathlib, sys
from importlib import metadata
from importlib.util import find_spec
said = {"python": sys.version.split()[0], "prefix": sys.prefix, "versions": {}}
for name in json.loads(sys.argv[1]):
    try:
        said["versions"][name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
said["missing"] = [name for name in json.loads(sys.argv[2]) if find_spec(name) is None]
import bench.worker
for name in json.loads(sys.argv[3]):
    try:
        row = bench.backends.get(name)
        said["versions"] |= row.versions()
        said["missing"] += [package for package in row.packages if find_spec(package) is None]
    except bench.errors.BenchError as error:
        said["refused"] = str(error)
code = hashlib.sha256()
for path in sorted(pathlib.Path(bench.__file__).parent.rglob("*.py")):
    code.update(path.name.encode() + path.read_bytes())
said["versions"]["stepwatch code"] = code.hexdigest()[:12]
# What is installed besides, and other builds of the same version: the files but for scripts, which name their folder.
found = {}
for one in metadata.distributions():
    lines = [line for line in (one.read_text("RECORD") or "").splitlines() if "sha256=" in line]
    kept = sorted(line for line in lines if not line.startswith("..") and ".dist-info/" not in line)
    if (name := str(one.name).lower()) not in ("pip", "setuptools", "wheel", "stepwatch"):
        found.setdefault(name, [str(one.version), kept])  # the first on the path is the one that is imported
said["installed"] = hashlib.sha256(repr([sys.version, sorted(found.items())]).encode()).hexdigest()[:12]
print(json.dumps(said))
"""


def candidate(names: Iterable[str]) -> Arm:
    """This interpreter, as it is."""
    return _asked("candidate", Launch(), {}, names)


def other_environment(path: Path, names: Iterable[str], against: Arm) -> Arm:
    """`--base-env`: another interpreter, given itself or by the folder of its virtual environment."""
    inside = [path / "bin" / "python", path / "Scripts" / "python.exe"] if path.is_dir() else [path]
    python = next((found for found in inside if found.is_file() and os.access(found, os.X_OK)), None)
    if python is None:
        raise BenchError(
            f"--base-env {path} wants a virtual environment (a folder with bin/python) or an interpreter, "
            f"found {'no interpreter in it' if path.is_dir() else 'none'}; make one with: python -m venv {path}"
        )
    # Not resolved: a virtual environment's python is a link, and is the environment only under its own name.
    arm = _asked("base", Launch(python=str(python.absolute())), {}, names)
    if os.path.realpath(arm.prefix) == os.path.realpath(against.prefix):
        raise BenchError(f"--base-env {path} is the environment that runs now: two identical arms compare nothing")
    if not arms.differences(arm, against):
        raise BenchError(
            f"--base-env {path} has the interpreter and the packages of the environment that runs now: two identical "
            "arms compare nothing"
        )
    return arm


def other_flags(words: Sequence[str], names: Iterable[str]) -> Arm:
    """`--base-flags`: this interpreter with other settings of a case (`mode=eager`) or variables (`XLA_FLAGS=...`)."""
    flags: dict[str, str] = {}
    variables: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise BenchError(f"--base-flags wants NAME=VALUE, found '{word}'; e.g. mode=eager or XLA_FLAGS=--xla_...")
        if name in flags or name in variables:
            raise BenchError(f"--base-flags names {name} twice; give it once")
        if name in SETTINGS:
            flags[name] = value
        elif name.isupper() or os.environ.get(name) is not None:
            variables[name] = value
        else:
            raise BenchError(
                f"no flag '{name}'; there are {', '.join(SETTINGS)}, and environment variables in capital letters"
            )
    known = {"mode": backends.MODES, "precision": backends.PRECISIONS, "layout": backends.LAYOUTS}
    for name, value in flags.items():
        if name in known and value not in known[name]:
            raise BenchError(f"no {name} '{value}'; there are {', '.join(known[name])}")
        if name == "threads" and not (value.isascii() and value.isdigit() and int(value) >= 1):
            raise BenchError(f"threads wants a whole number from 1, found '{value}'")
        if name == "threads" and int(value) > (cores := machine.usable_cores()):
            raise BenchError(f"threads {value} is asked for and this process may use {cores} cores; use at most that")
    for name in variables:
        if setters := sorted(b for b in set(names) if name in backends.get(b).sets):
            instead = "; use threads=" if "THREADS" in name else ""
            raise BenchError(
                f"--base-flags {name}: Stepwatch sets it itself in every worker of {' and '.join(setters)}, so that "
                f"both arms would be the same{instead}"
            )
    for folder in filter(None, variables.get("PYTHONPATH", "").split(os.pathsep)):
        if not _holds_modules(Path(folder)):
            raise BenchError(
                f"--base-flags PYTHONPATH: {folder} holds nothing to import; name a folder of modules or packages"
            )
    changed = {name: value for name, value in variables.items() if os.environ.get(name) != value}
    if not flags and not changed:
        raise BenchError(f"--base-flags {' '.join(words)}: that is so already; two identical arms compare nothing")
    return _asked("base", Launch(environment=changed), flags, names)


def _holds_modules(path: Path) -> bool:
    """Whether modules may be imported from there: a folder that holds one or a folder, or a zip file."""
    if not path.is_dir():
        return path.is_file()
    return any(inside.is_dir() or inside.suffix in SUFFIXES for inside in path.iterdir())


def check_differs(base: Arm, against: Arm) -> None:
    """`BenchError` where all that was changed is where modules are looked for, and what is found there is the same."""
    if base.flags or [*base.launch.environment] != ["PYTHONPATH"]:
        return
    if (base.python, base.versions, base.installed) == (against.python, against.versions, against.installed):
        raise BenchError(
            f"--base-flags PYTHONPATH={base.launch.environment['PYTHONPATH']}: Stepwatch and the packages found there "
            "are those that run now; two identical arms compare nothing"
        )


def again(arm: Arm, names: Iterable[str]) -> Arm:
    """The arm as its interpreter describes itself now."""
    return replace(_asked(arm.name, arm.launch, arm.flags, names), root=arm.root, revision=arm.revision)


def _asked(name: str, launch: Launch, flags: dict[str, str], names: Iterable[str]) -> Arm:
    """The arm, once its interpreter has said what it has; `BenchError` where it lacks a package or does not start."""
    all_ = [backends.get(backend) for backend in sorted(set(names))]
    rows, theirs = [row for row in all_ if not row.adapter], [row.name for row in all_ if row.adapter]
    distributions = ["numpy", *(d for row in rows for d in row.distributions)]
    packages = [package for row in rows for package in row.packages]
    where = "" if launch.python == sys.executable else f" in {launch.python}"
    command = [launch.python, "-c", ASK, *map(json.dumps, (distributions, packages, theirs))]
    told = environment(launch)  # may itself want to write: no fault of the interpreter's
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NEEDED, env=told)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"the {name} arm's interpreter {launch.python} does not run: {error}") from None
    if done.returncode or not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BenchError(
            f"the {name} arm's interpreter {launch.python} cannot run a worker: {last}; it needs Python 3.11 or newer "
            f"and: {launch.python} -m pip install msgspec numpy psutil nvidia-ml-py"
        )
    said = json.loads(done.stdout.splitlines()[-1])
    if "refused" in said:
        raise BenchError(f"the {name} arm{where}: {said['refused']}")
    if said["missing"]:
        missing = " ".join(said["missing"])
        raise BenchError(f"the {name} arm lacks {missing}{where}: {launch.python} -m pip install {missing}")
    return Arm(name, launch, flags, said["python"], said["prefix"], said["versions"], installed=said["installed"])
