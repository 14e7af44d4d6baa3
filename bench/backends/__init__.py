"""The import-free registry of backends: what each can do, what it needs, and how to install it.

Other packages add theirs by the entry point `stepwatch.backends`.
"""

from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench import third_parties
from bench.errors import BenchError
from bench.program import BackendModule
from bench.third_parties import Offer, Offers, kind_of

MODES = ("eager", "graph", "compiled")
PHASES = ("train", "infer")
MEASURES = ("throughput", "latency")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "fp64")
ITEM_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp64": 8}  # of an activation
NO_FP16 = "fp16 wants its loss scaled, which no adapter does; use bf16, which has fp32's range"
NO_TF32 = "tf32 is arithmetic of NVIDIA's tensor cores; on a CPU use fp32 or bf16"
LAYOUTS = ("nchw", "nhwc")
FLAT = "flat"  # the layout of a model without images, and of a backend that has no layer for them
DEVICES = ("cpu", "gpu")
EVERY = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "CUDA_CACHE_PATH", "OMP_NUM_THREADS")  # that every adapter sets
OWN = "own"  # the workload, mode, precision and layout of a file of the user's own: it alone knows them


class Backend(Struct, frozen=True):
    """One row of the registry. `modes` and `layouts` begin with the headline; `lacks` says why another is absent.

    `computes`: its steps do the workload's work, so that they have rivals and a price. `sets`: the environment
    variables that its adapter sets itself, whatever the shell says. `engine`: what Keras runs on in this row.
    `chains`: the modes and devices ("graph", "gpu") in which one call can make several steps.
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
    chains: tuple[str, ...] = ()
    adapter: str = ""
    offered_by: str = ""

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
        return sorted(Path(__file__).parent.glob(f"{self.folder}/*.py"))

    def why_not(self, *, mode: str, layout: str, device: str, precision: str = "fp32", steps_per_call: int = 1) -> str:
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
        if precision not in ("fp32", "fp64") and not self.packages:
            return self.lacks["precision"]
        if steps_per_call > 1 and not {mode, device} & {*self.chains}:
            return self.lacks.get("steps_per_call", f"{self.name} makes one step in a call")
        return ""


def _without_model(name: str, why: str) -> Backend:
    """A row that trains no model and needs no framework; `why` begins every reason."""
    return Backend(
        name,
        modes=("eager",),
        layouts=("nhwc",),
        packages=(),
        distributions=(),
        extra="",
        lacks={
            **dict.fromkeys(("graph", "compiled"), f"{why}: one mode is enough"),
            "nchw": f"{why}: one layout is enough",
            "gpu": f"{why}, on the CPU alone",
            **dict.fromkeys(("precision", "steps_per_call"), f"{why}: fp32, a step at a time, is enough"),
        },
        devices=("cpu",),
        computes=False,
    )


NATIVE = {
    backend.name: backend
    for backend in (
        Backend(
            "torch",
            modes=("eager", "compiled"),
            layouts=("nchw", "nhwc"),
            packages=("torch",),
            distributions=("torch",),
            extra="torch",
            lacks={
                "graph": "torch has no graph mode of its own; torch.compile is the mode 'compiled'",
                "steps_per_call": "torch makes several steps in one call by CUDA graphs alone, which a CPU has not",
            },
            chains=("gpu",),
            sets=(*EVERY, "MKL_NUM_THREADS", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
        ),
        Backend(
            "tensorflow",
            modes=("graph", "eager", "compiled"),
            layouts=("nhwc", "nchw"),
            packages=("tensorflow",),
            distributions=("tensorflow", "tensorflow-cpu"),
            extra="tensorflow",
            lacks={"steps_per_call": "TensorFlow's eager mode makes one operation at a time; use graph or compiled"},
            chains=("graph", "compiled"),
            sets=(*EVERY, "TF_FORCE_GPU_ALLOW_GROWTH", "TF_CPP_MIN_LOG_LEVEL", "TF_USE_LEGACY_KERAS", "TF_XLA_FLAGS"),
        ),
        Backend(
            "jax",
            modes=("compiled",),
            layouts=("nhwc",),
            packages=("jax", "flax", "optax"),
            distributions=("jax", "jaxlib", "flax", "optax"),
            extra="jax",
            lacks={
                "eager": "JAX without jit dispatches one primitive at a time, which is for debugging, not for use",
                "graph": "JAX has one way to run a traced program: jit, the mode 'compiled'",
                "nchw": "flax.nnx.Conv is channels-last only",
            },
            chains=("compiled",),
            sets=(
                *EVERY,
                *("XLA_PYTHON_CLIENT_PREALLOCATE", "JAX_PLATFORMS", "JAX_DISABLE_JIT"),
                *("JAX_DEFAULT_MATMUL_PRECISION", "JAX_COMPILATION_CACHE_DIR"),
            ),
        ),
    )
}
KERAS_LACKS = {
    "eager": "Keras on JAX always compiles its steps",
    "graph": "Keras has graphs of its own on TensorFlow alone",
    "nchw": "Keras keeps images channels-last by default, and only on PyTorch may the other order be faster",
    "steps_per_call": "Keras's train_on_batch makes one step a call",
}


def _keras(engine: str, modes: tuple[str, ...], layouts: tuple[str, ...] = ("nhwc",)) -> Backend:
    """Keras 3 over a native row: in the modes that it has there, the first of which is its own choice on a CPU."""
    native = NATIVE[engine]
    return Backend(
        f"keras-{engine}",
        modes=modes,
        layouts=layouts,
        packages=("keras", *native.packages[:1]),
        distributions=("keras", *(name for name in native.distributions if name not in ("flax", "optax"))),
        extra=f"keras-{engine}",
        lacks={word: reason for word, reason in KERAS_LACKS.items() if word not in (*modes, *layouts)},
        sets=(*native.sets, "KERAS_BACKEND", "KERAS_HOME", "KERAS_TORCH_DEVICE"),
        engine=engine,
    )


REGISTRY = NATIVE | {
    backend.name: backend
    for backend in (
        _keras("tensorflow", ("graph", "eager", "compiled")),
        _keras("jax", ("compiled",)),
        _keras("torch", ("eager", "compiled"), ("nhwc", "nchw")),
        _without_model("null", "the null backend computes nothing"),
        _without_model("control", "the control is plain NumPy"),
    )
}


def install(extra: str) -> str:
    """The command that installs an extra: of the checkout that this is, or of the distribution."""
    checkout = (Path(__file__).parents[2] / "constraints.txt").exists()
    return f"pip install -c constraints.txt -e '.[{extra}]'" if checkout else f"pip install 'stepwatch[{extra}]'"


def names() -> list[str]:
    """All that may be asked for, those of other packages among them."""
    return sorted([*REGISTRY, *OTHERS.names()])


def every() -> list[Backend]:
    """Stepwatch's own rows, then those of other packages, but for what is refused of these."""
    return [*REGISTRY.values(), *(row for _, row in OTHERS.every() if isinstance(row, Backend))]


