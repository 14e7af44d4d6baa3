"""The verb `doctor`: the machine as a result would record it, and each backend's own words from a real worker."""

import tempfile
from pathlib import Path
from time import monotonic, sleep

from tabulate import tabulate

from bench import backends, datasets, machine, sensors
from bench import run as runs
from bench.messages import Failed, Open, Opened
from bench.patience import BUSY, LOOK
from bench.process import Process
from bench.program import Settings

SECONDS = 120.0


def text() -> str:
    here = machine.read()
    rows = [(name, getattr(here, name)) for name in machine.Machine.__struct_fields__ if name != "gpus"]
    rows += [(f"gpu {i}", f"{g.name}, {g.memory_mib} MiB, driver {g.driver}") for i, g in enumerate(here.gpus)]
    rows += [] if here.gpus else [("gpu", "none that an NVIDIA driver shows")]
    rows += [("neighbours", _neighbours(here))]
    rows += [("digest", here.digest), ("commit", runs.commit()), ("data", datasets.locate("auto").name)]
    said = [(backend.name, _said(backend, here)) for backend in backends.every() if backend.packages]
    said += [(offer.name, f"refused: {row}") for offer, row in backends.OTHERS.every() if isinstance(row, str)]
    return f"Machine\n{tabulate(rows, tablefmt='plain')}\n\nBackends\n{tabulate(said, tablefmt='plain')}"


def _neighbours(here: machine.Machine) -> str:
    """What others use of the cores just now, as a row measured now would be marked."""
    before = sensors.read()
    sleep(LOOK)
    after = sensors.read()
    others, stolen = sensors.others((before, after)), sensors.stolen((before, after))
    if others is None or stolen is None:
        return "this system does not tell what other processes do"
    verdict = "quiet" if max(others, stolen) <= BUSY else "a row measured now would be unsteady"
    return f"others use {others:.2f} of {here.cores} cores, the hypervisor takes {stolen:.2f}: {verdict}"


def _said(backend: backends.Backend, here: machine.Machine) -> str:
    if reason := backend.missing():
        return reason
    device = "gpu" if here.gpus and "gpu" in backend.devices else "cpu"
    settings = Settings(backend.headline(device), "fp32", backend.layouts[0], device, here.cores)
    with tempfile.TemporaryDirectory() as folder:
        process = Process(Path(folder) / "log")
        answer = process.ask(Open(backend.name, settings), monotonic() + SECONDS)
        process.close()
    if isinstance(answer, Failed):
        return f"{answer.status}: {answer.reason}"
    assert isinstance(answer, Opened)
    versions = ", ".join(f"{name} {version}" for name, version in answer.versions.items())
    return (
        f"{versions}; {answer.facts.device_name}, {answer.facts.threads} threads; canaries agree; "
        f"imported in {answer.import_seconds:.1f} s"
    )
