"""One process, one framework: a loop over messages. Started by the parent as `python -m bench.worker READ WRITE`.

Standard output and error stay free for the framework's chatter; they are the log.
"""

import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
from msgspec.structs import replace

from bench import backends, ceilings, evidence, feeds, messages, probes, sensors, workloads
from bench.backend import ROUNDED, lacked
from bench.errors import FULL, BenchError, Unsupported
from bench.messages import (
    Answer,
    Burst,
    Close,
    Closed,
    Describe,
    Described,
    Failed,
    Inspect,
    Look,
    Looked,
    Measure,
    Open,
    Opened,
    Prove,
    Proved,
    Question,
    Warm,
    Warmed,
)
from bench.own import Own
from bench.program import BackendModule, Settings
from bench.trial import Trial
from bench.workload import Workload

OUT_OF_MEMORY = (
    "out of memory",
    "alloc_failed",
    "resource_exhausted",
    "resourceexhausted",
    "can't allocate memory",
    "std::bad_alloc",
)


class Worker:
    """Answers one question after another; holds the framework and the case that was warmed last."""

    backend: BackendModule
    settings: Settings

    def __init__(self) -> None:
        self.trial: Trial | None = None

    def answer(self, question: Question) -> Answer:
        match question:
            case Open():
                return self.open(question)
            case Warm():
                return self.warm(question)
            case Burst():
                return self._warmed().burst(question)
            case Inspect():
                return self._warmed().inspect(question)
            case Measure():
                return ceilings.measure(self.backend, self.settings)
            case Prove():
                return self.prove(question)
            case Describe():
                wanted = declared(question)
                return Described(self.backend.build(wanted, self._settings(wanted)).describe())
            case Look():
                assert isinstance(self.backend, Own)
                return Looked(self.backend.batch, self.backend.phases, self.backend.proves)
            case Close():
                return Closed()

    def open(self, question: Open) -> Opened | Failed:
        if question.version != messages.VERSION:
            return Failed("error", f"the parent speaks version {question.version}, this worker {messages.VERSION}")
        self.settings = question.settings
        row = backends.get(question.backend)
        own = question.file
        self.backend = Own(own, question.root, question.elsewhere) if own else row.module()
        self.modes, self.layouts = row.modes, row.layouts
        if question.root:  # of another revision the files too that a program opens by relative paths
            os.chdir(question.root)
        show_one_gpu(self.settings)
        rounded = self.settings.device == "gpu" and self.settings.precision in ROUNDED  # else nobody asks the driver
        if rounded and (reason := lacked(self.settings.precision, sensors.capability())):
            return Failed("unsupported", reason)
        started = perf_counter()
        self.backend.before_import(self.settings)
        facts = self.backend.after_import(self.settings)
        import_seconds = perf_counter() - started
        if facts.threads != self.settings.threads:
            return Failed(
                "error", f"{self.settings.threads} threads were asked for, {row.name} reports {facts.threads}"
            )
        if row.packages and (reason := probes.disagreement(self.backend, self.settings)):
            return Failed("error", reason)
        return Opened(facts, row.versions(), import_seconds)

    def warm(self, question: Warm) -> Warmed:
        self.trial = None  # the last case's memory goes before this one's baseline is taken
        gc.unfreeze()
        if isinstance(self.backend, Own):
            self.trial = Trial(self.backend, None, self.settings, question.phase, self.backend.data())
        else:
            workload = declared(question)
            data = feeds.read(Path(question.feed), workload)
            host = feeds.samples(Path(question.feed)) if question.input == "host" else None
            self.trial = Trial(self.backend, workload, self._settings(workload), question.phase, data, host)
        warmed = self.trial.warm(question)
        if isinstance(self.backend, Own):
            self.backend.check_origin()
            self.backend.check_device(self.settings)
        return warmed

    def _warmed(self) -> Trial:
        if self.trial is None:
            raise BenchError("wanted a warmed case, found none: Warm comes first")
        return self.trial

    def prove(self, question: Prove) -> Proved:
        if isinstance(self.backend, Own):
            return self.prove_own(self.backend, question)
        workload = declared(question)
        found: dict[str, np.ndarray] = {}
        chained, certain = self.settings.steps_per_call, workload.deterministic()
        plain = self._plain(workload)
        if self.settings.mode != "eager" and "eager" in self.modes:
            # A compiler may be wrong at one batch size alone, which no rung of the ladder has. Before all else, since
            # what the eager program lacks is known at once, and compiling may take minutes.
            for batches, phase, first in firsts(question, certain):
                found[f"eager/first/{batches}"] = evidence.first_losses(
                    self.backend.build(certain, plain), phase, first
                )
        if 2 * chained > max(2, certain.proof.steps):
            # The ladder has too few steps for two whole calls, of which the second begins where the first ended.
            for name, settings in (("single", plain), ("several", self._golden(workload))):
                program = self.backend.build(certain, settings)
                found[f"calls/{name}"] = evidence.two_calls(program, certain, chained, settings.steps_per_call)
        for name, settings in (("fp64", self._golden(workload)), ("measured", self._settings(workload))):
            program = self.backend.build(certain, settings)
            climbed = evidence.climb(program, certain, settings.steps_per_call)
            found |= {f"{name}/{key}": array for key, array in climbed.items()}
            if name == "measured" and question.timed and certain == workload:
                continue  # the timed process itself makes these first losses, and is held against the fp64 ones
            for batches, phase, first in firsts(question, certain):
                program = self.backend.build(certain, settings)
                found[f"{name}/first/{batches}"] = evidence.first_losses(program, phase, first, chained)
        rates = {place.path: rate for place in workload.walk() if (rate := getattr(place.layer, "rate", 0.0))}
        masks = {rate: probes.dropout_masks(self.backend, self.settings, rate) for rate in set(rates.values())}
        found |= {f"dropout/{path}": masks[rate] for path, rate in rates.items()}
        if certain != workload:
            # Dropout left on at inference would be seen by none of the rungs above.
            x, _ = evidence.proof_batches(workload)[0]
            found["dropout/inference"] = self.backend.build(workload, self._settings(workload)).logits(x)
        np.savez(question.file, **found)  # type: ignore[arg-type]
        return Proved(question.file)

    def prove_own(self, backend: Own, question: Prove) -> Proved:
        """The same ladder on the file's own batches, as it is: there is no golden evidence of it, and no other mode."""
        program = backend.build(None, self.settings)
        found = {f"measured/{key}": array for key, array in evidence.climb_on(program, backend.data()).items()}
        np.savez(question.file, **found)  # type: ignore[arg-type]
        return Proved(question.file)

    def _golden(self, workload: Workload) -> Settings:
        """fp64 on the device itself, where the very program is compiled; a CPU would take minutes over a large one."""
        return replace(self._settings(workload), precision="fp64")

    def _plain(self, workload: Workload) -> Settings:
        """A witness that no compiler and no call of several steps had a hand in, where the backend has such a mode."""
        golden = self._golden(workload)
        mode = "eager" if "eager" in self.modes else golden.mode
        return replace(golden, mode=mode, layout=self.layouts[0] if workload.has_layout() else "flat", steps_per_call=1)

    def _settings(self, workload: Workload) -> Settings:
        layout = self.settings.layout if workload.has_layout() else "flat"
        return replace(self.settings, layout=layout)


