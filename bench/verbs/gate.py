"""The verb `gate`: two arms measured side by side in one job, a verdict on every case, and an exit code."""

import os
import sys
from pathlib import Path

from msgspec import Struct

from bench import arms, gate, interpreters, machine, pairs
from bench import folder as folders
from bench import run as runs
from bench.arms import Arm
from bench.errors import CANNOT_WRITE, BenchError
from bench.gatekeeper import Gatekeeper
from bench.pairs import Comparison, Pairing
from bench.records import Case, cannot_write
from bench.reports.gate import FORMATS
from bench.suite import Filters, Planned, Suite, find, load, plan
from bench.verbs.report import say
from bench.verbs.run import check_deadline, check_patience, verify

CONTROL = {"workload": "mlp", "phase": "infer", "measure": "throughput", "backend": "control", "mode": "eager"}
WAYS = "--base-env PATH (another Python environment) or --base-flags NAME=VALUE (another setting)"


class Request(Struct, frozen=True):
    """What `stepwatch gate` was asked for."""

    suite: str | None
    filters: Filters
    base_env: Path | None
    base_flags: tuple[str, ...]
    out: Path | None
    resume: Path | None
    deadline: float | None
    patience: float
    format: str
    strict: bool


def execute(request: Request) -> int:
    """Measures, prints the verdicts, and returns the design's exit code: 4 INVALID, else 1 FAIL, else 0."""
    deadline = check_deadline(request.deadline)
    check_patience(request.patience)
    if request.format not in FORMATS:
        raise BenchError(f"no format '{request.format}'; there are {', '.join(FORMATS)}")
    if request.resume:
        folder, comparison = request.resume, _continued(request, request.resume)
    else:
        comparison = _compared(request, deadline)
        folder = request.out or folders.default(comparison.started, f"gate-{comparison.name}", comparison.commit)
        folders.make(folder, "gate.json", comparison)
    held = folders.lock(folder, "gate.json")
    try:
        keeper = Gatekeeper(comparison, folder, patience=request.patience)
        try:
            keeper.execute()
        except KeyboardInterrupt:
            say(f"interrupted; what is finished is kept: stepwatch gate --resume {folder}")
            return 130
        except OSError as error:
            if error.errno not in CANNOT_WRITE:
                raise
            raise cannot_write(Path(error.filename or folder), error, "the pairs made are kept", folder) from None
    finally:
        os.close(held)
    report = rendered(folder)
    folders.write(folder / "gate.md", FORMATS["markdown"](report), "pairs.jsonl is whole")
    sys.stdout.write(FORMATS[request.format](report))
    say(f"gate folder: {folder}")
    return gate.exit_code(report.judgement, strict=request.strict)


def rendered(folder: Path) -> pairs.Report:
    """What a gate's folder comes to."""
    comparison, records = pairs.read(folder)
    found, control = pairs.cells(comparison, records)
    return pairs.Report(comparison, gate.judge(found, control), tuple(records))


def _compared(request: Request, deadline: float) -> Comparison:
    """Suite and arms, every name checked before anything runs."""
    ways = [bool(request.base_env), bool(request.base_flags)]
    if sum(ways) != 1:
        raise BenchError(f"a gate wants one base to compare with: {WAYS}; found {sum(ways)}")
    if request.suite is None:
        raise BenchError("wanted a SUITE, whose cases are the cells; 'stepwatch list' names the shipped ones")
    here = machine.read()
    suite = load(find(request.suite))
    planned = plan(suite, here, request.filters)
    kept = [p for p in planned if not p.status]
    for one in planned:
        if one.status:
            say(f"left out: {one.case}: {one.status}: {one.reason}")
    if not kept:
        raise BenchError(f"suite {suite.name}: none of its {len(planned)} cases can be measured here")
    gate.second_stage(len(kept))
    verify({p.case.data for p in kept})
    names = {p.case.backend for p in kept}
    candidate = interpreters.candidate(names)
    if request.base_env:
        base = interpreters.other_environment(request.base_env, names, candidate)
    else:
        base = interpreters.other_flags(request.base_flags, names)
    return Comparison(
        name=suite.name,
        pairings=_pairings(kept, base),
        control=_control(suite, here.cores),
        base=base,
        candidate=candidate,
        differences=tuple(arms.differences(base, candidate)),
        protocol=suite.protocol,
        machine=here,
        commit=runs.commit(),
        harness=runs.harness(),
        seed=suite.seed,
        deadline=deadline,
        started=runs.now(),
    )


def _pairings(kept: list[Planned], base: Arm) -> tuple[Pairing, ...]:
    made = tuple(Pairing(base.case(p.case), p.case, p.margin) for p in kept)
    variables = bool(base.launch.environment)
    same = [p for p in made if p.base == p.candidate]
    if base.flags and not variables and same:
        raise BenchError(
            f"--base-flags change nothing of '{same[0].candidate}': two identical arms compare nothing; "
            "leave it out with a filter"
        )
    return made


def _control(suite: Suite, cores: int) -> Pairing:
    more = {"precision": "fp32", "layout": "flat", "batch": 64, "data": "synthetic", "input": "resident"}
    rest = {"steps_per_call": 1, "recipe": "plain", "device": "cpu", "threads": cores}
    case = Case(**CONTROL, **more, **rest)  # type: ignore[arg-type]
    return Pairing(case, case, gate.MARGIN)


def _continued(request: Request, folder: Path) -> Comparison:
    """The comparison of a folder, once it is certain that what is added to it now is the same one."""
    if request.suite or request.base_env or request.base_flags or request.out or request.filters != Filters():
        raise BenchError("--resume goes on with what was begun: leave out the suite, the base, --out and filters")
    comparison, _ = pairs.read(folder)
    now = {"machine": machine.read().digest, "code": runs.harness(), "commit": runs.commit()}
    was = {"machine": comparison.machine.digest, "code": comparison.harness, "commit": comparison.commit}
    for what, value in was.items():
        if value != now[what]:
            raise BenchError(f"cannot resume {folder}: its {what} was {value}, now it is {now[what]}; start a new gate")
    names = {p.candidate.backend for p in comparison.pairings}
    again = interpreters.candidate(names)
    if again != comparison.candidate:
        raise BenchError(f"cannot resume {folder}: this environment is not the one it was begun in; start a new gate")
    return comparison
