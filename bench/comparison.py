"""From what a person asked for to a `Comparison`: cells and arms, every name checked before anything runs."""

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench import arms, datasets, gate, interpreters, machine, programs, revisions
from bench import folder as folders
from bench import run as runs
from bench.arms import Arm
from bench.case import Case
from bench.errors import BenchError
from bench.machine import Machine
from bench.pairs import Comparison, Pairing
from bench.run import Program
from bench.suite import Filters, Planned, find, load, plan

CONTROL = {"workload": "mlp", "phase": "infer", "measure": "throughput", "backend": "control", "mode": "eager"}
WAYS = (
    "--base-env PATH (another Python environment), --base-ref REV (another revision), --base-flags NAME=VALUE "
    "or --against RUN (a stored run)"
)


class Asked(Struct, frozen=True):
    """The cells and the base, as a command line names them. One of the three bases has to be there."""

    suite: str | None
    programs: tuple[str, ...]
    filters: Filters
    base_env: Path | None
    base_ref: str | None
    base_flags: tuple[str, ...]
    out: Path | None
    against: Path | None = None


def make(asked: Asked, deadline: float) -> tuple[Comparison, Path]:
    """The comparison, and the folder that it will be kept in."""
    found = sum(map(bool, (asked.base_env, asked.base_ref, asked.base_flags)))
    if found != 1:
        raise BenchError(f"a gate wants one base to compare with: {WAYS}; found {found}")
    if bool(asked.suite) == bool(asked.programs):
        what = "both" if asked.suite else "neither"
        raise BenchError(
            f"a gate wants a SUITE, whose cases are the cells ('stepwatch list' names them), or --program, found {what}"
        )
    if asked.base_ref and not asked.programs:
        raise BenchError("--base-ref compares a --program of your own at two revisions; name it, or give --base-env")
    if asked.base_flags and asked.programs and (told := _settings(asked.base_flags)):
        raise BenchError(f"--base-flags {told} is nothing that a --program is told; name an environment variable")
    here, started = machine.read(), runs.now()
    paths = tuple(map(_here, asked.programs)) if asked.base_ref else asked.programs
    looked = _looked(asked, paths, here, deadline)
    suite = programs.suite(paths) if paths else load(find(asked.suite or ""))
    planned = programs.plan(looked, here, _device(asked, here)) if looked else plan(suite, here, asked.filters)
    kept = [p for p in planned if not p.status]
    if any(p.searched for p in planned):
        raise BenchError(f'suite {suite.name}: a gate compares batches that are known; put numbers for batch = "auto"')
    if skipped := [p for p in planned if p.status == "skipped"]:
        raise BenchError(
            f"suite {suite.name}: '{skipped[0].case}' cannot be measured here: {skipped[0].reason}; "
            "a gate does not pass over a cell: install it, or leave it out with --backend"
        )
    if not kept:
        raise BenchError(f"suite {suite.name}: none of its {len(planned)} cases can be measured here")
    gate.second_stage(len(kept))
    for data in {p.case.data for p in kept} if not looked else ():
        datasets.verify(datasets.locate(data))
    names = {p.case.backend for p in kept}
    folder = asked.out or folders.default(started, f"gate-{suite.name}", runs.commit())
    if folders.exists(folder):
        raise folders.taken(folder)
    base, candidate = _arms(asked, names, folder, paths)
    if looked:
        try:
            _same_offer(looked, base, here, _device(asked, here), deadline)
        except BaseException:
            if base.revision:
                revisions.remove(worktree(folder))
            raise
    comparison = Comparison(
        name=suite.name,
        pairings=_pairings(kept, base),
        control=control(here.cores),
        base=base,
        candidate=candidate,
        differences=tuple(arms.differences(base, candidate)),
        protocol=suite.protocol,
        machine=here,
        commit=runs.commit(),
        harness=runs.harness(),
        seed=suite.seed,
        deadline=deadline,
        started=started,
        left_out=tuple(f"{p.case}: {p.status}: {p.reason}" for p in planned if p.status),
        inherited=arms.inherited(base, names),
        declared=runs.foreign(p.case for p in kept),
        digests={
            str(Path(arm.root, p)): programs.digest(Path(arm.root, p)) for p in paths for arm in (base, candidate)
        },
    )
    return comparison, folder


