"""A run's identity, `run.json`: what was asked, of which machine, by which code. And the folder that holds it."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import __version__, backends, records, workloads
from bench import folder as folders
from bench.case import Case
from bench.errors import BenchError
from bench.machine import Machine
from bench.suite import Filters, Planned, Suite
from bench.workload import Workload

SHARED = (
    *("placement", "recipe", "augmentation", "workload", "program"),
    *("datasets", "feeds", "samples", "evidence", "probes", "worker"),
)

# What frameworks and the libraries under them read from the shell. Of TensorFlow by name: Terraform's secrets begin so.
READ = (
    *("XLA_", "JAX_", "KERAS_", "TORCH", "PYTORCH_", "ONEDNN_", "DNNL_", "MKL_", "KMP_", "OMP_", "GOMP_", "OPENBLAS_"),
    *("CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_TF32_OVERRIDE", "MALLOC_", "LD_PRELOAD"),
    *("TF_XLA_FLAGS", "TF_ENABLE_", "TF_NUM_", "TF_CUDNN_", "TF_DETERMINISTIC_OPS", "TF_GPU_", "TF_FORCE_GPU_"),
)


class Program(Struct, frozen=True):
    """A file of the user's own, as it stood when the run was planned. `proves`: it offers the proof methods."""

    path: str
    digest: str
    batch: int
    phases: tuple[str, ...]
    proves: bool


class Run(Struct, frozen=True):
    """Everything that must be the same for two parts of a run to belong together, and when it began.

    `declared`: the workloads of other packages, so that a report needs none of them and shows what was measured.
    `variables`: what the shell told the frameworks, but for what their adapters set themselves.
    """

    suite: Suite
    planned: tuple[Planned, ...]
    machine: Machine
    filters: Filters
    versions: dict[str, str]
    commit: str
    harness: str
    deadline: float
    started: str
    better_data: str = ""
    programs: tuple[Program, ...] = ()
    declared: tuple[Workload, ...] = ()
    variables: dict[str, str] = {}
    schema: int = records.SCHEMA

    @property
    def proved(self) -> set[str]:
        """The paths of the programs that are proved against each other: two at least must offer the proof methods."""
        offering = {program.path for program in self.programs if program.proves}
        return offering if len(offering) > 1 else set()

    def workload(self, name: str) -> Workload:
        """As the run measured it; by a recipe, `cnn+l2`, too."""
        plain, _, recipe = name.partition("+")
        declared = next((one for one in self.declared if one.name == plain), None)
        return declared.by(recipe or "plain") if declared else workloads.get(name)


def create(
    suite: Suite,
    planned: list[Planned],
    machine: Machine,
    filters: Filters,
    deadline: float,
    better: str,
    programs: tuple[Program, ...] = (),
) -> Run:
    versions = {"stepwatch": __version__, "numpy": metadata.version("numpy")}
    for name in sorted({p.case.backend for p in planned}):
        versions |= backends.get(name).versions()
    declared = foreign(p.case for p in planned)
    for workload in declared:
        versions |= workloads.OTHERS.source(workload.name)
    known = suite, tuple(planned), machine, filters, versions, commit(), harness()
    return Run(*known, deadline, now(), better, programs, declared, told(p.case.backend for p in planned))


def told(backends_: Iterable[str]) -> dict[str, str]:
    """What the shell tells these backends' frameworks, but for what their adapters set themselves."""
    ours = {name for one in backends_ for name in backends.get(one).sets}
    return {name: value for name, value in variables().items() if name not in ours}


def variables() -> dict[str, str]:
    """Those of the environment that may change what a framework computes, or how fast."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(READ)}


def foreign(cases: Iterable[Case]) -> tuple[Workload, ...]:
    """The workloads of other packages among those of the cases."""
    names = sorted({case.workload for case in cases if not backends.is_own(case.backend)})
    return tuple(found for name in names if (found := workloads.foreign(name)))


def now() -> str:
    """The present instant, UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def commit() -> str:
    """The checkout's commit, marked `-dirty` where files differ from it; the version where there is no checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return f"v{__version__}"
    try:
        named = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True
        )
    except FileNotFoundError:  # a checkout on a machine without git
        return f"v{__version__}"
    return named.stdout.strip() or f"v{__version__}"


def harness() -> str:
    """Digest of the package's own sources: two dirty checkouts of one commit are not the same code."""
    return source_digest(sorted(Path(__file__).parent.rglob("*.py")))


