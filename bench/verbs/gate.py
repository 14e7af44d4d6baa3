"""The verb `gate`: two arms measured side by side in one job, a verdict on every case, and an exit code."""

import os
import sys
import traceback
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench import arms, baseline, gate, interpreters, machine, pairs, revisions
from bench import comparison as comparisons
from bench import folder as folders
from bench import run as runs
from bench.comparison import Asked
from bench.errors import CANNOT_WRITE, BenchError, cannot_write
from bench.gatekeeper import Gatekeeper
from bench.pairs import Comparison
from bench.reports.gate import FAILED, FORMATS
from bench.suite import Filters
from bench.verbs.report import judged, say
from bench.verbs.run import check_deadline, check_patience

NOTHING = Asked(None, (), Filters(), None, None, (), None)


class Request(Struct, frozen=True):
    """What `stepwatch gate` was asked for."""

    asked: Asked
    resume: Path | None
    deadline: float | None
    patience: float
    format: str
    strict: bool


def execute(request: Request) -> int:
    """Measures, prints the verdicts, and returns the design's exit code: 4 INVALID, else 1 FAIL, else 0."""
    try:
        return _execute(request)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
            raise  # a disk that is full is neither a verdict nor a fault of the gate's
        if isinstance(error, BenchError):
            said = error
        else:
            # Exit code 1 would say that the candidate is slower.
            traceback.print_exc()
            said = BenchError("INVALID: the gate itself failed, see above; no verdict", exit_code=4)
        # Of a request that is wrong only an annotation tells: it is no verdict.
        if request.format in FAILED and (request.format == "github" or said.exit_code == 4):
            sys.stdout.write(FAILED[request.format](str(said)))
            _summarise(request, f"**stepwatch gate**: {said}\n")
        raise said from None


def _execute(request: Request) -> int:
    deadline = check_deadline(request.deadline)
    check_patience(request.patience)
    if request.format not in FORMATS:
        raise BenchError(f"no format '{request.format}'; there are {', '.join(FORMATS)}")
    if request.resume:
        folder = request.resume
        if request.asked != NOTHING:
            raise BenchError(
                "--resume goes on with what was begun: leave out the suite, --program, the base, filters and --out"
            )
        comparison, _ = pairs.read(folder)
        held = folders.lock(folder, "gate.json")  # before anything of it is touched: it may be at work
    else:
        comparison, folder = _comparison(request.asked, deadline)
        held = -1
    try:
        if request.resume:
            _check_same(comparison, folder)
            comparison = replace(comparison, deadline=request.deadline or comparison.deadline)
        else:
            folders.make(folder, "gate.json", comparison)
            held = folders.lock(folder, "gate.json")
        for line in comparison.left_out:
            say(f"left out: {line}")
        Gatekeeper(comparison, folder, patience=request.patience).execute()
    except KeyboardInterrupt:
        say(f"interrupted; what is finished is kept: stepwatch gate --resume {folder}")
        return 130
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        raise cannot_write(Path(error.filename or folder), error, "the pairs made are kept", folder) from None
    finally:
        if comparison.base.revision:
            revisions.remove(comparisons.worktree(folder))
        if held >= 0:
            os.close(held)
    report = judged(folder)
    page = FORMATS["markdown"](report)
    folders.write(folder / "gate.md", page, "pairs.jsonl is whole")
    sys.stdout.write(FORMATS[request.format](report))
    _summarise(request, page)
    say(f"gate folder: {folder}")
    return gate.exit_code(report.judgement, strict=request.strict)


def _summarise(request: Request, text: str) -> None:
    """In a job of GitHub's the text goes into its summary too (docs.github.com/actions, "Workflow commands")."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if request.format != "github" or not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:  # the verdict stands, and is printed: in a container the runner's file may not be there
        say(f"no summary is written to {path}: {error.strerror}")


def _comparison(asked: Asked, deadline: float) -> tuple[Comparison, Path]:
    if asked.against is None:
        return comparisons.make(asked, deadline)
    if replace(asked, against=None, out=None) != NOTHING:
        raise BenchError(
            "--against takes the cells from the stored run: leave out the suite, --program, bases and filters"
        )
    return baseline.make(asked.against, asked.out, deadline)


def _check_same(comparison: Comparison, folder: Path) -> None:
    """`BenchError` where what would be added to the folder now is another comparison."""
    was = {"machine": comparison.machine.digest, "code": comparison.harness, "commit": comparison.commit}
    now = {"machine": machine.read().digest, "code": runs.harness(), "commit": runs.commit()}
    inherited = arms.inherited(comparison.base, (p.candidate.backend for p in comparison.pairings))
    for name in sorted({*comparison.inherited, *inherited}):
        was[f"variable {name}"], now[f"variable {name}"] = (
            one.get(name, "unset") for one in (comparison.inherited, inherited)
        )
    if comparison.base.revision:
        was["revision"], now["revision"] = comparison.candidate.revision, revisions.present()
        revisions.check_out(comparison.base.revision, comparisons.worktree(folder))
    was["workloads"], now["workloads"] = (
        str([(one.name, one.digest) for one in found])
        for found in (comparison.declared, runs.foreign(p.candidate for p in comparison.pairings))
    )
    names = {p.candidate.backend for p in comparison.pairings}
    for arm in (comparison.base, comparison.candidate) if not comparison.against else (comparison.candidate,):
        now_ = interpreters.again(arm, names)
        was[f"{arm.name} environment"], now[f"{arm.name} environment"] = (
            f"{one.prefix} {one.python} {one.versions}, installed files {one.installed}" for one in (arm, now_)
        )
    for what, value in was.items():
        if value != now[what]:
            raise BenchError(f"cannot resume {folder}: its {what} was {value}, now it is {now[what]}; start a new gate")
