"""The two sides of a comparison, as plain data: an interpreter, variables, and what they change of a case."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from bench import backends
from bench.case import Case
from bench.errors import BenchError
from bench.run import told

SETTINGS = ("mode", "precision", "layout", "threads")  # of a case; every other flag is an environment variable


class Launch(Struct, frozen=True):
    """What a worker is started with: an interpreter, by default this one, and variables beside the parent's own."""

    python: str = sys.executable
    environment: dict[str, str] = {}


HERE = Launch()


class Arm(Struct, frozen=True):
    """One side. `flags` are a case's, `launch` how workers start, `versions` its interpreter's packages'.

    `root`: where the paths of a user's own files begin, empty for here; `revision`: the commit that it holds;
    `elsewhere`: the checkout of the other revision, from which nothing may be imported. `installed`: a digest of its
    interpreter and packages.
    """

    name: str
    launch: Launch
    flags: dict[str, str]
    python: str
    prefix: str
    versions: dict[str, str]
    root: str = ""
    revision: str = ""
    elsewhere: str = ""
    installed: str = ""

    def versions_of(self, backend: str) -> dict[str, str]:
        """Of those packages that the backend's results depend on."""
        row = backends.get(backend)
        wanted = ("numpy", "stepwatch code", row.code, *row.distributions)
        return {name: self.versions[name] for name in wanted if name in self.versions}

    def case(self, case: Case) -> Case:
        """The case as this arm measures it; `BenchError` for what its backend does not have."""
        told: dict[str, Any] = dict(self.flags)
        if "threads" in told:
            told["threads"] = int(told["threads"])
        if case.layout == "flat":
            told.pop("layout", None)  # a model without images is the same program in every layout
        changed = replace(case, **told)
        row = backends.get(case.backend)
        if not row.packages:
            return case  # it has no other mode, precision or layout
        if reason := row.why_not(**changed.asked):
            raise BenchError(f"the base arm cannot measure '{case}': {reason}")
        return changed


def inherited(base: Arm, backends_: Iterable[str]) -> dict[str, str]:
    """What the candidate finds in the variables that the base is given, and in those that its frameworks read."""
    names = sorted({*base.launch.environment, "PYTHONPATH", *told(backends_)})
    return {name: os.environ[name] for name in names if name in os.environ}


def differences(base: Arm, candidate: Arm) -> list[str]:
    """What the arms differ in, as a person would say it: `torch 2.12.0 -> 2.13.0`, `mode eager -> the suite's`."""
    said = [] if base.python == candidate.python else [f"python {base.python} -> {candidate.python}"]
    names = sorted({*base.versions, *candidate.versions})
    versions = [(name, base.versions.get(name, "none"), candidate.versions.get(name, "none")) for name in names]
    said += [f"{what} {old} -> {new}" for what, old, new in versions if old != new]
    if not said and base.installed != candidate.installed:
        said.append(f"installed files {base.installed} -> {candidate.installed}")
    if base.revision:
        said.append(f"revision {base.revision} -> {candidate.revision}")
    said += [f"{name}={value} -> the suite's" for name, value in base.flags.items()]
    said += [
        f"{name}={value} -> {os.environ.get(name, 'unset')}" for name, value in sorted(base.launch.environment.items())
    ]
    return said
