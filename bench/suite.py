"""Suite -> cases: TOML to frozen structs, every name checked before anything runs."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from bench import backends, datasets, doubling, workloads
from bench.case import Case
from bench.errors import BenchError
from bench.gate import HARMLESS, MARGIN
from bench.machine import Machine, no_gpu
from bench.recipe import RECIPES
from bench.workload import Workload

MAX_BATCH = 2**20
Chained = Annotated[int, Meta(ge=1, le=32)]  # a program keeps the losses of 32 steps
Size = Annotated[int, Meta(ge=1, le=MAX_BATCH)] | Literal["auto"]
Words = Annotated[tuple[str, ...], Meta(min_length=1)]


class Protocol(Struct, frozen=True, forbid_unknown_fields=True):
    """How a case is measured. A suite that shortens it is marked: its numbers are for looking, not for quoting."""

    warm_up_steps: Annotated[int, Meta(ge=5, le=10_000)] = 10
    warm_up_seconds: Annotated[float, Meta(ge=0, le=600)] = 1.0
    warm_up_seconds_gpu: Annotated[float, Meta(ge=0, le=600)] = 2.0
    warm_up_cap_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    bursts: Annotated[int, Meta(ge=3, le=10_000)] = 20
    burst_seconds: Annotated[float, Meta(gt=0, le=60)] = 0.05
    latency_calls: Annotated[int, Meta(ge=3, le=1_000_000)] = 200
    feed: Annotated[int, Meta(ge=5, le=1024)] = 32
    ceilings: bool = True

    def shortened(self) -> bool:
        full = Protocol()
        return any(getattr(self, name) < getattr(full, name) for name in self.__struct_fields__)


class Matrix(Struct, frozen=True, forbid_unknown_fields=True):
    """The product of its lists."""

    workload: Words
    backend: Words
    mode: Words = ("default",)
    phase: Words = ("train", "infer")
    measure: Words = ("throughput",)
    precision: Words = ("fp32",)
    layout: Words = ("default",)
    batch: Annotated[tuple[Size, ...], Meta(min_length=1)] | Literal["auto"] = (64,)
    data: Words = ("auto",)
    device: Words = ("auto",)
    threads: Annotated[tuple[Annotated[int, Meta(ge=0, le=4096)], ...], Meta(min_length=1)] = (0,)
    input: Words = ("resident",)
    steps_per_call: Annotated[tuple[Chained, ...], Meta(min_length=1)] = (1,)
    recipe: Words = ("plain",)
    margin: Annotated[float, Meta(gt=0, lt=HARMLESS)] = MARGIN

    def axes(self) -> dict[str, tuple[object, ...]]:
        """The lists that are multiplied, by the case's axis."""
        axes = {name: getattr(self, name) for name in self.__struct_fields__ if name != "margin"}
        return axes | {"batch": doubling.batches(self.batch)}


