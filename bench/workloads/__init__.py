"""The shipped workloads, one file each with a `WORKLOAD` and perhaps a `TINY` of it; the folder is the registry."""

import difflib
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from bench.errors import BenchError
from bench.workload import Workload


def names() -> list[str]:
    return sorted(_shipped())


def get(name: str) -> Workload:
    """The workload `name`, `cnn+l2` for one by a recipe; a `BenchError` with the list of known ones otherwise."""
    known = _shipped()
    name, _, recipe = name.partition("+")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise BenchError(f"no workload '{name}'; there are {', '.join(sorted(known))}{hint}")
    return known[name].by(recipe or "plain")


@cache
def _shipped() -> dict[str, Workload]:
    found: dict[str, Workload] = {}
    for file in iter_modules(__path__):
        module = import_module(f"bench.workloads.{file.name}")
        found[file.name] = module.WORKLOAD
        if tiny := getattr(module, "TINY", None):
            found[f"{file.name}_tiny"] = tiny
    return found