def worktree(folder: Path) -> Path:
    """Where the base's revision is checked out while the gate works: beside its folder."""
    return folder.with_name(f"{folder.name}.base")


def _settings(flags: Sequence[str]) -> str:
    """Those of the flags that are a case's settings."""
    return " ".join(flag for flag in flags if flag.partition("=")[0] in arms.SETTINGS)


def _here(path: str) -> str:
    """The path from the present folder, so that it names the same file in another revision; within the repository."""
    file, top = Path(path).resolve(), revisions.top()
    if not file.is_relative_to(top):
        raise BenchError(f"--program {path} is outside the repository {top}: another revision does not hold it")
    return os.path.relpath(file, Path.cwd().resolve())


def _device(asked: Asked, here: Machine) -> str:
    return programs.device(asked.filters, here)


def _looked(asked: Asked, paths: Sequence[str], here: Machine, deadline: float) -> tuple[Program, ...]:
    filters = asked.filters
    if asked.programs and (filters.workload or filters.backend or filters.mode or len(filters.device) > 1):
        raise BenchError("--program takes the place of a suite: leave out filters other than one --device")
    device = _device(asked, here)
    return tuple(programs.look(p, device=device, threads=here.cores, deadline=deadline) for p in paths)


def _arms(asked: Asked, names: set[str], folder: Path, paths: Sequence[str]) -> tuple[Arm, Arm]:
    """Base and candidate."""
    candidate = interpreters.candidate(names)
    if asked.base_env:
        return interpreters.other_environment(asked.base_env, names, candidate), candidate
    if asked.base_ref:
        return _revisions(asked.base_ref, candidate, folder, paths)
    base = interpreters.other_flags(asked.base_flags, names)
    if not paths:  # a program may import from there what is no package
        interpreters.check_differs(base, candidate)
    return base, candidate


def _revisions(revision: str, candidate: Arm, folder: Path, paths: Sequence[str]) -> tuple[Arm, Arm]:
    """Both arms, each with the commit that it holds: the base's is checked out, the candidate's is what is here."""
    commit, present = revisions.commit_of(revision), revisions.present()
    for path in paths:
        revisions.check_holds(commit, path)
    if revisions.same(commit):
        raise BenchError(
            f"--base-ref {revision} is {commit}, from which no file differs here that git tracks: two identical arms "
            "compare nothing; 'git add' a new file that counts"
        )
    root, top = revisions.check_out(commit, worktree(folder)), revisions.top()
    base = replace(candidate, name="base", root=str(root), revision=commit, elsewhere=str(top))
    return base, replace(candidate, revision=present, elsewhere=str(worktree(folder).absolute()))


def _same_offer(looked: Sequence[Program], base: Arm, here: Machine, device: str, deadline: float) -> None:
    """`BenchError` where the base's files do not offer what the candidate's do: exit code 4, as for unequal work."""
    for program in looked:
        told = {"device": device, "threads": here.cores, "deadline": deadline, "launch": base.launch}
        told |= {"root": base.root, "elsewhere": base.elsewhere}
        other = programs.look(program.path, **told)  # type: ignore[arg-type]
        if (other.batch, other.phases) != (program.batch, program.phases):
            raise BenchError(
                f"INVALID: {program.path} offers {_offer(other)} in the base and {_offer(program)} in the candidate: "
                "not the same work",
                exit_code=4,
            )


def _offer(program: Program) -> str:
    return f"{' and '.join(program.phases)} on batches of {program.batch}"


def _pairings(kept: list[Planned], base: Arm) -> tuple[Pairing, ...]:
    made = tuple(Pairing(base.case(p.case), p.case, p.margin) for p in kept)
    same = [p for p in made if p.base == p.candidate]
    if base.flags and not base.launch.environment and same:
        raise BenchError(
            f"--base-flags change nothing of '{same[0].candidate}': two identical arms compare nothing; "
            "leave it out with a filter"
        )
    return made


def control(cores: int) -> Pairing:
    """The framework-free cell that every gate has besides."""
    more = {"precision": "fp32", "layout": "flat", "batch": 64, "data": "synthetic", "input": "resident"}
    rest = {"steps_per_call": 1, "recipe": "plain", "device": "cpu", "threads": cores}
    case = Case(**CONTROL, **more, **rest)  # type: ignore[arg-type]
    return Pairing(case, case, gate.MARGIN)
