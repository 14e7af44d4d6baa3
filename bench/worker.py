"""One process, one framework: a loop over messages. Started by the parent as `python -m bench.worker READ WRITE`.

Standard output and error stay free for the framework's chatter; they are the log.
"""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import psutil
from msgspec.structs import replace

from bench import backends, clock, evidence, feeds, messages, probes, workloads
from bench.errors import BenchError, Unsupported
from bench.messages import (
    Answer,
    Burst,
    Bursts,
    Close,
    Closed,
    Describe,
    Described,
    Failed,
    Open,
    Opened,
    Prove,
    Proved,
    Question,
    Warm,
    Warmed,
)
from bench.program import BackendModule, Program, Settings
from bench.workload import Workload

FIRST_STEPS = 5
OUT_OF_MEMORY = ("out of memory", "resource_exhausted", "resourceexhausted", "can't allocate memory", "std::bad_alloc")


class Worker:
    """Answers one question after another; holds the framework and the case that was warmed last."""

    backend: BackendModule
    settings: Settings

    def __init__(self) -> None:
        self.program: Program | None = None
        self.feed: Iterator[Any] = iter(())
        self.phase = "train"
        self.resident = 0

    def answer(self, question: Question) -> Answer:
        match question:
            case Open():
                return self.open(question)
            case Warm():
                return self.warm(question)
            case Burst():
                return self.burst(question)
            case Prove():
                return self.prove(question)
            case Describe(workload):
                wanted = workloads.get(workload)
                return Described(self.backend.build(wanted, self._settings(wanted)).describe())
            case Close():
                return Closed()

    def open(self, question: Open) -> Opened | Failed:
        if question.version != messages.VERSION:
            return Failed("error", f"the parent speaks version {question.version}, this worker {messages.VERSION}")
        self.settings = question.settings
        row = backends.get(question.backend)
        self.backend = row.module()
        started = perf_counter()
        show_one_gpu(self.settings)
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
        workload = workloads.get(question.workload)
        data = feeds.read(Path(question.feed), workload)
        self.program = None  # the last case's memory goes before this one's baseline is taken
        self.resident = reset_resident_peak()
        program = self.program = self.backend.build(workload, self._settings(workload))
        self.phase = question.phase
        self.feed = cycle([program.put(x, y) for x, y in data])
        step = program.train if question.phase == "train" else program.infer
        calls = [clock.seconds(step, self.feed, program.fence) for _ in range(3)]
        for _ in range(FIRST_STEPS - 3):
            step(next(self.feed))
        program.fence()
        losses = tuple(map(float, program.losses())) if question.phase == "train" else self._infer_losses(program, data)
        steps, started = FIRST_STEPS, perf_counter()
        wanted = question.steps or question.minimum_steps
        while steps < wanted or (not question.steps and perf_counter() - started < question.minimum_seconds):
            step(next(self.feed))
            steps += 1
            if steps % 16 == 0:  # an asynchronous queue must not run ahead of the warm-up's clock
                program.fence()
        fence = clock.fence_seconds(program.fence)
        per_burst = 0 if question.steps else self._steps_per_burst(step, program, question.burst_seconds, fence)
        return Warmed(tuple(calls), steps, fence, per_burst, losses)

    def _infer_losses(self, program: Program, data: feeds.Data) -> tuple[float, ...]:
        if not program.weights():
            return ()
        return tuple(map(float, evidence.first_losses(program, "infer", data[:FIRST_STEPS])))

    def _steps_per_burst(self, step: clock.Step, program: Program, seconds: float, fence: float) -> int:
        """As many steps as last `seconds` and 200 fences, found by doubling, so that no single call decides."""
        wanted, steps = max(seconds, 200 * fence), 1
        while True:
            taken = clock.burst(step, self.feed, program.fence, steps=steps).wall_ns / 1e9
            if taken >= wanted:
                return steps
            steps = max(steps + 1, min(steps * 10, int(steps * wanted / taken * 1.1) + 1))

    def burst(self, question: Burst) -> Bursts:
        program = self.program
        if program is None:
            raise BenchError("a burst was asked for before any case was warmed")
        compiled = program.compilations()
        step = program.train if self.phase == "train" else program.infer
        timings = clock.bursts(step, self.feed, program.fence, steps=question.steps, count=question.count)
        peak = program.peak_bytes()
        return Bursts(
            wall_ns=tuple(t.wall_ns for t in timings),
            cpu_ns=tuple(t.cpu_ns for t in timings),
            switches=tuple(t.switches for t in timings),
            compilations=program.compilations() - compiled,
            finite=all(bool(np.isfinite(array).all()) for array in program.weights().values()),
            peak_bytes=resident_peak(self.resident) if peak is None else peak,
        )

    def prove(self, question: Prove) -> Proved:
        workload = workloads.get(question.workload)
        found: dict[str, np.ndarray] = {}
        for name, settings in (("fp64", self._golden(workload)), ("measured", self._settings(workload))):
            certain = workload.deterministic()
            program = self.backend.build(certain, settings)
            found |= {f"{name}/{key}": array for key, array in evidence.climb(program, certain).items()}
            for feed, file in question.feeds.items():
                first = feeds.read(Path(file), certain, FIRST_STEPS)
                for phase in ("infer", "train"):
                    program = self.backend.build(certain, settings)
                    found[f"{name}/first/{phase}/{feed}"] = evidence.first_losses(program, phase, first)
        for place in workload.placed():
            if rate := getattr(place.layer, "rate", 0.0):
                found[f"dropout/{place.path}"] = probes.dropout_masks(self.backend, self.settings, rate)
        if certain != workload:
            # Dropout left on at inference would be seen by none of the rungs above.
            x, _ = evidence.proof_batches(workload)[0]
            found["dropout/inference"] = self.backend.build(workload, self._settings(workload)).logits(x)
        np.savez(question.file, **found)  # type: ignore[arg-type]
        return Proved(question.file)

    def _golden(self, workload: Workload) -> Settings:
        """fp64 on the CPU, or on the device itself where the CPU lacks the layout."""
        settings = replace(self._settings(workload), precision="fp64", device="cpu")
        try:
            self.backend.build(workload.deterministic(), settings)
        except Unsupported:
            return replace(settings, device=self.settings.device)
        return settings

    def _settings(self, workload: Workload) -> Settings:
        layout = self.settings.layout if workload.has_layout() else "flat"
        return replace(self.settings, layout=layout)


def show_one_gpu(settings: Settings) -> None:
    """Of the GPUs that this process may see, the first, or none at all; and CUDA's own compile cache."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the driver's order, which machine.py records
    os.environ["CUDA_VISIBLE_DEVICES"] = (seen or "0") if settings.device == "gpu" else "-1"
    if settings.cache:
        os.environ["CUDA_CACHE_PATH"] = os.path.join(settings.cache, "cuda")


def reset_resident_peak() -> int:
    """Sets the kernel's peak of the resident set back to the present, and returns that, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0  # no such file (not Linux) or not allowed: the peak stays unknown
    return int(psutil.Process().memory_info().rss)


def resident_peak(baseline: int) -> int | None:
    """Bytes by which the resident set rose above `baseline` at its highest; None where the kernel cannot say."""
    if not baseline:
        return None
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return max(0, int(line.split()[1]) * 1024 - baseline)
    return None


def failure(error: BaseException) -> Failed:
    """An exception as a status and one line; the traceback goes to the log."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    # TensorFlow begins with "Graph execution error:" and ends with what it was.
    text = f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    reason = f"{type(error).__name__}: {text}"[:300]
    if isinstance(error, Unsupported):
        return Failed("unsupported", str(error))
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
