"""One case in one open worker: warm it up, check that it did what it was asked to, time it, make the record."""

import statistics
from pathlib import Path
from time import monotonic

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from bench import backends, parity, workloads
from bench.backends import is_own
from bench.case import Case
from bench.messages import Burst, Bursts, Failed, Inspect, Inspected, Open, Warm, Warmed
from bench.process import Process, WorkerFailed
from bench.program import Settings
from bench.records import Origin, Pilot, Proof, Sample
from bench.suite import Protocol

# Losses under dropout depend on the framework's own random numbers: they are held only to their order of magnitude.
STOCHASTIC_TOLERANCE = 0.5
SUSPENDED = 0.001  # seconds; two clocks are read one after the other, a microsecond apart
# Cores' worth of CPU time above the threads asked for: TensorFlow's calling thread hands over to its pool and back.
BESIDE_THE_POOL = 0.25
ENERGY_SECONDS = 20.0  # at most, and a quarter of what is left to the case
SHORTEST_BURST_NS = 40_000_000  # the kernel books the time of threads on other cores every 4 ms


class Subject(Struct, frozen=True):
    """A case to be measured, with the file of its batches and the proof that its first losses must repeat."""

    protocol: Protocol
    case: Case
    feed: str
    proof: Proof | None
    origin: Origin
    start_seconds: float
    cold: bool


def opening(backend: str, settings: Settings, root: str = "", elsewhere: str = "") -> Open:
    """The first message to a worker. `root`: where the path of a file of the user's own begins, by default here."""
    if not is_own(backend):
        return Open(backend, settings)
    folder = Path(root).absolute()
    return Open(backend, settings, str(folder / backend), str(folder), elsewhere)


def pilot(worker: Process, subject: Subject, until: float, *, energy: bool = False) -> Pilot:
    """Finds the case's warm-up and burst length, and its `energy`; `WorkerFailed` where it cannot be measured."""
    warmed = warm(worker, subject, until)
    per_burst = warmed.steps_per_burst
    bursts = worker.expect(Burst(per_burst, 2, per_burst, 0.0), Bursts, until)
    calls = 1 if subject.case.measure == "latency" else per_burst
    asked = Inspect(calls, min(ENERGY_SECONDS, (until - monotonic()) / 4)) if energy else Inspect()
    inspected = worker.expect(asked, Inspected, until)
    check_bursts(subject.case, bursts, inspected.quiet_seconds)
    if inspected.fed_losses and subject.proof is not None:
        _check_losses(replace(subject.case, phase="train"), inspected.fed_losses, subject.proof)
    return Pilot(
        case=subject.case,
        origin=subject.origin,
        first_calls=warmed.first_calls,
        warm_up_steps=warmed.steps,
        settled=warmed.settled,
        compilations=warmed.compilations,
        steps_per_burst=per_burst,
        fence_seconds=warmed.fence_seconds,
        dispatch_seconds=inspected.dispatch_seconds,
        one_image_seconds=inspected.one_image_seconds,
        quiet_seconds=inspected.quiet_seconds,
        left_over=bursts.left_over,
        peak_bytes=bursts.peak_bytes,
        sensed=bursts.sensed,
        stages=_stages(subject, warmed, bursts),
        first_others_cores=warmed.first_others_cores,
        input_share=inspected.input_share,
        energy=inspected.energy,
        wall_ns=bursts.wall_ns,
    )


def sample(worker: Process, subject: Subject, chosen: Pilot, until: float) -> Sample:
    """Times the case as its pilot chose; `WorkerFailed` where it cannot be measured."""
    warmed = warm(worker, subject, until, chosen.warm_up_steps)
    protocol, per_burst = subject.protocol, chosen.steps_per_burst
    latency = subject.case.measure == "latency"
    steps, count = (1, protocol.latency_calls) if latency else (per_burst, protocol.bursts)
    bursts = worker.expect(Burst(steps, count, per_burst, chosen.quiet_seconds), Bursts, until)
    check_bursts(subject.case, bursts, chosen.quiet_seconds)
    return Sample(
        case=subject.case,
        origin=subject.origin,
        first_calls=warmed.first_calls,
        steps=steps * subject.case.steps_per_call,
        wall_ns=bursts.wall_ns,
        cpu_ns=bursts.cpu_ns,
        switches=bursts.switches,
        losses=warmed.losses,
        cold=subject.cold,
        compilations=warmed.compilations,
        left_over=bursts.left_over,
        quiet_seconds=bursts.quiet_seconds,
        sensed=bursts.sensed,
        stages=_stages(subject, warmed, bursts),
    )


