"""The verb `list`: workloads, backends, suites and data, and what to do about what is missing."""

from tabulate import tabulate

from bench import backends, datasets, suite, workloads
from bench.errors import BenchError


def text() -> str:
    parts = [
        _table(
            "Workloads",
            [
                (w.name, w.description, f"{w.parameter_count():,} parameters")
                for w in map(workloads.get, workloads.names())
            ],
        ),
        _table(
            "Backends",
            [
                (b.name, "modes " + ", ".join(b.modes), "layouts " + ", ".join(b.layouts), _state(b))
                for b in backends.REGISTRY.values()
            ],
        ),
        _table("Suites", [(name, suite.load(path).description) for name, path in suite.shipped().items()]),
        _table("Data", [(name, _data(name)) for name in datasets.ORDER]),
    ]
    return "\n\n".join(parts)


def _table(title: str, rows: list[tuple[str, ...]]) -> str:
    return f"{title}\n" + tabulate(rows, tablefmt="plain")


def _state(backend: backends.Backend) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in backend.versions().items())
    return backend.missing() or versions or "no framework, always here"


def _data(name: str) -> str:
    try:
        source = datasets.locate(name)
    except BenchError as error:
        return f"not here: {error}"
    return f"{source.images:,} training images" + (f" in {source.folder}" if source.folder else ", built in")
