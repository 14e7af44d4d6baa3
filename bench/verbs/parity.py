"""The verb `parity`: every backend, mode and layout on the ladder of proof, as a table; and the golden evidence.

The ladder itself has images and a batch size of its own; `batch` is that of the real samples whose first losses follow.
"""

import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from tabulate import tabulate

from bench import backends, datasets, feeds, machine, parity, proofs, workloads
from bench.errors import BenchError
from bench.evidence import FIRST_STEPS, Evidence
from bench.machine import Machine, no_gpu
from bench.process import WorkerFailed
from bench.progress import Watch
from bench.proofs import Subject
from bench.schedule import EXPECTED
from bench.suite import MAX_BATCH, Filters, check

Line = tuple[str, ...]
SEED = 1
GOLDEN = Path(__file__).parent.parent / "workloads" / "golden"


class Held(Struct):
    """Of one workload: the first proof that held, and for the golden evidence the sum of all such in fp64.

    A sum, since a large model's proofs do not fit into memory side by side.
    """

    first: Evidence
    total: Evidence
    count: int = 1


def execute(
    filters: Filters, *, device: str, batch: int | None, fresh: bool, write_golden: bool, deadline: float
) -> int:
    """Prints the proof; 1 where a rung broke, 3 where a proof could not be made, else 0."""
    check(filters)
    if batch is not None and not 1 <= batch <= MAX_BATCH:
        raise BenchError(f"--batch wants a whole number from 1 to {MAX_BATCH}, found {batch}")
    here = machine.read()
    if device == "gpu" and not here.gpus:
        raise no_gpu("use --device cpu")
    if device == "auto":
        device = "gpu" if here.gpus else "cpu"
    if write_golden and (filters.backend or filters.mode):
        raise BenchError("--write-golden wants every backend and mode to agree; leave out --backend and --mode")
    if write_golden and (foreign := [name for name in filters.workload if workloads.foreign(name)]):
        raise BenchError(
            f"--write-golden is for Stepwatch's own workloads; {foreign[0]} is another package's, which is proved "
            "between backends: leave out --write-golden"
        )
    if write_golden:  # which no other package has a part in
        ours = filters.workload or tuple(workloads.shipped())
        filters = replace(filters, workload=ours, backend=tuple(backends.REGISTRY))
    subjects, lines = _subjects(filters, device, here, batch)
    if not subjects:
        why = "; ".join(sorted({line[-1] for line in lines})) or "the null backend computes nothing"
        raise BenchError(f"nothing to prove: {why}")
    watch = Watch(EXPECTED["proof"] * len(subjects), len(subjects))
    proved: dict[str, Held] = {}
    statuses = []
    with tempfile.TemporaryDirectory() as logs:
        for subject in subjects:
            watch.begin(_name(subject), EXPECTED["proof"])
            feed = _feed(subject, Path(logs))
            status, line = _prove(subject, here, proved, fresh, deadline, feed, golden=not write_golden)
            statuses.append(status)
            lines.append((subject.workload, subject.backend, subject.mode, subject.layout, *line))
            watch.end()
    watch.close()
    names = ("workload", "backend", "mode", "layout", "fp64", "allowed", "fp32", "allowed", "verdict")
    align = ("left", "left", "left", "left", "right", "right", "right", "right", "left")
    print(tabulate(lines, names, tablefmt="pipe", disable_numparse=True, colalign=align))
    found = set(statuses)
    # What a backend lacks, or a compiler has no end with, is no proof that does not hold.
    agree = found - {"unsupported", "timeout"} == {"ok"}
    if write_golden and agree:
        _write(proved, whole="timeout" not in found)
    elif write_golden:
        print("The golden evidence is not written: not every proof held.")
    if "parity_failed" in found:
        return 1
    return 3 if found & {"error", "crashed", "oom", "timeout"} or (write_golden and not agree) else 0


def _feed(subject: Subject, folder: Path) -> Path:
    """The file of the subject's batches, drawn when first wanted."""
    ((data, batch),) = subject.feeds
    workload = workloads.get(subject.workload)
    path = feeds.file(folder, workload, data, batch)
    try:
        if not path.exists():
            feeds.write(path, workload, data=data, size=batch, count=FIRST_STEPS, seed=SEED)
    except MemoryError:
        raise BenchError(
            f"{FIRST_STEPS} batches of {batch} samples do not fit into memory; give a smaller --batch"
        ) from None
    return path


