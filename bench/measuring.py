"""One case in one open worker: warm it up, hold its first losses against the proof, time it, make the record."""

import numpy as np
from msgspec import Struct

from bench import parity, workloads
from bench.messages import Burst, Bursts, Failed, Warm, Warmed
from bench.process import Process, WorkerFailed
from bench.records import Case, Origin, Pilot, Proof, Sample
from bench.run import Run

# Losses under dropout depend on the framework's own random numbers: they are held only to their order of magnitude.
STOCHASTIC_TOLERANCE = 0.5


class Subject(Struct, frozen=True):
    """A case to be measured, with the file of its batches and the proof that its first losses must repeat."""

    run: Run
    case: Case
    feed: str
    proof: Proof | None
    origin: Origin


def pilot(worker: Process, subject: Subject, until: float) -> Pilot:
    """Finds the case's warm-up and burst length; `WorkerFailed` where it cannot be measured."""
    warmed = _warm(worker, subject, until)
    bursts = _burst(worker, warmed.steps_per_burst, 2, until)
    return Pilot(
        case=subject.case,
        origin=subject.origin,
        first_calls=warmed.first_calls,
        warm_up_steps=warmed.steps,
        steps_per_burst=warmed.steps_per_burst,
        fence_seconds=warmed.fence_seconds,
        peak_bytes=bursts.peak_bytes,
    )


def sample(worker: Process, subject: Subject, chosen: Pilot, until: float) -> Sample:
    """Times the case as its pilot chose; `WorkerFailed` where it cannot be measured."""
    warmed = _warm(worker, subject, until, chosen.warm_up_steps)
    protocol = subject.run.suite.protocol
    latency = subject.case.measure == "latency"
    steps, count = (1, protocol.latency_calls) if latency else (chosen.steps_per_burst, protocol.bursts)
    bursts = _burst(worker, steps, count, until)
    return Sample(
        case=subject.case,
        origin=subject.origin,
        first_calls=warmed.first_calls,
        steps=steps,
        wall_ns=bursts.wall_ns,
        cpu_ns=bursts.cpu_ns,
        switches=bursts.switches,
        losses=warmed.losses,
    )


def _warm(worker: Process, subject: Subject, until: float, steps: int = 0) -> Warmed:
    case, protocol = subject.case, subject.run.suite.protocol
    question = Warm(
        workload=case.workload,
        phase=case.phase,
        measure=case.measure,
        feed=subject.feed,
        steps=steps,
        minimum_steps=protocol.warm_up_steps,
        minimum_seconds=protocol.warm_up_seconds,
        burst_seconds=protocol.burst_seconds,
    )
    warmed = worker.expect(question, Warmed, until)
    if subject.proof is not None:
        _check_losses(case, warmed, subject.proof)
    return warmed


def _check_losses(case: Case, warmed: Warmed, proof: Proof) -> None:
    workload = workloads.get(case.workload)
    wanted = np.array(proof.first_losses[f"{case.phase}/{case.data}/{case.batch}"])
    stochastic = case.phase == "train" and workload.deterministic() != workload
    allowed = STOCHASTIC_TOLERANCE if stochastic else parity.tolerance(workload, case.precision)
    far = parity.first_losses_differ(warmed.losses, wanted, allowed)
    if far is not None:
        what = f"first losses of the timed process differ by {far:.2g} from the proof's, allowed {allowed:.0e}"
        raise WorkerFailed(Failed("parity_failed", what))


def _burst(worker: Process, steps: int, count: int, until: float) -> Bursts:
    bursts = worker.expect(Burst(steps, count), Bursts, until)
    if bursts.compilations:
        what = f"{bursts.compilations} compilations inside timed bursts: the warm-up did not reach a steady state"
        raise WorkerFailed(Failed("error", what))
    if not bursts.finite:
        raise WorkerFailed(Failed("error", "a weight is not finite after the timed steps"))
    return bursts