class Suite(Struct, frozen=True, forbid_unknown_fields=True):
    """A suite file, as it stands."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    matrix: Annotated[tuple[Matrix, ...], Meta(min_length=1)]
    description: str = ""
    rounds: Annotated[int, Meta(ge=1, le=1000)] = 6
    seed: Annotated[int, Meta(ge=0, le=2**32)] = 1
    protocol: Protocol = Protocol()


class Filters(Struct, frozen=True):
    """What a command line leaves of a suite; an empty one leaves all."""

    workload: tuple[str, ...] = ()
    backend: tuple[str, ...] = ()
    mode: tuple[str, ...] = ()
    device: tuple[str, ...] = ()


class Planned(Struct, frozen=True):
    """A case, and why it will not be measured: `status` is "" or `unsupported` or `skipped`, with its reason.

    `margin`: how much slower a gate lets it become. `searched`: its batch is one that a search tries.
    """

    case: Case
    status: str = ""
    reason: str = ""
    margin: float = MARGIN
    searched: bool = False


KNOWN: dict[str, Sequence[object]] = {
    "mode": ("default", *backends.MODES),
    "phase": backends.PHASES,
    "measure": backends.MEASURES,
    "precision": backends.PRECISIONS,
    "layout": ("default", *backends.LAYOUTS),
    "data": ("auto", *datasets.ORDER),
    "device": ("auto", *backends.DEVICES),
    "input": backends.INPUTS,
    "recipe": tuple(RECIPES),
}


def shipped() -> dict[str, Path]:
    """The suites of the distribution: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    for folder in (package.parent / "suites", package / "suites"):
        if (folder / "quick.toml").exists():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def find(name: str) -> Path:
    """The file that `name` means: a path to a suite, or the name of a shipped one."""
    if "/" in name or name.endswith(".toml"):
        return Path(name)
    suites = shipped()
    if name not in suites:
        near = difflib.get_close_matches(name, suites, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise BenchError(f"no suite '{name}'; there are {', '.join(suites)}, or give the path of a .toml file{hint}")
    return suites[name]


def load(path: Path) -> Suite:
    """The suite in a file; a `BenchError` that names the file and the line or the value's path."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BenchError(f"no suite file {path}; wanted a TOML file or one of {', '.join(shipped())}") from None
    except UnicodeDecodeError:
        raise BenchError(f"suite {path} is not text; wanted TOML in UTF-8") from None
    except OSError as error:
        raise BenchError(f"cannot read suite {path}: {error.strerror}") from None
    if not text.strip():
        raise BenchError(
            f"suite {path} is empty; wanted a name and at least one [[matrix]]; docs/suites.md has every key"
        )
    try:
        return msgspec.toml.decode(text, type=Suite)
    except msgspec.ValidationError as error:
        raise BenchError(f"suite {path}: {error}{_found(text, str(error))}; docs/suites.md has every key") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        # tomllib leaves huge numbers and depths to Python.
        raise BenchError(f"suite {path}: {error}; docs/suites.md has every key") from None


def _found(text: str, said: str) -> str:
    """What stands where msgspec's message points, or the keys that are known where one is not."""
    where = re.search(r"at `\$(.*?)`", said)
    steps = re.findall(r"\.(\w+)|\[(\d+)\]", where.group(1)) if where else []
    parts: dict[str, type[Struct]] = {"matrix": Matrix, "protocol": Protocol}
    kind: type[Struct] = Suite
    value: object = tomllib.loads(text)
    for name, index in steps:
        if name in parts:
            kind = parts[name]
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and index and int(index) < len(value):
            value = value[int(index)]
        else:
            return ""
    if "unknown field" in said:
        return f"; there are {', '.join(kind.__struct_fields__)}"
    return "" if isinstance(value, dict) else f", found {value!r}"


def check(filters: Filters) -> None:
    """`BenchError` for a name that is nowhere known, or that another package offers and that is refused."""
    for name in filters.workload:
        workloads.get(name)
    for name in filters.backend:
        if backends.is_own(name):
            raise backends.unknown(name)
        backends.get(name)
    for axis in ("mode", "device"):
        for value in getattr(filters, axis):
            if value not in KNOWN[axis]:
                raise BenchError(f"no {axis} '{value}'; there are {', '.join(sorted(map(str, KNOWN[axis])))}")


NO_FILTERS = Filters()


def plan(suite: Suite, machine: Machine, filters: Filters = NO_FILTERS) -> list[Planned]:
    """Every case of the suite on this machine, in its order; `BenchError` for an unknown name or a duplicate."""
    check(filters)
    if filters.device == ("gpu",) and not machine.gpus:
        raise no_gpu("leave out --device gpu")
    planned: dict[Case, Planned] = {}
    for index, matrix in enumerate(suite.matrix):
        for axis, known in KNOWN.items():
            for value in getattr(matrix, axis):
                if value not in known:
                    names = ", ".join(map(str, known))
                    raise BenchError(f"suite {suite.name}: no {axis} '{value}' in matrix[{index}]; there are {names}")
        try:
            cases = _cases(matrix, machine, filters)
        except BenchError as error:
            raise BenchError(f"suite {suite.name}, matrix[{index}]: {error}") from None
        seen: set[Case] = set()
        for case, asked in cases:
            # Told apart by the layout asked for: a model without images is one case in all of them, and no duplicate.
            if case in planned or asked in seen:
                raise BenchError(f"suite {suite.name}: the case '{asked}' is there twice (matrix[{index}]); remove one")
            seen.add(asked)
        told = {"margin": matrix.margin, "searched": doubling.searched(matrix.batch)}
        planned |= {case: replace(_planned(case), **told) for case, _ in cases}
    kept = [p for p in planned.values() if _passes(p.case, filters)]
    if not kept:
        raise BenchError(
            f"suite {suite.name}: the filters leave none of its {len(planned)} cases; try --dry-run without them"
        )
    return kept


def _cases(matrix: Matrix, machine: Machine, filters: Filters) -> list[tuple[Case, Case]]:
    """The cases of a matrix, each beside itself in the layout that was asked for."""
    cases = []
    axes = matrix.axes()
    for values in product(*axes.values()):
        asked: dict[str, Any] = dict(zip(axes, values, strict=True))
        if asked["device"] == "gpu" and filters.device and "gpu" not in filters.device:
            continue  # a filter may leave out a GPU that is not here
        workload, backend = _plain(asked["workload"]), backends.get(asked["backend"])
        device = _device(asked["device"], machine, backend)
        resolved = asked | {
            "mode": backend.headline(device) if asked["mode"] == "default" else asked["mode"],
            "layout": backend.layouts[0] if asked["layout"] == "default" else asked["layout"],
            "data": datasets.fitting(asked["data"], workload),
            "device": device,
            "threads": _threads(asked["threads"], machine),
        }
        case = Case(**resolved)
        # A model without images is the same program in every layout.
        cases.append((case if workload.has_layout() else replace(case, layout="flat"), case))
    return cases


def _plain(name: str) -> Workload:
    """The workload, without a recipe: that is an axis of its own."""
    plain, _, recipe = name.partition("+")
    if recipe:
        raise BenchError(f"workload '{name}': write its recipe as an axis of its own, recipe = [\"{recipe}\"]")
    return workloads.get(plain)


def _device(asked: str, machine: Machine, backend: backends.Backend) -> str:
    if asked == "auto":
        return "gpu" if machine.gpus and "gpu" in backend.devices else "cpu"
    if asked == "gpu" and not machine.gpus:
        raise no_gpu("run a suite for the CPU, such as quick or cpu")
    return asked


def _threads(asked: int, machine: Machine) -> int:
    if asked > machine.cores:
        raise BenchError(
            f"threads {asked} is asked for and this process may use {machine.cores} cores; use at most that"
        )
    return asked or machine.cores


def _planned(case: Case) -> Planned:
    backend = backends.get(case.backend)
    if reason := backend.why_not(**case.asked):
        return Planned(case, "unsupported", reason)
    if case.measure == "latency" and case.steps_per_call > 1:
        return Planned(case, "unsupported", "no step's result arrives before the whole call's: use steps_per_call 1")
    if reason := workloads.get(case.workload).why_not(case.recipe):
        return Planned(case, "unsupported", reason)
    if reason := backend.missing():
        return Planned(case, "skipped", reason)
    return Planned(case)


def _passes(case: Case, filters: Filters) -> bool:
    row = backends.get(case.backend)
    modes = [row.headline(case.device) if mode == "default" else mode for mode in filters.mode]
    return (
        (not filters.workload or case.workload in filters.workload or case.work in filters.workload)
        and (not filters.backend or case.backend in filters.backend)
        and (not modes or case.mode in modes)
        and (not filters.device or case.device in filters.device or "auto" in filters.device)
    )