def adapter_digest(backend: str) -> str:
    """Digest of what a proof of this backend depends on in our own code, and in its adapter's."""
    package, row = Path(__file__).parent, backends.get(backend)
    beneath = backends.get(row.engine).sources() if row.engine else []
    layers = sorted((package / "layers").glob("*.py"))
    return source_digest([*(package / f"{name}.py" for name in SHARED), *layers, *row.sources(), *beneath])


def source_digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def read_folder(folder: Path) -> Run:
    """The run.json of a folder; `BenchError` where the folder is missing, a file, or no run."""
    if not folders.exists(folder):
        raise BenchError(f"no run folder {folder}; see results/ for those that exist")
    if not folder.is_dir():
        raise BenchError(f"wanted a run folder, found the file {folder}; give the folder that holds results.jsonl")
    path = folder / "run.json"
    try:
        text = path.read_bytes()
        schema = msgspec.json.decode(text, type=dict).get("schema")
        if schema != records.SCHEMA:
            raise BenchError(
                f"{path}: wanted schema version {records.SCHEMA}, found {schema}; "
                "read it with the Stepwatch that wrote it"
            )
        return msgspec.json.decode(text, type=Run)
    except FileNotFoundError:
        raise BenchError(f"{folder} is not a run folder: it has no run.json") from None
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not a run's: {error}") from None


def stored(folder: Path) -> tuple[Run, dict[records.Key, records.Record], str]:
    """A run with the records that hold, and its torn last line; `BenchError` for none, or one without results."""
    run = read_folder(folder)
    found, torn = records.read(folder / "results.jsonl")
    if not found and any(not planned.status for planned in run.planned):
        raise BenchError(f"{folder} holds no results yet; go on with: stepwatch run --resume {folder}")
    return run, records.latest(found), torn


def check_same(old: Run, new: Run, folder: Path) -> None:
    """`BenchError` naming the first thing in which a resumed run would differ from the one that began."""

    def differs(what: str, was: object, now: object) -> BenchError:
        return BenchError(f"cannot resume {folder}: it was begun with {what} {was}, now it is {now}; start a new run")

    if old.suite != new.suite:
        raise differs("suite", old.suite.name, f"{new.suite.name} (another content)")
    for was, now in zip(old.programs, new.programs, strict=False):
        if was != now:
            raise differs(f"program {was.path}", was.digest, f"{now.digest} (the file changed)")
    for declared, other in zip(old.declared, new.declared, strict=False):
        if declared.digest != other.digest:
            raise differs(f"workload {declared.name}", declared.digest, f"{other.digest} (its package changed it)")
    if old.planned != new.planned:
        raise differs("cases", len(old.planned), f"{len(new.planned)} (other filters, data or installed backends)")
    if old.machine != new.machine:
        changed = next(
            name for name in Machine.__struct_fields__ if getattr(old.machine, name) != getattr(new.machine, name)
        )
        raise differs(f"machine {changed}", getattr(old.machine, changed), getattr(new.machine, changed))
    if old.commit != new.commit:
        raise differs("commit", old.commit, new.commit)
    if old.harness != new.harness:
        raise differs("code", old.harness, f"{new.harness} (the sources changed)")
    if old.variables != new.variables:
        changed = next(k for k in {**old.variables, **new.variables} if old.variables.get(k) != new.variables.get(k))
        raise differs(f"variable {changed}", old.variables.get(changed), new.variables.get(changed))
    if old.versions != new.versions:
        changed = next(k for k in {**old.versions, **new.versions} if old.versions.get(k) != new.versions.get(k))
        raise differs(f"version of {changed}", old.versions.get(changed), new.versions.get(changed))
