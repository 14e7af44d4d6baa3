"""Files of the user's own as the cases of a run: each says itself, in a process of its own, what it offers."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from bench import backends
from bench.arms import HERE, Launch
from bench.backends import OWN
from bench.case import Case
from bench.errors import BenchError
from bench.machine import Machine, no_gpu
from bench.measuring import opening
from bench.messages import Look, Looked, Opened
from bench.process import Process, WorkerFailed
from bench.program import Settings
from bench.run import Program
from bench.suite import Filters, Matrix, Planned, Suite, check


def look(
    path: str,
    *,
    device: str,
    threads: int,
    deadline: float,
    launch: Launch = HERE,
    root: str = "",
    elsewhere: str = "",
) -> Program:
    """What the file offers; `BenchError` where it is not there, does not import or lacks what it needs."""
    if not backends.is_own(path):
        raise BenchError(f"--program {path} wants a Python file, whose name ends with .py")
    file = Path(root, path)
    content = digest(file)
    with tempfile.TemporaryDirectory() as folder:
        worker = Process(Path(folder) / "log", launch)
        until = monotonic() + deadline
        try:
            worker.expect(opening(path, settings(device, threads), root, elsewhere), Opened, until)
            found = worker.expect(Look(), Looked, until)
            worker.close()
        except WorkerFailed as error:
            raise BenchError(f"--program {path}: {error.failed.reason}") from None
        finally:
            worker.kill()
    return Program(path, content, found.batch, found.phases, found.proves)


def digest(file: Path) -> str:
    """Of the content of a program's file; `BenchError` where it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise BenchError(f"cannot read --program {file}: {error.strerror}") from None


def settings(device: str, threads: int, cache: str = "") -> Settings:
    """What a file of the user's own is told: the device, and how many cores there are. The rest it knows itself."""
    return Settings(OWN, OWN, OWN, device, threads, cache)


def device(filters: Filters, machine: Machine) -> str:
    """Where the programs are to run: as asked for, else on a GPU where there is one. `BenchError` for no device."""
    check(filters)
    asked = filters.device[0] if filters.device else "auto"
    return asked if asked != "auto" else "gpu" if machine.gpus else "cpu"


def suite(paths: Sequence[str]) -> Suite:
    """A suite that names the programs in place of backends; it is never planned as one."""
    if len(set(paths)) != len(paths):
        raise BenchError("a --program is named twice; name each once")
    matrix = Matrix(workload=(OWN,), backend=tuple(paths), mode=(OWN,), precision=(OWN,), layout=(OWN,), data=(OWN,))
    return Suite(name="program", matrix=(matrix,))


def plan(programs: Sequence[Program], machine: Machine, device: str) -> list[Planned]:
    """Every phase of every program as a case."""
    if device == "gpu" and not machine.gpus:
        raise no_gpu("use --device cpu")
    rest = {"input": "resident", "steps_per_call": 1, "recipe": "plain", "device": device, "threads": machine.cores}
    return [
        Planned(
            Case(
                workload=OWN,
                phase=phase,
                measure="throughput",
                backend=program.path,
                mode=OWN,
                precision=OWN,
                layout=OWN,
                batch=program.batch,
                data=OWN,
                **rest,  # type: ignore[arg-type]
            )
        )
        for program in programs
        for phase in program.phases
    ]
