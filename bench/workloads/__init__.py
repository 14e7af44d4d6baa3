"""The workloads: one file each with a `WORKLOAD`, which may offer a smaller `TINY` too; the folder is the registry.

Other packages add theirs by the entry point `stepwatch.workloads`.
"""

import difflib
from importlib import import_module
from pkgutil import iter_modules

import msgspec

from bench.errors import BenchError
from bench.third_parties import Offer, Offers, kind_of
from bench.workload import Workload

TINY = "_tiny"  # what a file's smaller size is listed with


def shipped() -> list[str]:
    """Those of Stepwatch itself, each with golden evidence."""
    files = _files()
    return sorted([*files, *(name + TINY for name in files if _shipped(name + TINY))])


def names() -> list[str]:
    """All that may be asked for, those of other packages among them."""
    return sorted([*shipped(), *OTHERS.names()])


def every() -> list[Workload]:
    """All of them, but for what is refused of other packages."""
    others = [found for _, found in OTHERS.every() if isinstance(found, Workload)]
    return [*map(get, shipped()), *others]


def get(name: str) -> Workload:
    """The workload `name`, `cnn+l2` for one by a recipe; a `BenchError` with the list of known ones otherwise."""
    plain, _, recipe = name.partition("+")
    workload = _shipped(plain) or OTHERS.get(plain)
    if workload is None:
        near = difflib.get_close_matches(plain, names(), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise BenchError(f"no workload '{plain}'; there are {', '.join(names())}{hint}")
    return workload.by(recipe or "plain")


def foreign(name: str) -> Workload | None:
    """The workload where it is another package's, and is to be sent to a worker; None where a worker has it itself."""
    return None if _shipped(name.partition("+")[0]) else get(name)


def _files() -> set[str]:
    return {module.name for module in iter_modules(__path__)}


def _shipped(name: str) -> Workload | None:
    files, large = _files(), name.removesuffix(TINY)
    if name in files:
        workload: Workload = import_module(f"bench.workloads.{name}").WORKLOAD
        return workload
    return getattr(import_module(f"bench.workloads.{large}"), "TINY", None) if large in files else None


def _checked(offer: Offer, found: object) -> Workload:
    """The workload under the entry point's name, made of our own words and whole."""
    if type(found) is not Workload:
        raise BenchError(f"{offer.entry} is to be a bench.workload.Workload, found {kind_of(found)}")
    if "-" in offer.name or "+" in offer.name:  # a - stands between names in files, a + before a recipe
        raise BenchError("a workload's name has no - and no +; write _")
    try:
        named = msgspec.structs.replace(found, name=offer.name)
        workload = msgspec.convert(msgspec.to_builtins(named), Workload)
    except (TypeError, msgspec.ValidationError) as error:
        raise BenchError(f"{offer.entry} is not made of the words of bench.layers: {error}") from None
    workload.placed()
    return workload


OTHERS = Offers("workload", "stepwatch.workloads", taken=shipped, check=_checked)
