"""Kills runs with SIGKILL at drawn instants, resumes them, and checks that nothing finished is lost or made twice.

A script, not a test module: `python tests/kill_and_resume.py --runs 80 --backend null --out kill-and-resume.md`.
Each outcome is appended to FILE.jsonl as it comes: the same command again goes on where it stopped, and one with
another --seed adds its runs to the same summary. `test_resume` and `test_run` use its functions.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import msgspec
from msgspec import Struct

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench import backends, machine, records, schedule  # noqa: E402  (the checkout's own, whatever is installed)
from bench import run as runs  # noqa: E402

MARK = "STEPWATCH_TEST_MARK"
PATIENCE = 900.0  # seconds for one process of ours; nothing is asserted about it
# A row may have been disturbed by whatever else this machine does: it is as complete as any other.
SOUND = ("ok", "unsteady")
PROTOCOL = (
    "[protocol]\nwarm_up_seconds = 0.02\nbursts = 5\nburst_seconds = 0.002\nlatency_calls = 8\nceilings = false\n"
)
SUITES = {
    "null": 'name = "kill"\nrounds = 3\n' + PROTOCOL + '[[matrix]]\nworkload = ["mlp"]\nbackend = ["null"]\n'
    'measure = ["throughput", "latency"]\ndata = ["synthetic"]\ndevice = ["cpu"]\n',
    "frameworks": 'name = "kill"\nrounds = 2\n' + PROTOCOL + '[[matrix]]\nworkload = ["mlp"]\n'
    'backend = ["torch", "tensorflow", "jax"]\nphase = ["train"]\nbatch = [16]\ndata = ["synthetic"]\n'
    'device = ["cpu"]\n',
}


class Outcome(Struct, frozen=True):
    """One killed and resumed run. `problems` is empty where every check held."""

    backend: str
    seed: int
    number: int
    commit: str
    harness: str
    machine: str
    aim: str
    killed: str
    whole_records: int
    torn: bool
    resumes: int
    seconds: float
    problems: tuple[str, ...]


def environment(mark: str, cache: Path) -> dict[str, str]:
    """This process's, with the checkout first on the path, a cache of its own and a mark that children inherit."""
    kept = {name: value for name, value in os.environ.items() if name != "BENCH_DATA"}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return kept | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(cache), MARK: mark}


def start(
    *arguments: object,
    folder: Path,
    mark: str = "",
    log: Path | None = None,
    before: Callable[[], None] | None = None,
) -> subprocess.Popen[str]:
    """`python -m bench ARGUMENTS` in `folder`, in a session of its own as a terminal would give it.

    A run does not wait for a quiet machine: nothing that is checked here depends on one.
    """
    impatient = ("--patience", "0") if arguments[0] == "run" else ()
    with open(log or os.devnull, "a") as sink:
        return subprocess.Popen(
            [sys.executable, "-m", "bench", *map(str, arguments), *impatient],
            cwd=folder,
            env=environment(mark or uuid.uuid4().hex, folder / "cache"),
            stdin=subprocess.DEVNULL,
            stdout=sink if log else subprocess.PIPE,
            stderr=sink if log else subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=before,
        )


def alive(mark: str) -> list[int]:
    """The processes that carry the mark, found by the environment they were started with."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            pass  # it ended meanwhile, or is another user's
    return found


def survivors(mark: str, patience: float = 10.0) -> list[int]:
    """The marked processes that are still there after `patience` seconds; returns as soon as there are none."""
    until = monotonic() + patience
    while (left := alive(mark)) and monotonic() < until:
        sleep(0.02)
    return left


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Whether the condition came true before the process ended."""
    until = monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or monotonic() > until:
            return condition()
        sleep(0.002)
    return True


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def whole(path: Path) -> bytes:
    """The file up to its last line end."""
    text = path.read_bytes() if path.exists() else b""
    return text[: text.rfind(b"\n") + 1]


def tear(path: Path, draw: random.Random) -> bool:
    """Cuts the last line at a drawn byte, as a write that was cut short; False where there is no whole line."""
    kept = whole(path)
    if not kept:
        return False
    begins = kept[:-1].rfind(b"\n") + 1
    with open(path, "r+b") as file:
        file.truncate(draw.randrange(begins + 1, len(kept)))
    return True


