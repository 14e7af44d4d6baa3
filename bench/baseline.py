"""A stored run as a gate's base, for a machine of one's own that is quiet: `gate --against RUN`.

Only the candidate is measured now. The stored run holds rounds enough for both stages, and a control cell: all that
stands between a machine that has changed meanwhile and a verdict on the candidate.
"""

from pathlib import Path

from msgspec.structs import replace

from bench import arms, backends, comparison, datasets, gate, interpreters, machine, programs, records, workloads
from bench import folder as folders
from bench import run as runs
from bench.arms import Arm
from bench.case import Case
from bench.errors import BenchError
from bench.machine import Machine
from bench.pairs import ArmPilot, ArmProof, Comparison, Half, Pairing
from bench.records import PILOT_ROUND, Key, Pilot, Proof, Record, Sample
from bench.run import Run
from bench.status import FAILED
from bench.table import report


def make(folder: Path, out: Path | None, deadline: float) -> tuple[Comparison, Path]:
    """The comparison of a stored run's cases, then and now, and the folder that it will be kept in."""
    run, found = read(folder)
    here, started = machine.read(), runs.now()
    if run.machine != here:
        raise _invalid(folder, f"another machine: {_difference(run.machine, here)}")
    if run.harness != runs.harness():
        raise _invalid(folder, f"another Stepwatch's ({run.harness}, this one is {runs.harness()}): make it again")
    guard = comparison.control(here.cores)
    kept = [p for p in run.planned if not p.status and p.case != guard.candidate]
    if len(kept) == sum(not p.status for p in run.planned):
        raise _invalid(folder, f"without the control cell '{guard.candidate}': make it with 'stepwatch run baseline'")
    if not kept:
        raise _invalid(folder, "without any case but the control: there is nothing to gate")
    wanted = gate.FIRST[0] + gate.second_stage(len(kept))[0]
    _check_rows(folder, run, found, wanted)
    for case in (p.case for p in kept):
        if reason := backends.get(case.backend).missing():
            raise BenchError(f"'{case}' of {folder} cannot be measured here: {reason}")
        datasets.verify(datasets.locate(case.data))
    names = {p.case.backend for p in kept}
    candidate = interpreters.candidate(names)
    base = _arm(folder, run, candidate)
    path = out or folders.default(started, f"gate-{run.suite.name}", runs.commit())
    if folders.exists(path):
        raise folders.taken(path)
    results = folder / "results.jsonl"
    return (
        Comparison(
            name=run.suite.name,
            pairings=tuple(Pairing(p.case, p.case, p.margin) for p in kept),
            control=guard,
            base=base,
            candidate=candidate,
            differences=(
                *arms.differences(base, candidate),
                *_variables(run),
                f"stored at {run.started} -> measured now",
            ),
            protocol=run.suite.protocol,
            machine=here,
            commit=runs.commit(),
            harness=runs.harness(),
            seed=run.suite.seed,
            deadline=deadline,
            started=started,
            left_out=tuple(f"{p.case}: {p.status}: {p.reason}" for p in run.planned if p.status),
            digests={str(results.absolute()): programs.digest(results)},
            against=str(folder.absolute()),
            inherited=arms.inherited(base, names),
            declared=run.declared,
        ),
        path,
    )


def read(folder: Path) -> tuple[Run, dict[Key, Record]]:
    """A stored run and its records; `BenchError` where it is none, or a line of it is none or is there twice."""
    run, path = runs.read_folder(folder), folder / "results.jsonl"
    try:
        found, _ = records.read(path)
        holding = records.latest(found, path)
    except BenchError as error:
        raise _invalid(folder, f"damaged: {error}") from None
    if not found:
        raise _invalid(folder, "without a result")
    return run, holding


def _invalid(folder: Path, why: str) -> BenchError:
    """A baseline that carries no verdict: exit code 4, and one line that says why."""
    return BenchError(f"INVALID: the stored run {folder} is {why}", exit_code=4)


def _difference(then: Machine, now: Machine) -> str:
    name = next(name for name in Machine.__struct_fields__ if getattr(then, name) != getattr(now, name))
    return f"{name} was {getattr(then, name)}, is {getattr(now, name)}"


def _variables(run: Run) -> list[str]:
    """Those of the frameworks that were otherwise then: a cause that no control cell sees."""
    then, now = run.variables, runs.told(p.case.backend for p in run.planned)
    names = sorted({*then, *now})
    said = [(name, then.get(name, "unset"), now.get(name, "unset")) for name in names]
    return [f"{name}={old} -> {new}" for name, old, new in said if old != new]


def _check_rows(folder: Path, run: Run, found: dict[Key, Record], wanted: int) -> None:
    """Every case measured, by the workload of today, with rounds enough."""
    for planned, row in zip(run.planned, report(run, found, None).rows, strict=True):
        if planned.status:
            continue  # it was never there to be measured
        if row.status in FAILED:
            raise _invalid(folder, f"no base for '{row.case}', which is {row.status}: {row.reason}")
        if row.rounds < run.suite.rounds:
            raise _invalid(folder, f"not whole: '{row.case}': {row.reason}")
        if row.disturbed:
            raise _invalid(folder, f"disturbed: '{row.case}': {row.reason}; make it again when the machine is quiet")
        if row.rounds < wanted:
            raise _invalid(folder, f"short: {row.rounds} rounds of '{row.case}', a gate of it wants {wanted}")
    for record in found.values():
        if isinstance(record, Sample):
            _check_sample(folder, record, found)


def _check_sample(folder: Path, sample: Sample, found: dict[Key, Record]) -> None:
    """By the workload of today, and in bursts as long as the candidate's, whose length is the stored pilot's."""
    case = sample.case
    if sample.origin.digest != workloads.get(case.work).digest:
        raise _invalid(folder, f"of another workload: {case.workload} has changed since")
    pilot = found.get((case, PILOT_ROUND))
    if not isinstance(pilot, Pilot):
        raise _invalid(folder, f"without the pilot of '{case}'")
    wanted = (1 if case.measure == "latency" else pilot.steps_per_burst) * case.steps_per_call
    if sample.steps != wanted:
        where = f"round {sample.origin.round + 1} of '{case}' has {sample.steps} steps a burst"
        raise _invalid(folder, f"inconsistent: {where}, its pilot chose {wanted}")


def _arm(folder: Path, run: Run, candidate: Arm) -> Arm:
    versions = {name: version for name, version in run.versions.items() if name in candidate.versions}
    versions["stepwatch code"] = candidate.versions["stepwatch code"]  # the same: it was asked above
    return replace(candidate, name="base", python=run.machine.python, prefix=str(folder), versions=versions)


class Baseline:
    """The base's halves of a gate's pairs, its proofs and its pilots, as a stored run has them."""

    def __init__(self, folder: Path) -> None:
        _, self.records = read(folder)

    def known(self, case: Case) -> list[ArmProof | ArmPilot]:
        """What is on record of the case before its first pair."""
        proof, pilot = self.records.get(case.worker), self.records.get((case, PILOT_ROUND))
        proofs = [ArmProof("base", proof)] if isinstance(proof, Proof) else []
        return [*proofs, *([ArmPilot("base", pilot)] if isinstance(pilot, Pilot) else [])]

    def half(self, case: Case, stage: int, number: int) -> Half | None:
        """The process of the stored round that is this pair's: the second stage's come after the first's."""
        found = self.records.get((case, number if stage == 1 else gate.FIRST[0] + number))
        if not isinstance(found, Sample):
            return None
        return Half(found.wall_ns, found.first_calls, found.losses, found.left_over, found.sensed)