def firsts(question: Prove, workload: Workload) -> Iterator[tuple[str, str, feeds.Data]]:
    """The first batches of each feed in each phase: "phase/data/batch", the phase, and they."""
    for feed, file in question.feeds.items():
        first = feeds.read(Path(file), workload, evidence.FIRST_STEPS)
        yield from ((f"{phase}/{feed}", phase, first) for phase in question.phases)


def declared(question: Warm | Prove | Describe) -> Workload:
    """The workload that came with the question, or Stepwatch's own of that name."""
    return question.declared or workloads.get(question.workload)


def show_one_gpu(settings: Settings) -> None:
    """Of the GPUs that this process may see, the first, or none at all; and CUDA's own compile cache."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the driver's order, which machine.py records
    os.environ["CUDA_VISIBLE_DEVICES"] = (seen or "0") if settings.device == "gpu" else "-1"
    if settings.cache:
        os.environ["CUDA_CACHE_PATH"] = os.path.join(settings.cache, "cuda")


def failure(error: BaseException) -> Failed:
    """An exception as a status and one line; the traceback goes to the log."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    # TensorFlow begins with "Graph execution error:" and ends with what it was.
    text = f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    reason = f"{type(error).__name__}: {text}"[:300]
    if isinstance(error, Unsupported):
        return Failed("unsupported", str(error))
    if isinstance(error, BenchError):
        return Failed("error", str(error))
    if isinstance(error, OSError) and error.errno in FULL:
        return Failed(messages.DISK, f"a worker cannot write {error.filename or 'a file'}: {error.strerror}")
    # Dynamo and Inductor wrap what happened inside them.
    if isinstance(error, MemoryError) or any(
        word in f"{type(error).__name__} {error}".lower() for word in OUT_OF_MEMORY
    ):
        return Failed("oom", reason)
    return Failed("error", reason)


def end_with_parent() -> None:
    """On Linux the kernel kills this process when the parent dies, however it dies."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(read: int, write: int) -> None:
    end_with_parent()
    worker = Worker()
    with os.fdopen(read, "rb") as questions, os.fdopen(write, "wb") as answers:
        for line in questions:
            try:
                answer = worker.answer(question := messages.decode_question(line))
            except Exception as error:
                traceback.print_exc()
                answer = failure(error)
            answers.write(messages.encode(answer))
            answers.flush()
            if isinstance(answer, Closed):
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)  # frameworks take up to a second to tidy up what the kernel frees at once
            if isinstance(answer, Failed) and isinstance(question, Open):
                return


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
