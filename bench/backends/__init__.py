"""The import-free registry of backends: what each can do, what it needs, and how to install it.

Other packages add theirs by the entry point `stepwatch.backends`.
"""

import msgspec
from msgspec.structs import replace

from bench import third_parties
from bench.backend import (
    DEVICES,
    EVERY,
    FLAT,
    INPUTS,
    ITEM_BYTES,
    LAYOUTS,
    MEASURES,
    MODES,
    OWN,
    PHASES,
    PRECISIONS,
    SHOWN,
    Backend,
    install,
)
from bench.errors import BenchError
from bench.third_parties import Offer, Offers, kind_of

__all__ = [
    "DEVICES",
    "EVERY",
    "FLAT",
    "INPUTS",
    "ITEM_BYTES",
    "LAYOUTS",
    "MEASURES",
    "MODES",
    "NATIVE",
    "OTHERS",
    "OWN",
    "PHASES",
    "PRECISIONS",
    "REGISTRY",
    "Backend",
    "every",
    "get",
    "install",
    "is_own",
    "names",
    "recorded",
    "unknown",
]


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
            "input": f"{why}: it reads no batch",
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
            loads=True,
            sets=(
                *EVERY,
                "MKL_NUM_THREADS",
                *("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS"),
            ),
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
            loads=True,
            loader_threads=1,
            sets=(
                *EVERY,
                *("TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR", "TF_CPP_MIN_LOG_LEVEL"),
                *("TF_USE_LEGACY_KERAS", "TF_XLA_FLAGS"),
            ),
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
            loads=True,
            sets=(
                *EVERY,
                *("XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"),
                *("XLA_PYTHON_CLIENT_ALLOCATOR", "TF_GPU_ALLOCATOR", "JAX_PLATFORMS", "JAX_DISABLE_JIT"),
                *("JAX_DEFAULT_MATMUL_PRECISION", "JAX_COMPILATION_CACHE_DIR"),
            ),
        ),
    )
}


KERAS_LACKS = {
    "eager": "JAX without jit dispatches one primitive at a time, under Keras too: for debugging, not for use",
    "graph": "Keras has graphs of its own on TensorFlow alone",
    "nchw": "Keras keeps images channels-last by default, and that order is kept; keras-torch alone has both",
    "steps_per_call": "Keras's train_on_batch makes one step a call",
}


def _keras(engine: str, modes: tuple[str, ...], layouts: tuple[str, ...] = ("nhwc",), *, on_gpu: str = "") -> Backend:
    """Keras 3 over a native row: in the modes that it has there. The headline is what jit_compile="auto" becomes."""
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
        loads=True,
        engine=engine,
        on_gpu=on_gpu,
    )


REGISTRY = NATIVE | {
    backend.name: backend
    for backend in (
        _keras("tensorflow", ("graph", "eager", "compiled"), on_gpu="compiled"),  # XLA where there is a GPU
        _keras("jax", ("compiled",)),
        _keras("torch", ("eager", "compiled"), ("nhwc", "nchw")),
        _without_model("null", "the null backend computes nothing"),
        _without_model("control", "the control is plain NumPy"),
    )
}


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
        return Backend(name, (OWN,), (OWN,), packages=(), distributions=frameworks, extra="", sets=SHOWN)
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
    if row.on_gpu not in ("", *row.modes):
        raise BenchError(f"{offer.entry} is to have on_gpu of its modes {', '.join(row.modes)}, found {row.on_gpu}")
    if not row.adapter or not row.packages:
        raise BenchError(f"{offer.entry} is to name its adapter, a module, and the packages that it needs")
    if row.engine or not row.computes:
        raise BenchError(f"{offer.entry} is to compute by itself: leave out engine and computes")
    third_parties.digest(row.adapter)  # it is there
    return row


OTHERS = Offers(
    "backend", "stepwatch.backends", taken=lambda: REGISTRY, check=_checked, packages=lambda row: row.packages
)
