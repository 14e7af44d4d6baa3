"""Each worker's proof: made once in a process of its own, cached by everything it depends on, judged by the parent."""

import hashlib
import os
import sys
import zipfile
from math import inf, isfinite
from pathlib import Path
from time import monotonic

import msgspec
import numpy as np
from msgspec import Struct

from bench import backends, datasets, parity, workloads
from bench.arms import HERE, Launch
from bench.backend import PHASES
from bench.case import Case
from bench.errors import BenchError
from bench.evidence import Evidence
from bench.machine import Machine
from bench.measuring import opening
from bench.messages import Opened, Prove, Proved
from bench.process import Process
from bench.program import Settings
from bench.run import adapter_digest, variables

Feeds = tuple[tuple[str, int], ...]
OWN_TOLERANCE = 5e-3  # of two programs of the user's own: fp32 by any optimiser, but for rare units under Adam


class Subject(Struct, frozen=True):
    """What is to be proved: one worker's settings, and the batches whose first losses the timed process repeats.

    `phases`: those in which it does; of each a compiler makes another program for every size of batch. `timed`: such
    a process follows, which makes these losses as measured itself.
    """

    workload: str
    backend: str
    mode: str
    precision: str
    layout: str
    device: str
    threads: int
    feeds: Feeds
    seed: int
    steps_per_call: int = 1
    phases: tuple[str, ...] = PHASES
    timed: bool = True

    def settings(self, cache: str = "") -> Settings:
        return Settings(
            self.mode,
            self.precision,
            self.layout,
            self.device,
            self.threads,
            cache,
            steps_per_call=self.steps_per_call,
        )


def subject_of(case: Case, feeds: Feeds, seed: int, phases: tuple[str, ...] = PHASES) -> Subject:
    axes = (case.work, case.backend, case.mode, case.precision, case.layout, case.device, case.threads)
    return Subject(*axes, feeds, seed, case.steps_per_call, phases)


class Verdict(Struct, frozen=True):
    """`broken` is empty where every rung held; `first_losses` by phase/data/batch, in fp64.

    `broken_feeds`, by the same names: where only a case's own batches showed that it does other work. A compiler that
    gets one batch size wrong may get the others right.
    """

    parity_fp64: float | None
    parity_error: float | None
    broken: str
    first_losses: dict[str, list[float]]
    broken_feeds: dict[str, str] = {}


def folder() -> Path:
    """Where proofs are kept for later runs: `$XDG_CACHE_HOME/stepwatch/proofs`, by default under ~/.cache."""
    return datasets.cache_folder() / "proofs"


def path_of(subject: Subject, machine: Machine, versions: dict[str, str] | None = None, launch: Launch = HERE) -> Path:
    """The file of this subject's evidence, named by everything that could change it.

    `versions`: of the packages in the interpreter that computes it, where that is not this one.
    """
    workload = workloads.get(subject.workload)
    depends = (
        subject,
        workload.digest,
        workload.proof,
        adapter_digest(subject.backend),
        versions or backends.get(subject.backend).versions() | {"numpy": np.__version__},
        sorted((variables() | launch.environment).items()),
        "" if launch.python == sys.executable else launch.python,
        machine.cpu,
        [gpu.name + gpu.driver for gpu in machine.gpus] if subject.device == "gpu" else [],
    )
    key = hashlib.sha256(msgspec.json.encode(depends)).hexdigest()[:24]
    return folder() / f"{subject.workload}-{subject.backend}-{subject.mode}-{key}.npz"


