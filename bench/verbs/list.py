"""The verb `list`: workloads, backends, suites, data and report formats, what to do about what is missing, and whose
they are that other packages offer.
"""

from collections.abc import Iterable

from tabulate import tabulate

from bench import backends, datasets, suite, workloads
from bench.errors import BenchError
from bench.third_parties import Offer
from bench.verbs import report
from bench.workload import Workload


def text() -> str:
    others = workloads.OTHERS, backends.OTHERS, report.OTHERS
    offered: list[tuple[Offer, object]] = [one for offers in others for one in offers.every()]
    whose = {(offer.kind, offer.name): f"from {offer.source}" for offer, found in offered if not isinstance(found, str)}
    refused = dict.fromkeys(found for _, found in offered if isinstance(found, str))
    parts = [
        _table("Workloads", [(*_workload(one), whose.get(("workload", one.name), "")) for one in workloads.every()]),
        _table("Backends", [(*_backend(one), whose.get(("backend", one.name), "")) for one in backends.every()]),
        _table("Suites", [(name, suite.load(path).description) for name, path in suite.shipped().items()]),
        _table("Data", [(name, _data(name)) for name in datasets.ORDER]),
        _table("Report formats", [(name, whose.get(("format", name), "")) for name in report.names()]),
    ]
    return "\n\n".join(parts + (["\n".join(["Refused", *refused])] if refused else []))


def _table(title: str, rows: Iterable[tuple[str, ...]]) -> str:
    return f"{title}\n" + tabulate(rows, tablefmt="plain")


def _workload(one: Workload) -> tuple[str, ...]:
    return one.name, one.description, f"{one.parameter_count():,} parameters"


def _backend(one: backends.Backend) -> tuple[str, ...]:
    return one.name, "modes " + ", ".join(one.modes), "layouts " + ", ".join(one.layouts), _state(one)


def _state(backend: backends.Backend) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in backend.versions().items())
    return backend.missing() or versions or "no framework, always here"


def _data(name: str) -> str:
    try:
        source = datasets.locate(name)
    except BenchError as error:
        return f"not here: {error}"
    return f"{source.images:,} training images" + (f" in {source.folder}" if source.folder else ", built in")
