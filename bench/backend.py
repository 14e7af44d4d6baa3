"""One row of the registry: what a backend can do, what it needs, and why it lacks the rest."""

from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from msgspec import Struct

from bench import third_parties
from bench.errors import BenchError
from bench.program import BackendModule

MODES = ("eager", "graph", "compiled")
PHASES = ("train", "infer")
MEASURES = ("throughput", "latency")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "fp64")
ITEM_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp64": 8}  # of an activation
LAYOUTS = ("nchw", "nhwc")
NO_FP16 = "fp16 wants its loss scaled, which no adapter does; use bf16, which has fp32's range, or fp32"
NO_FP64 = "on a GPU fp64 is for proofs: its programs go without searches and fusions; time it on the CPU, or use fp32"
ROUNDED, COARSE = ("tf32", "bf16"), (8, 0)  # what a GPU multiplies in from that compute capability on, Ampere's
NO_TF32 = "tf32 is arithmetic of NVIDIA's tensor cores; on a CPU use fp32 or bf16"
NO_SEVERAL = "a loader brings one batch at a time: with input host use steps_per_call 1"
FLAT = "flat"  # the layout of a model without images, and of a backend that has no layer for them
DEVICES = ("cpu", "gpu")
INPUTS = ("resident", "host")
SHOWN = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "CUDA_CACHE_PATH")  # that every worker sets
EVERY = (*SHOWN, "OMP_NUM_THREADS")  # that every framework's does
OWN = "own"  # the workload, mode, precision and layout of a file of the user's own: it alone knows them


class Backend(Struct, frozen=True):
    """One row of the registry. `modes` and `layouts` begin with the headline; `lacks` says why another is absent.

    `on_gpu`: the mode that is the headline on a GPU, where that is another than the first.
    `computes`: its steps do the workload's work, so that they have rivals and a price. `sets`: the environment
    variables that its adapter sets itself, whatever the shell says. `engine`: what Keras runs on in this row.
    `chains`: the modes and devices ("graph", "gpu") in which one call can make several steps. `loads`: its programs
    offer `load`, see `bench.program.HostFed`, whose batches are made by `loader_threads` beside the step.
    `adapter`: the module of another package that is its adapter; `offered_by`: the distribution that offers the row.
    """

    name: str
    modes: tuple[str, ...]
    layouts: tuple[str, ...]
    packages: tuple[str, ...]
    distributions: tuple[str, ...]
    extra: str
    lacks: dict[str, str] = {}
    devices: tuple[str, ...] = DEVICES
    computes: bool = True
    sets: tuple[str, ...] = ()
    engine: str = ""
    on_gpu: str = ""
    chains: tuple[str, ...] = ()
    loads: bool = False
    loader_threads: int = 0
    adapter: str = ""
    offered_by: str = ""

    def headline(self, device: str) -> str:
        """The mode that "default" means on that device: what the framework's users run there."""
        return self.on_gpu if self.on_gpu and device == "gpu" else self.modes[0]

    def missing(self) -> str:
        """Why the backend cannot run here and the command that installs it; empty if its packages are found."""
        absent = [package for package in self.packages if find_spec(package) is None]
        if not absent:
            return ""
        how = install(self.extra)
        if self.offered_by:
            how = f"pip install '{self.offered_by}[{self.extra}]'" if self.extra else f"pip install {' '.join(absent)}"
        return f"{' and '.join(absent)} not installed: {how}"

    def versions(self) -> dict[str, str]:
        """Distribution name to installed version; of another package's adapter its sources too, which may change."""
        found = {name: v for name in self.distributions if (v := _version(name)) is not None}
        return found | ({self.code: third_parties.digest(self.adapter)} if self.adapter else {})

    @property
    def code(self) -> str:
        """What the digest of its adapter's sources is called among versions."""
        return f"{self.name} code"

    @property
    def folder(self) -> str:
        """Of `bench.backends`: Keras has one, whatever it runs on."""
        return "keras" if self.engine else self.name

    def module(self) -> BackendModule:
        """The adapter. It imports its framework only when told to."""
        found = import_module(self.adapter or f"bench.backends.{self.folder}")
        adapter = found.Keras(self.engine) if self.engine else found
        wanted = ("before_import", "after_import", "build")
        if lacking := [one for one in wanted if not callable(getattr(adapter, one, None))]:
            raise BenchError(f"the adapter {found.__name__} of backend {self.name} lacks {' and '.join(lacking)}")
        return cast(BackendModule, adapter)

    def sources(self) -> list[Path]:
        """The files that are its adapter."""
        if self.adapter:
            return third_parties.files(self.adapter)
        return sorted(Path(__file__).parent.glob(f"backends/{self.folder}/*.py"))

    def why_not(
        self,
        *,
        mode: str,
        layout: str,
        device: str,
        precision: str = "fp32",
        input: str = "resident",
        steps_per_call: int = 1,
    ) -> str:
        """Why this combination does not exist in the backend, as far as that is known without importing it."""
        if mode not in self.modes:
            return self.lacks.get(mode, f"{self.name} has no mode {mode}")
        if layout not in (*self.layouts, FLAT):
            return self.lacks.get(layout, f"{self.name} has no layout {layout}")
        if device not in self.devices:
            return self.lacks.get(device, f"{self.name} has no device {device}")
        if precision == "fp16":
            return NO_FP16
        if precision == "tf32" and device == "cpu":
            return NO_TF32
        if precision == "fp64" and device == "gpu":
            return NO_FP64
        if precision not in ("fp32", "fp64") and not self.packages:
            return self.lacks["precision"]
        if steps_per_call > 1 and not {mode, device} & {*self.chains}:
            return self.lacks.get("steps_per_call", f"{self.name} makes one step in a call")
        if input == "host" and not self.loads:
            return self.lacks.get("input", f"{self.name} has no loader: use input resident")
        return NO_SEVERAL if input == "host" and steps_per_call > 1 else ""


def lacked(precision: str, capability: tuple[int, int] | None) -> str:
    """Why a GPU of that compute capability has no such arithmetic; empty where it has, or does not tell."""
    if precision not in ROUNDED or capability is None or capability >= COARSE:
        return ""
    found, wanted = (".".join(map(str, each)) for each in (capability, COARSE))
    return f"{precision} wants a GPU of compute capability {wanted} or more, this one has {found}: use fp32"


def install(extra: str) -> str:
    """The command that installs an extra: of the checkout that this is, or of the distribution."""
    checkout = (Path(__file__).parents[1] / "constraints.txt").exists()
    return f"pip install -c constraints.txt -e '.[{extra}]'" if checkout else f"pip install 'stepwatch[{extra}]'"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