def _stages(subject: Subject, warmed: Warmed, bursts: Bursts) -> dict[str, float]:
    """Seconds by what the process did for this case; its start belongs to the first case it carries."""
    build, warm = warmed.build_seconds, warmed.warm_seconds
    return {"start": subject.start_seconds, "build": build, "warm_up": warm, "bursts": bursts.seconds}


def warm(worker: Process, subject: Subject, until: float, steps: int = 0) -> Warmed:
    """The case built and warmed in the worker, by `steps` or until it is warm; its mode and first losses checked."""
    case, protocol = subject.case, subject.protocol
    foretold = subject.proof is not None and not is_own(case.backend)
    question = Warm(
        workload=case.work,
        phase=case.phase,
        measure=case.measure,
        feed=subject.feed,
        steps=steps,
        minimum_steps=protocol.warm_up_steps,
        minimum_seconds=protocol.warm_up_seconds_gpu if case.device == "gpu" else protocol.warm_up_seconds,
        cap_seconds=protocol.warm_up_cap_seconds,
        burst_seconds=protocol.burst_seconds,
        input="resident" if is_own(case.backend) else case.input,
        foretold=foretold,
        declared=None if is_own(case.backend) else workloads.foreign(case.work),
    )
    warmed = worker.expect(question, Warmed, until)
    _check_mode(case, warmed)
    if subject.proof is not None and foretold:
        _check_losses(case, warmed.losses, subject.proof)
    return warmed


def _check_mode(case: Case, warmed: Warmed) -> None:
    """A mode is what was compiled, not what was asked for; where a framework cannot say, the table says so."""
    if warmed.compilations is None or not backends.get(case.backend).packages:
        return
    if case.mode == "eager" and warmed.compilations:
        what = f"mode eager compiled {warmed.compilations} programs, wanted none"
        raise WorkerFailed(Failed("error", what))
    if case.mode != "eager" and not warmed.compilations:
        what = f"mode {case.mode} compiled nothing: the steps ran uncompiled"
        raise WorkerFailed(Failed("error", what))


def _check_losses(case: Case, losses: tuple[float, ...], proof: Proof) -> None:
    workload = workloads.get(case.work)
    feed = f"{case.phase}/{case.data}/{case.batch}"
    if feed not in {**proof.first_losses, **proof.broken_feeds}:
        raise WorkerFailed(Failed("error", f"the proof lacks batch {case.batch}, which did not fit when it was made"))
    if feed in proof.broken_feeds:
        raise WorkerFailed(Failed("parity_failed", proof.broken_feeds[feed]))
    wanted = np.array(proof.first_losses[feed])
    stochastic = case.phase == "train" and workload.deterministic() != workload
    exact = parity.tolerance(workload, case.precision, stepped=case.phase == "train")
    allowed = STOCHASTIC_TOLERANCE if stochastic else exact
    far = parity.first_losses_differ(losses, wanted, allowed)
    if far is not None:
        what = f"first losses of the timed process differ by {far:.2g} from the proof's, allowed {allowed:.0e}"
        raise WorkerFailed(Failed("parity_failed", what))


def check_bursts(case: Case, bursts: Bursts, quiet_seconds: float) -> None:
    """`WorkerFailed` where the bursts' times would not be those of the steps."""

    def error(what: str) -> WorkerFailed:
        return WorkerFailed(Failed("error", what))

    if bursts.compilations:
        raise error(f"{bursts.compilations} compilations inside timed bursts: the warm-up did not reach a steady state")
    if not bursts.finite:
        raise error("a weight is not finite after the timed steps")
    if bursts.sensed.suspended_seconds and bursts.sensed.suspended_seconds > SUSPENDED:
        raise error(f"the machine slept {bursts.sensed.suspended_seconds:.3g} s during the timed bursts; measure again")
    allowed = max(quiet_seconds, bursts.quiet_seconds)
    if bursts.left_over > allowed:
        raise error(
            f"not quiet after the fence: {bursts.left_over * 1e3:.3g} ms of work went on, "
            f"allowed {allowed * 1e3:.3g}: the fence does not wait for all of it"
        )
    busy = statistics.median(cpu / wall for cpu, wall in zip(bursts.cpu_ns, bursts.wall_ns, strict=True))
    # A loader's own thread works beside the pool.
    threads = case.threads + (backends.recorded(case.backend).loader_threads if case.input == "host" else 0)
    long_enough = statistics.median(bursts.wall_ns) >= SHORTEST_BURST_NS
    if case.device == "cpu" and long_enough and busy > threads + BESIDE_THE_POOL:
        raise error(f"the timed steps used {busy:.2f} cores, {case.threads} threads were asked for")
