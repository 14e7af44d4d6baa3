"""A row's status: the worst of what happened to its case, always with a reason; and the exit code of a run."""

from collections.abc import Iterable

from bench import search
from bench.backends import is_own
from bench.case import Case
from bench.records import PILOT_ROUND, Failure, Key, Pilot, Proof, Record, Sample
from bench.run import Run
from bench.suite import Planned

# Worst first.
FAILED = ("parity_failed", "error", "crashed", "oom", "timeout")
STATUSES = (*FAILED, "unsteady", "unsupported", "skipped", "ok")


def of(
    run: Run, planned: Planned, records: dict[Key, Record], samples: dict[int, Sample], noise: str
) -> tuple[str, str]:
    """The worst of what happened to a case, with the reason of that."""
    if planned.status:
        return planned.status, planned.reason
    proof = records.get(planned.case.worker)
    if isinstance(proof, Proof) and proof.broken:
        return "parity_failed", proof.broken
    failures = [r for r in records.values() if isinstance(r, Failure) and r.case == planned.case]
    if failures:
        worst = min(failures, key=lambda r: (STATUSES.index(r.status), r.origin.round))
        where = f" (see {worst.log})" if worst.log else ""
        if worst.origin.round == PILOT_ROUND:
            return worst.status, worst.reason + where
        return worst.status, f"{len(failures)} of {run.suite.rounds} rounds failed: {worst.reason}{where}"
    if not samples and (reason := search.why_not(run, planned.case, records)):
        return "skipped", reason
    said: list[tuple[str, str]] = []
    pilot = records.get((planned.case, PILOT_ROUND))
    told = not too_few(run, samples)  # a number that nobody is told cannot be unsteady
    if told and isinstance(pilot, Pilot) and not pilot.settled:
        what = f"{pilot.warm_up_steps} steps in {run.suite.protocol.warm_up_cap_seconds:g} s did not warm it up"
        said.append(("unsteady", what))
    if told and noise:
        said.append(("unsteady", noise))
    if len(samples) < run.suite.rounds:
        what = f"{len(samples)} of {run.suite.rounds} rounds are measured: the run was interrupted, --resume it"
        said.append(("skipped", what))
    if samples and is_own(planned.case.backend) and planned.case.backend not in run.proved:
        said.append(("ok", "unproved: nothing says that it does what another program does"))
    elif any(sample.compilations is None for sample in samples.values()):
        said.append(("ok", "its framework cannot say how often it compiled: that the warm-up ended is taken on trust"))
    if isinstance(proof, Proof) and _alone(run, planned.case, records):
        said.append(("ok", "its fp64 was held against nothing: no golden evidence, nothing else in the run does this"))
    if any(s.sensed.gpu and s.sensed.gpu.foreign is None for s in samples.values()):
        # In a container NVML names the host's processes, and among them not this one.
        said.append(("ok", "the driver does not tell which processes are this run's: others may have used the GPU"))
    status = min((name for name, _ in said), key=STATUSES.index, default="ok")
    return status, "; ".join(reason for _, reason in said)


def too_few(run: Run, samples: dict[int, Sample]) -> bool:
    """Whether less than half of the rounds are there: no number is made of them."""
    return not samples or 2 * len(samples) < run.suite.rounds


def _alone(run: Run, case: Case, records: dict[Key, Record]) -> bool:
    """Whether no proof of the same work in the run was held against another program or golden evidence."""
    workers = {planned.case.worker for planned in run.planned if planned.case.work == case.work}
    found = [records[worker] for worker in workers if worker in records]
    return not is_own(case.backend) and all(isinstance(one, Proof) and one.parity_fp64 is None for one in found)


def exit_code(statuses: Iterable[str]) -> int:
    """1 for a failed proof, 3 for another failed row, else 0."""
    found = set(statuses)
    if "parity_failed" in found:
        return 1
    return 3 if found & set(FAILED) else 0
