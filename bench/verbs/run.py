"""The verb `run`: from a request to a run folder and its table."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench import datasets, machine, programs, runner, schedule, search, status, workloads
from bench import folder as folders
from bench import run as runs
from bench.backends import OWN
from bench.errors import CANNOT_WRITE, BenchError, cannot_write
from bench.prices import asked, book
from bench.progress import duration
from bench.reports import csv, whole
from bench.run import Run
from bench.suite import Filters, Suite, find, load, plan
from bench.verbs.report import rendered, say, say_price

DEADLINE = 300.0  # seconds; the slowest honest case seen was torch.compile's first CNN step on 2 cores, under 60
PATIENCE_VARIABLE = "STEPWATCH_PATIENCE"
PATIENCE = 60.0  # seconds; a neighbour's compilation or download is over by then, a neighbour's service never is
LONGEST_DEADLINE = 7 * 86_400.0


FREE = asked.Asked()  # no price
ONE_OF_THEM = "--resume and --retry exclude each other: --retry also goes on with what is not measured yet"


class Request(Struct, frozen=True):
    """What `stepwatch run` was asked for."""

    suite: str | None
    out: Path | None
    rounds: int | None
    filters: Filters
    resume: Path | None
    retry: Path | None
    deadline: float | None
    patience: float
    price: asked.Asked
    programs: tuple[str, ...] = ()


def check_patience(seconds: float) -> None:
    """`BenchError` for a patience that is no time to wait for."""
    if not 0 <= seconds <= LONGEST_DEADLINE:
        raise BenchError(f"--patience wants seconds from 0 to {LONGEST_DEADLINE:g} (a week), found {seconds:g}")


def patience() -> float:
    """Of whoever has no command line, such as a fixture of pytest: what the variable says, else the default."""
    told = os.environ.get(PATIENCE_VARIABLE, "")
    try:
        seconds = float(told or PATIENCE)
    except ValueError:
        raise BenchError(f"{PATIENCE_VARIABLE} wants seconds, found '{told}'") from None
    check_patience(seconds)
    return seconds


def check_deadline(seconds: float | None) -> float:
    """The deadline asked for, else the default; `BenchError` for one that is no time to wait for."""
    if seconds is None:
        return DEADLINE
    if not 0 < seconds <= LONGEST_DEADLINE:
        raise BenchError(f"--deadline wants seconds above 0 and up to {LONGEST_DEADLINE:g} (a week), found {seconds:g}")
    return seconds


def execute(request: Request) -> int:
    """Runs, resumes or retries; prints the table; the exit code of the design."""
    check_deadline(request.deadline)
    check_patience(request.patience)
    if request.resume and request.retry:
        raise BenchError(ONE_OF_THEM)
    folder = request.resume or request.retry
    run = _continued(request, folder) if folder else planned(request)
    chosen = asked.choose(request.price, run.machine, folder / "prices.csv" if folder else None)
    offers = asked.known(asked.own(request.price.prices))  # a file that cannot be read is said before hours of work
    if not folder:
        verify({p.case.data for p in run.planned})
        folder = request.out or folders.default(run.started, run.suite.name, run.commit)
        folders.make(folder, "run.json", run)
    held = folders.lock(folder, "run.json")
    try:
        say_price(chosen, run, always=not (request.resume or request.retry))
        if chosen.price:
            book.write_used(folder / "prices.csv", [chosen.price])  # now: a run that is interrupted keeps its price
        work = runner.Runner(run, folder, retry=request.retry is not None, patience=request.patience)
        if work.torn:
            say(f"{folder / 'results.jsonl'}: the last line was torn and is dropped; what it held is made again")
        try:
            work.execute()
        except KeyboardInterrupt:
            say(f"interrupted; what is finished is kept: stepwatch run --resume {folder}")
            return 130
        except OSError as error:
            if error.errno not in CANNOT_WRITE:
                raise
            path = Path(error.filename or folder)
            raise cannot_write(path, error, "the records in results.jsonl are kept", folder) from None
        return _conclude(folder, chosen.price, offers)
    finally:
        os.close(held)


def _conclude(folder: Path, at: book.Price | None, offers: Sequence[book.Price]) -> int:
    from bench.reports import html  # its charts take a while to import, which no other verb has to wait for

    made = rendered(folder, at)
    table = whole.render(made)
    pages = {"table.md": table, "table.csv": csv.render(made), "report.html": html.render([made], offers)}
    for name, text in pages.items():
        folders.write(folder / name, text, "results.jsonl is whole")
    sys.stdout.write(table)
    print(f"\nRun folder: {folder} (the page: {folder / 'report.html'})")
    print(_data_line(made.run))
    found = search.results(made.searches)
    return status.exit_code(row.status for row in made.rows if row.case not in found)


def dry_run(request: Request) -> int:
    """Prints the cases, and an upper bound of the time with its reasoning."""
    check_deadline(request.deadline)
    check_patience(request.patience)
    if request.resume and request.retry:
        raise BenchError(ONE_OF_THEM)
    folder = request.resume or request.retry
    run = _continued(request, folder) if folder else planned(request)
    asked.choose(request.price, run.machine, folder / "prices.csv" if folder else None)  # a wrong one is said now
    made = runner.recorded(folder / "results.jsonl", retry=request.retry is not None) if folder else {}
    for one in run.planned:
        print(f"{one.case}" + (f"  {one.status}: {one.reason}" if one.status else ""))
    works = [work for work in schedule.works(run) if schedule.left(run, work, made)]
    counts = {kind: [w for w in works if w.kind == kind] for kind in ("proof", "ceiling", "pilot", "round")}
    print(f"\n{len(run.planned)} cases, {sum(not p.status for p in run.planned)} to be measured. {_data_line(run)}")
    print(f"{len(works)} processes: " + ", ".join(f"{len(found)} {kind}s" for kind, found in counts.items()))
    if not works:
        print("Nothing is left to do.")
        return 0
    seconds = schedule.EXPECTED
    print(
        f"Likely about {duration(sum(w.expected for w in works))}: {seconds['proof']:g} s a proof that is not cached, "
        f"{seconds['ceiling']:g} s a backend's ceilings, {seconds['start']:g} s to start a process, "
        f"{seconds['case']:g} s a case in it (warm-up, bursts, compilation)."
    )
    if searches := len(search.of(run, made)):
        print(
            f"{searches} searches for a batch: all of their pilots are counted, but a search may end sooner; "
            f"of each at most {search.BEST + 1} batches are then measured in rounds."
        )
    bound = request.patience + run.deadline * sum(1 if w.kind == "proof" else w.count for w in works)
    print(
        f"At most {duration(bound)}: every proof, and every case of every other process, may take its deadline of "
        f"{run.deadline:g} s before it is killed, and a busy machine is waited for {request.patience:g} s in all."
    )
    return 0


def planned(request: Request) -> Run:
    """The run that is asked for, every name checked; nothing is measured and nothing written yet."""
    if request.programs:
        return _of_programs(request)
    if request.suite is None:
        raise BenchError("wanted a SUITE (or --resume DIR); 'stepwatch list' names the shipped ones")
    here = machine.read()
    suite = _effective(request, load(find(request.suite)))
    cases = plan(suite, here, request.filters)
    # Where nothing takes a set's images, none is better than what the workloads draw for themselves.
    names = {p.case.data for p in cases if workloads.get(p.case.work).takes_28x28()}
    better = next((b for name in names if (b := datasets.locate(name).better)), "")
    return runs.create(suite, cases, here, request.filters, check_deadline(request.deadline), better)


def _of_programs(request: Request) -> Run:
    """A run of files of the user's own, which say themselves what they offer."""
    filters = request.filters
    if request.suite or filters.workload or filters.backend or filters.mode or len(filters.device) > 1:
        raise BenchError(
            "--program takes the place of a suite: leave out the suite and filters other than one --device"
        )
    suite = _effective(request, programs.suite(request.programs))
    return _with_programs(suite, filters, check_deadline(request.deadline))