def _subjects(filters: Filters, device: str, here: Machine, batch: int | None) -> tuple[list[Subject], list[Line]]:
    """What can be proved here, and a line for each combination that cannot, with the reason."""
    subjects: list[Subject] = []
    lines: list[Line] = []
    for name in filters.workload or [one.name for one in workloads.every()]:
        workload = workloads.get(name)
        feed = (datasets.fitting("auto", workload), batch or workload.proof.foretold)
        for backend in map(backends.get, filters.backend) if filters.backend else backends.every():
            if not backend.packages:
                continue  # without a framework there is nothing to prove
            if reason := backend.missing():
                lines.append((name, backend.name, "-", "-", "-", "-", "-", "-", f"skipped: {reason}"))
                continue
            named = dict.fromkeys(backend.headline(device) if mode == "default" else mode for mode in filters.mode)
            for mode in named or backend.modes:
                for layout in backend.layouts if workload.has_layout() else ("flat",):
                    if reason := backend.why_not(mode=mode, layout=layout, device=device):
                        lines.append((name, backend.name, mode, layout, "-", "-", "-", "-", f"unsupported: {reason}"))
                        continue
                    axes = (name, backend.name, mode, "fp32", layout, device, here.cores)
                    subjects.append(Subject(*axes, (feed,), SEED, timed=False))
    return subjects, lines


def _prove(
    subject: Subject,
    here: Machine,
    proved: dict[str, Held],
    fresh: bool,
    deadline: float,
    feed: Path,
    *,
    golden: bool,
) -> tuple[str, Line]:
    path = proofs.path_of(subject, here)
    if fresh:
        path.unlink(missing_ok=True)
    if not proofs.cached(path):
        try:
            files = {f"{data}/{batch}": str(feed) for data, batch in subject.feeds}
            proofs.Making(subject, path, files, log=feed.with_name("log"), deadline=deadline).finish()
        except WorkerFailed as error:
            return error.failed.status, ("-", "-", "-", "-", f"{error.failed.status}: {error.failed.reason}")
    found = proofs.load(path)
    held = proved.get(subject.workload)
    verdict = proofs.judge(subject, found, held.first if held else None, golden=golden)
    workload = workloads.get(subject.workload)
    broken = verdict.broken or "; ".join(verdict.broken_feeds.values())
    if broken:
        path.unlink()  # only a proof that held is kept
    elif held is None:
        proved[subject.workload] = Held(found, {} if golden else proofs.part(found, "fp64/"))
    elif not golden:
        held.count += 1
        held.total = {key: array + found[f"fp64/{key}"] for key, array in held.total.items()}
    errors = (verdict.parity_fp64, "fp64"), (verdict.parity_error, subject.precision)
    cells = [
        cell
        for error, p in errors
        for cell in ("-" if error is None else f"{error:.1e}", f"{max(parity.bounds(workload, p).values()):.0e}")
    ]
    status = "parity_failed" if broken else "ok"
    return status, (*cells, f"{status}: {broken}" if broken else "ok")


def _write(proved: dict[str, Held], *, whole: bool) -> None:
    """The mean of all backends' evidence, which agrees to the last digits: no backend is compared with itself.

    Not `whole`: some had no answer in time, and what one alone computed agrees with nothing.
    """
    if not whole:
        print("What had no answer in time has no part in the golden evidence: see the verdicts above.")
    for name, held in proved.items():
        if not whole and held.count == 1:
            print(f"The golden evidence of {name} is not written: one program alone had an answer in time.")
            continue
        mean: Evidence = {key: array / held.count for key, array in held.total.items()}
        brief = parity.shorten(workloads.get(name), mean)
        path = GOLDEN / f"{name}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(brief)) + b"\n")
        print(f"wrote {path}")


def _name(subject: Subject) -> str:
    layout = "" if subject.layout == "flat" else f" {subject.layout}"
    return f"{subject.workload} {subject.backend} {subject.mode}{layout} proof"