def problems(folder: Path, kept: bytes) -> list[str]:
    """What is wrong with a run that was resumed to its end: `kept` is what was whole when it was killed.

    One record is wanted for each case's pilot and rounds, each worker's proof and each backend's ceilings; how many
    sessions it took is nobody's business.
    """
    run = runs.read_folder(folder)
    found = []
    path = folder / "results.jsonl"
    if not path.read_bytes().startswith(kept):
        found.append("a record that was whole at the kill is gone or altered")
    made, torn = records.read(path)
    if torn:
        found.append("the last line is torn after the resumed run")
    counts = Counter(records.key(record) for record in made if not isinstance(record, records.Session))
    if twice := [key for key, count in counts.items() if count > 1]:
        found.append(f"{len(twice)} measurements were made twice")
    cases = [planned.case for planned in run.planned if not planned.status]
    wanted: set[records.Key] = {(case, number) for case in cases for number in range(-1, run.suite.rounds)}
    wanted |= {case.worker for case in cases if backends.get(case.backend).packages}
    if run.suite.protocol.ceilings:
        wanted |= {schedule.ceiling_key(case) for case in schedule.first_of_each_backend(cases)}
    if counts.keys() != wanted:
        found.append(f"{len(wanted - counts.keys())} measurements are missing, {len(counts.keys() - wanted)} unasked")
    with open(folder / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != len(run.planned):
        found.append(f"table.csv has {len(rows)} rows, wanted {len(run.planned)}")
    for row in rows:
        sound = row["status"] in SOUND and int(row["rounds"]) == run.suite.rounds and row["step_ms"]
        if not sound:
            name = f"{row['backend']} {row['phase']} {row['measure']}"
            found.append(f"row {name}: {row['status']} {row['reason']}, {row['rounds']} rounds")
    if (folder / "cache").exists():
        found.append("the cache of the run was not removed")
    return found


def unkilled(scratch: Path) -> tuple[float, int]:
    """The seconds and the bytes of results of one run that nobody disturbs."""
    began = monotonic()
    process = start("run", "./suite.toml", "--out", "run", folder=scratch, log=scratch / "log")
    if process.wait(PATIENCE):
        raise SystemExit(f"the unkilled run failed, see {scratch / 'log'}")
    seconds = monotonic() - began
    if wrong := problems(scratch / "run", b""):
        raise SystemExit(f"the unkilled run is not sound: {wrong}, see {scratch}")
    return seconds, size(scratch / "run" / "results.jsonl")


def one(backend: str, seed: int, number: int, scratch: Path, *, seconds: float, results: int) -> Outcome:
    """One run: started, killed, resumed to its end, checked. Every fourth kill is aimed inside a write."""
    draw, began, mark = random.Random(f"{seed}/{number}"), monotonic(), uuid.uuid4().hex
    folder, log, path = scratch / "run", scratch / "log", scratch / "run" / "results.jsonl"
    aim = "write" if number % 4 == 3 else "instant"
    process = start("run", "./suite.toml", "--out", "run", folder=scratch, mark=mark, log=log)
    try:
        if aim == "write":
            enough = draw.randrange(1, results)
            wait_for(lambda: size(path) >= enough, process)
        else:
            try:
                process.wait(draw.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                pass
        ended = process.poll() is not None
    finally:
        process.kill()
        process.wait()
    wrong = [f"process {pid} outlived its parent" for pid in survivors(mark)]
    torn = aim == "write" and tear(path, draw)
    kept = whole(path)
    killed = "after the end" if ended else "while running" if folder.exists() else "before its folder was there"

    again = ("--resume", "run") if folder.exists() else ("./suite.toml", "--out", "run")
    resumes, code = 0, 1
    while code and resumes < 3:
        process = start("run", *again, folder=scratch, mark=mark, log=log)
        code = process.wait(PATIENCE)
        resumes += 1
    wrong += [f"process {pid} outlived the resumed run" for pid in survivors(mark)]
    wrong += [f"resuming ended with exit code {code}"] if code else problems(folder, kept)
    return Outcome(
        backend=backend,
        seed=seed,
        number=number,
        commit=runs.commit(),
        harness=runs.harness(),
        machine=machine.read().digest,
        aim=aim,
        killed=killed,
        whole_records=kept.count(b"\n"),
        torn=torn,
        resumes=resumes,
        seconds=round(monotonic() - began, 1),
        problems=tuple(wrong),
    )


def summary(outcomes: list[Outcome]) -> str:
    """The outcomes of this code on this machine as a Markdown page."""
    here = machine.read()
    lines = [
        "# Kill and resume",
        "",
        "Runs of a tiny suite, each killed with SIGKILL at an instant uniform over the duration of an unkilled run;",
        "every fourth when a drawn number of bytes was written, its last line then cut at a random byte. Each was",
        "resumed to its end. Checked: every record that was whole at the kill is there byte for byte, no measurement",
        "is made twice or missing, every row of table.csv has a time and all its rounds, no process outlived its",
        "parent.",
        "",
        f"{here.cpu}, {here.cores} of {here.cores_present} cores; {here.system}, Python {here.python}; "
        f"commit {runs.commit()}, code {runs.harness()}; {runs.now()[:10]}.",
        "",
        "| backend | runs | killed before its folder | while running | after the end | lines torn "
        "| records whole at the kill | runs with a problem | seconds |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for backend in sorted({outcome.backend for outcome in outcomes}):
        own = [outcome for outcome in outcomes if outcome.backend == backend]
        killed = Counter(outcome.killed for outcome in own)
        cells = (
            backend,
            len(own),
            *(killed[name] for name in ("before its folder was there", "while running", "after the end")),
            sum(outcome.torn for outcome in own),
            sum(outcome.whole_records for outcome in own),
            sum(bool(outcome.problems) for outcome in own),
            f"{sum(outcome.seconds for outcome in own):.0f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    wrong = [f"- {o.backend}, seed {o.seed}, run {o.number}: {text}" for o in outcomes for text in o.problems]
    return "\n".join([*lines, *(["", *wrong] if wrong else [])]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--backend", choices=sorted(SUITES), default="null")
    parser.add_argument("--seed", type=int, default=1, help="draws the instants; another one makes other runs")
    parser.add_argument("--out", type=Path, required=True, help="the summary; outcomes go to the same name in .jsonl")
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    ledger = asked.out.with_suffix(".jsonl")
    code = (runs.commit(), runs.harness(), machine.read().digest)
    lines = ledger.read_bytes().splitlines() if ledger.exists() else []
    before = [msgspec.json.decode(line, type=Outcome) for line in lines]
    # Outcomes of other code or another machine say nothing of this one.
    outcomes = [o for o in before if (o.commit, o.harness, o.machine) == code]
    made = {(o.backend, o.seed, o.number) for o in outcomes}
    todo = [n for n in range(asked.runs) if (asked.backend, asked.seed, n) not in made]
    scratch = Path(tempfile.mkdtemp(prefix="stepwatch-kill-"))

    def room(name: object) -> Path:
        # The cache is part of the room: a fresh one for each run, or the proofs would come from the run before.
        folder = scratch / str(name)
        folder.mkdir()
        (folder / "suite.toml").write_text(SUITES[asked.backend])
        return folder

    if todo:
        # Two, and the quicker: the first may find cold files, and kills are to fall while a run is running.
        seconds, results = min(unkilled(room(f"unkilled-{n}")) for n in range(2))
        print(f"an unkilled run takes {seconds:.1f} s", flush=True)
    for number in todo:
        folder = room(number)
        outcome = one(asked.backend, asked.seed, number, folder, seconds=seconds, results=results)
        outcomes.append(outcome)
        with open(ledger, "ab") as file:
            file.write(msgspec.json.encode(outcome) + b"\n")
        verdict = "; ".join(outcome.problems) + f" (kept in {folder})" if outcome.problems else "sound"
        print(
            f"[{number + 1}/{asked.runs}] killed {outcome.killed} with {outcome.whole_records} records, "
            f"{outcome.seconds:.1f} s: {verdict}",
            flush=True,
        )
        if not outcome.problems:
            shutil.rmtree(folder)
    asked.out.write_text(summary(outcomes))
    if not any(outcome.problems for outcome in outcomes):
        shutil.rmtree(scratch)
    print(f"{asked.out} written")
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a stopped script stops its runs too
    sys.exit(main())