def _with_programs(suite: Suite, filters: Filters, deadline: float) -> Run:
    here = machine.read()
    device = programs.device(filters, here)
    paths = suite.matrix[0].backend
    looked = tuple(programs.look(path, device=device, threads=here.cores, deadline=deadline) for path in paths)
    return runs.create(suite, programs.plan(looked, here, device), here, filters, deadline, "", looked)


def _effective(request: Request, suite: Suite) -> Suite:
    if request.rounds is None:
        return suite
    if not 1 <= request.rounds <= 1000:
        raise BenchError(f"--rounds wants a whole number from 1 to 1000, found {request.rounds}")
    return replace(suite, rounds=request.rounds)


def _continued(request: Request, folder: Path) -> Run:
    """The run of a folder, once it is certain that what is added to it now is the same run."""
    old = runs.read_folder(folder)
    if request.out or request.programs or request.filters != Filters():
        raise BenchError(
            "--out, --program and filters belong to the run that was begun; leave them out when you resume it"
        )
    suite = old.suite if request.suite is None else load(find(request.suite))
    suite = _effective(request, suite)
    if old.programs:
        new = _with_programs(suite, old.filters, old.deadline)
    else:
        here = machine.read()
        new = runs.create(suite, plan(suite, here, old.filters), here, old.filters, old.deadline, old.better_data)
    runs.check_same(old, new, folder)
    verify({p.case.data for p in old.planned})
    return replace(old, deadline=request.deadline or old.deadline)


def verify(names: Iterable[str]) -> None:
    """Checks the data's hashes once, in the parent, before anything is timed."""
    for name in sorted(set(names) - {OWN}):
        datasets.verify(datasets.locate(name))


def _data_line(run: Run) -> str:
    if run.programs:
        return "Data: the programs' own."
    names = sorted({p.case.data for p in run.planned})
    return f"Data: {', '.join(names)}" + (f". {run.better_data}" if run.better_data else ".")
