"""The shipped workloads, one file each with a `WORKLOAD`; the folder is the registry."""

import difflib
from importlib import import_module
from pkgutil import iter_modules

from bench.errors import BenchError
from bench.workload import Workload


def names() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__))


def get(name: str) -> Workload:
    """The workload `name`; a `BenchError` with the list of known ones otherwise."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise BenchError(f"no workload '{name}'; there are {', '.join(names())}{hint}")
    workload: Workload = import_module(f"bench.workloads.{name}").WORKLOAD
    return workload
