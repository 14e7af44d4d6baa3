"""The verb `show`: a workload's layers with shapes, parameters and FLOPs, beside a backend's native module."""

import tempfile
from math import prod
from pathlib import Path
from time import monotonic

from tabulate import tabulate

from bench import backends, machine, workloads
from bench.errors import BenchError
from bench.layers import Residual
from bench.messages import Describe, Described, Open, Opened
from bench.process import Process, WorkerFailed
from bench.program import Settings
from bench.workload import total_flops

SECONDS = 120.0


def text(name: str, backend: str | None) -> str:
    workload = workloads.get(name)
    rows: list[tuple[str, ...]] = []
    for place, first in workload.placed_first():
        parameters = sum(prod(shape) for shape in place.layer.params(place.enters).values())
        forward = total_flops(place, "infer", first)
        both = total_flops(place, "train", first)
        leaves = "x".join(map(str, place.leaves))
        rows.append((place.path, _declared(place.layer), leaves, f"{parameters:,}", f"{forward:,}", f"{both:,}"))
    totals = (workload.flops_per_sample("infer"), workload.flops_per_sample("train"))
    rows.append(("sum", "", "", f"{workload.parameter_count():,}", *(f"{n:,}" for n in totals)))
    names = ("layer", "declared", "leaves", "parameters", "FLOP forward", "FLOP training")
    head = f"{workload.name}: {workload.description}; {workload.optimiser}; digest {workload.digest}"
    table = tabulate(rows, names, tablefmt="simple", colalign=("left", "left", "left", "right", "right", "right"))
    parts = [head, table, "FLOP of one sample; a multiply-add is two, padding counted, loss and optimiser left out."]
    if backend is not None:
        parts.append(f"{backend}\n{_native(name, backend)}")
    return "\n\n".join(parts)


def _declared(layer: object) -> str:
    if isinstance(layer, Residual):  # its words stand above it, a line each
        return f"body of {len(layer.body)}, shortcut of {len(layer.shortcut)}"
    fields = [f"{name} {getattr(layer, name)}" for name in getattr(layer, "__struct_fields__", ())]
    return ", ".join(fields)


def _native(name: str, wanted: str) -> str:
    backend = backends.get(wanted)
    if reason := backend.missing():
        raise BenchError(reason)
    settings = Settings(backend.headline("cpu"), "fp32", backend.layouts[0], "cpu", machine.usable_cores())
    until = monotonic() + SECONDS
    with tempfile.TemporaryDirectory() as folder:
        process = Process(Path(folder) / "log")
        try:
            process.expect(Open(wanted, settings), Opened, until)
            described = process.expect(Describe(name, workloads.foreign(name)), Described, until)
        except WorkerFailed as error:
            raise BenchError(f"{wanted}: {error.failed.reason}", exit_code=3) from None
        finally:
            process.close()
    return described.text