class Making:
    """A fresh process that climbs the ladder, begun at once, so that proofs may be made side by side: none is timed.

    `files`: for each of the subject's feeds, "data/batch", the file of its batches.
    """

    def __init__(
        self,
        subject: Subject,
        path: Path,
        files: dict[str, str],
        *,
        log: Path,
        deadline: float,
        launch: Launch = HERE,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.draft = path, path.with_name(f".{os.getpid()}-{path.name}")
        self.until = monotonic() + deadline
        self.process = Process(log, launch)
        self.process.send(opening(subject.backend, subject.settings()))
        declared = None if backends.is_own(subject.backend) else workloads.foreign(subject.workload)
        prove = Prove(subject.workload, files, str(self.draft), declared, subject.phases, subject.timed)
        self.process.send(prove)

    def finish(self) -> None:
        """Waits, and leaves the evidence at the path; `WorkerFailed` where there is none."""
        try:
            self.process.wait_for(Opened, self.until)
            self.process.wait_for(Proved, self.until)
            self.process.close()
            with open(self.draft, "rb") as file:
                os.fsync(file.fileno())  # the name must not be on disk before the content
            self.draft.replace(self.path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Ends the process, if it has not ended, and removes what it may have left half written."""
        self.process.kill()
        self.draft.unlink(missing_ok=True)


def cached(path: Path) -> bool:
    """Whether the evidence is there and whole; a file that is not, after a power failure say, is removed."""
    if not path.exists():
        return False
    if zipfile.is_zipfile(path):
        return True
    path.unlink()
    return False


def load(path: Path) -> Evidence:
    try:
        with np.load(path) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BenchError(f"cached proof {path} cannot be read ({error}); delete it") from None


def judge(subject: Subject, found: Evidence, reference: Evidence | None, *, golden: bool = True) -> Verdict:
    """The fp64 run against the golden evidence and the first proof that held; the measured run against the fp64."""
    workload = workloads.get(subject.workload)
    strict = parity.tolerance(workload, "fp64")
    fp64, measured = part(found, "fp64/"), part(found, "measured/")
    first = {key.removeprefix("first/"): [float(x) for x in v] for key, v in fp64.items() if key.startswith("first/")}
    checks: list[tuple[str, parity.Agreement]] = []
    if golden and (brief := parity.golden(workload)):
        checks.append(("fp64 against the golden evidence", parity.compare_brief(fp64, brief, strict)))
    if reference is not None:
        whole = parity.compare(fp64, part(reference, "fp64/"), strict)
        checks.append(("fp64 against the first proof that held", whole))
    error64 = _finite(max((agreement.error for _, agreement in checks), default=inf))
    share = parity.COARSE_SHARE.get(subject.precision, parity.SHARE)
    as_measured = parity.compare(measured, fp64, parity.bounds(workload, subject.precision), share)
    checks.append((f"{subject.precision} against fp64", as_measured))
    broken = _first_break(subject, found, checks)
    if broken:
        # A broken proof's losses may be NaN, and nothing is timed against them.
        return Verdict(error64, _finite(as_measured.error), broken, {})
    feeds = {
        name: why for name, losses in first.items() if (why := _feed_break(subject, found, reference, name, losses))
    }
    held = {name: losses for name, losses in first.items() if name not in feeds}
    return Verdict(error64, _finite(as_measured.error), "", held, feeds)


def judge_own(found: Evidence, reference: Evidence | None) -> Verdict:
    """A program of the user's own against the first of those given with it; there is nothing else to hold it against.

    Its optimiser is not known: one tolerance holds for all.
    """
    if reference is None:
        return Verdict(None, None, "", {})
    whole = parity.compare(part(found, "measured/"), part(reference, "measured/"), OWN_TOLERANCE)
    broken = f"against the first program: {whole.broken}" if whole.broken else ""
    return Verdict(None, _finite(whole.error), broken, {})


def _first_break(subject: Subject, found: Evidence, checks: list[tuple[str, parity.Agreement]]) -> str:
    """What broke first, in words: a rung, or dropout; empty if all held."""
    workload = workloads.get(subject.workload)
    for what, agreement in checks:
        if agreement.broken:
            return f"{what}: {agreement.broken}"
    floor = parity.tolerance(workload, subject.precision, stepped=False)
    others = (
        parity.calls_break(found),
        parity.inference_break(found, floor),
        parity.dropout_break(workload, found, subject.precision),
    )
    return str(next(filter(None, others), ""))


def _feed_break(subject: Subject, found: Evidence, reference: Evidence | None, name: str, losses: list[float]) -> str:
    """Whether the first losses on a case's own batches differ: fp64 from eager or another backend's; as measured."""
    workload = workloads.get(subject.workload)
    stepped = name.startswith("train/")
    strict, floor = (parity.tolerance(workload, p, stepped=stepped) for p in ("fp64", subject.precision))
    measured = found.get(f"measured/first/{name}")  # not where a timed process makes them
    far = None if measured is None else parity.first_losses_differ(tuple(measured), np.array(losses), floor)
    if far is not None:
        return f"first losses of {name}: differ by {far:.2g}, allowed {floor:.0e}"
    others = {"the same in mode eager": found.get(f"eager/first/{name}")}
    others["the first proof that held"] = None if reference is None else reference.get(f"fp64/first/{name}")
    for what, other in others.items():
        if other is not None and (far := parity.first_losses_differ(tuple(losses), other, strict)) is not None:
            return f"first losses of {name}: differ by {far:.2g} from {what}"
    return ""


def trusted(found: Evidence, verdict: Verdict) -> Evidence:
    """What others may be held against: without the first losses of batches that broke, whose fp64 may be wrong."""
    wrong = {f"fp64/first/{name}" for name in verdict.broken_feeds}
    return {key: array for key, array in found.items() if key not in wrong}


def _finite(error: float) -> float | None:
    return error if isfinite(error) else None


def part(found: Evidence, prefix: str) -> Evidence:
    """The entries under a prefix, without it."""
    return {key.removeprefix(prefix): array for key, array in found.items() if key.startswith(prefix)}