def get(name: str) -> Backend:
    """The registry's row, or that of a user's own file; a `BenchError` with the list of known ones otherwise."""
    if is_own(name):
        frameworks = tuple(name for row in REGISTRY.values() for name in row.distributions)
        return Backend(name, modes=(OWN,), layouts=(OWN,), packages=(), distributions=frameworks, extra="")
    row = REGISTRY.get(name) or OTHERS.get(name)
    if row is None:
        raise unknown(name)
    return row


def unknown(name: str) -> BenchError:
    return BenchError(f"no backend '{name}'; there are {', '.join(names())}")


def recorded(name: str) -> Backend:
    """The row of a backend that a record names, for which no other package has to be here any more.

    All of theirs are alike in what a report asks: they compute, are proved, and stand on no other backend.
    """
    if name in REGISTRY or is_own(name):
        return get(name)
    return Backend(name, modes=(), layouts=(), packages=(name,), distributions=(), extra="")


def is_own(name: str) -> bool:
    """Whether a backend's name is that of a file of the user's own."""
    return name.endswith(".py")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _checked(offer: Offer, found: object) -> Backend:
    """The row under the entry point's name, with the offering distribution among those whose versions count."""
    if type(found) is not Backend:
        raise BenchError(f"{offer.entry} is to be a bench.backends.Backend, found {kind_of(found)}")
    distributions = tuple(dict.fromkeys((offer.distribution, *found.distributions)))
    named = replace(found, name=offer.name, distributions=distributions, offered_by=offer.distribution)
    try:
        row = msgspec.convert(msgspec.to_builtins(named), Backend)
    except (TypeError, msgspec.ValidationError) as error:
        raise BenchError(f"{offer.entry} is no row of the registry: {error}") from None
    for axis, known in (("modes", MODES), ("layouts", (*LAYOUTS, FLAT)), ("devices", DEVICES)):
        words = getattr(row, axis)
        if not words or not set(words) <= set(known):
            there = ", ".join(words) or "none"
            raise BenchError(f"{offer.entry} is to have {axis} of {', '.join(known)}, found {there}")
    if not row.adapter or not row.packages:
        raise BenchError(f"{offer.entry} is to name its adapter, a module, and the packages that it needs")
    if row.engine or not row.computes:
        raise BenchError(f"{offer.entry} is to compute by itself: leave out engine and computes")
    third_parties.digest(row.adapter)  # it is there
    return row


OTHERS = Offers(
    "backend", "stepwatch.backends", taken=lambda: REGISTRY, check=_checked, packages=lambda row: row.packages
)
