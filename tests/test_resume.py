"""Runs that were killed, torn, altered or are at work: what --resume and --retry finish, refuse and leave alone."""

import fcntl
import json
import os
import random
import shutil
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from conftest import unless
from kill_and_resume import PATIENCE, SUITES, alive, problems, start, survivors, tear, wait_for, whole
from test_table import CASE, JAX, ceiling, failure, pilot, proof, run_of, sample

from bench import backends, compile_cache, folder, measuring, prover, records, starts
from bench import run as runs
from bench.__main__ import main
from bench.case import Case
from bench.patience import Patience
from bench.records import PILOT_ROUND, Failure, Ledger, Pilot, Record, Sample, Session
from bench.runner import Runner
from bench.schedule import Work


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, for tests that copy it."""
    folder = tmp_path_factory.mktemp("original")
    (folder / "suite.toml").write_text(SUITES["null"])
    process = start("run", "./suite.toml", "--out", "out", folder=folder)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return folder / "out"


@pytest.fixture
def out(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, as `out` in the present folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.toml").write_text(SUITES["null"])
    shutil.copytree(original, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else this machine does is no reason to wait: nothing here depends on a quiet one."""
    monkeypatch.setattr(Patience, "wait", lambda self: None)


def lines_of(folder: Path) -> list[bytes]:
    return (folder / "results.jsonl").read_bytes().splitlines(keepends=True)


def measured(folder: Path) -> list[Record]:
    """Its records but for those of sessions, oldest first."""
    found, torn = records.read(folder / "results.jsonl")
    assert torn == ""
    return [record for record in found if not isinstance(record, Session)]


def rewrite(folder: Path, found: list[Record]) -> None:
    """These records in place of those that are there."""
    (folder / "results.jsonl").unlink()
    ledger = Ledger(folder / "results.jsonl")
    for record in found:
        ledger.append(record)
    ledger.close()


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- killed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines", [pytest.param(n, marks=unless(n == 5)) for n in (None, 0, 5, 11)], ids=lambda n: f"after {n} records"
)
def test_a_run_that_was_killed_is_resumed(lines: int | None, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITES["null"])
    out, mark = tmp_path / "out", uuid.uuid4().hex
    path = out / "results.jsonl"
    process = start("run", "./suite.toml", "--out", "out", folder=tmp_path, mark=mark)
    # None: as soon as the run folder is there, perhaps before its results are.
    there = out if lines is None else path
    assert wait_for(lambda: there.exists() and whole(path).count(b"\n") >= (lines or 0), process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert survivors(mark) == []
    kept = whole(path)

    resumed = start("run", "--resume", "out", folder=tmp_path, mark=mark)
    _, err = resumed.communicate(timeout=PATIENCE)
    assert resumed.returncode == 0, err
    assert problems(out, kept) == []
    assert survivors(mark) == []


def test_a_worker_that_is_busy_dies_with_its_parent(tmp_path: Path) -> None:
    # It hears of a closed pipe only between two questions, and this one takes ten minutes.
    suite = SUITES["null"].replace("warm_up_seconds = 0.02", "warm_up_seconds = 600")
    (tmp_path / "suite.toml").write_text(suite)
    mark = uuid.uuid4().hex
    process = start("run", "./suite.toml", "--out", "out", folder=tmp_path, mark=mark)

    def busy() -> bool:
        workers = [psutil.Process(pid) for pid in alive(mark) if pid != process.pid]
        try:
            return any(worker.cpu_times().user > 1 for worker in workers)
        except psutil.NoSuchProcess:
            return False

    try:
        assert wait_for(busy, process)
        process.kill()
        process.communicate(timeout=PATIENCE)
        assert survivors(mark) == []
    finally:
        for pid in alive(mark):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("seed", range(3))
def test_a_torn_last_line_is_said_dropped_and_made_again(
    seed: int, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw, path = random.Random(seed), out / "results.jsonl"
    path.write_bytes(b"".join(lines_of(out)[: draw.randrange(1, 17)]))
    assert tear(path, draw)
    kept = whole(path)
    assert path.read_bytes() != kept
    assert main(["run", "--resume", "out"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[0].startswith("stepwatch: out/results.jsonl: the last line was torn and is dropped")
    assert problems(out, kept) == []


def test_a_run_without_its_results_begins_anew(out: Path) -> None:
    (out / "results.jsonl").unlink()
    (out / "table.csv").unlink()
    shutil.rmtree(out / "logs")
    (out / "logs").mkdir()
    assert main(["run", "--resume", "out"]) == 0
    assert problems(out, b"") == []


def test_a_finished_run_is_left_as_it_is(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = bytes_of(out)
    assert main(["run", "--resume", "out"]) == 0
    said = capsys.readouterr()
    assert bytes_of(out) == before
    assert said.out.startswith((out / "table.md").read_text())
    assert said.err == ""


def test_the_suite_may_be_named_again(out: Path) -> None:
    before = bytes_of(out)
    assert main(["run", "./suite.toml", "--resume", "out"]) == 0
    assert bytes_of(out) == before


# --- refused ----------------------------------------------------------------------------------------------------------


def edited(out: Path, change: Callable[[Any], None]) -> None:
    path = out / "run.json"
    found = json.loads(path.read_bytes())
    change(found)
    path.write_text(json.dumps(found))


def set_in(*keys: str | int, value: object) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for key in keys[:-1]:
            found = found[key]
        assert found[keys[-1]] != value
        found[keys[-1]] = value

    return change


OTHER = {
    "seed of the suite": (set_in("suite", "seed", value=2), ["cases", "suite"]),
    "commit": (set_in("commit", value="0000000"), ["commit 0000000"]),
    "code": (set_in("harness", value="0"), ["code 0", "sources changed"]),
    "cpu": (set_in("machine", "cpu", value="Abacus"), ["machine cpu Abacus"]),
    "cores": (set_in("machine", "cores_present", value=999), ["machine cores_present 999"]),
    "python": (set_in("machine", "python", value="3.0.0"), ["machine python 3.0.0"]),
    "gpus": (
        set_in("machine", "gpus", value=[{"name": "G", "memory_mib": 1, "driver": "1"}]),
        ["machine gpus"],
    ),
    "version of numpy": (set_in("versions", "numpy", value="1.0"), ["version of numpy 1.0"]),
    "version of stepwatch": (set_in("versions", "stepwatch", value="0.0.1"), ["version of stepwatch 0.0.1"]),
    "a variable": (set_in("variables", value={"XLA_FLAGS": "--x"}), ["variable XLA_FLAGS --x, now it is None"]),
    "a version more": (set_in("versions", value={"stepwatch": "0", "numpy": "0", "x": "1"}), ["version of"]),
    "cases": (lambda found: found["planned"].pop(), ["cases 3"]),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_run_is_not_resumed(name: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, words = OTHER[name]
    edited(out, change)
    before = bytes_of(out)
    for flag in ("--resume", "--retry"):
        arguments = ["run", flag, "out"] if name != "seed of the suite" else ["run", "./suite.toml", flag, "out"]
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1 and said.out == ""
        assert "cannot resume out" in said.err and "start a new run" in said.err
        assert any(word in said.err for word in words)
        assert bytes_of(out) == before


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        (("rounds = 3", "rounds = 4"), []),
        (("bursts = 5", "bursts = 6"), []),
        (('phase = ["train"', 'phase = ["train"'), ["--rounds", "4"]),
        (('backend = ["null"]', 'backend = ["null"]\nbatch = [32]'), []),
    ],
)
def test_another_suite_is_refused(
    change: tuple[str, str], flags: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("other.toml").write_text(SUITES["null"].replace(*change))
    before = bytes_of(out)
    assert main(["run", "./other.toml", "--resume", "out", *flags]) == 2
    assert "begun with suite kill" in capsys.readouterr().err
    assert bytes_of(out) == before


def test_what_the_filters_left_out_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A resumed run is planned with the filters it was begun with.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.toml").write_text(SUITES["null"] + 'mode = ["eager", "graph"]\n')
    assert main(["run", "./suite.toml", "--out", "out", "--mode", "eager", "--rounds", "1"]) == 0
    kept = whole(tmp_path / "out" / "results.jsonl")
    assert main(["run", "--resume", "out"]) == 0
    assert problems(tmp_path / "out", kept) == []


# --- two at once ------------------------------------------------------------------------------------------------------


def test_a_run_at_work_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.toml").write_text(SUITES["null"])
    mark = uuid.uuid4().hex
    process = start("run", "./suite.toml", "--out", "out", "--rounds", "40", folder=tmp_path, mark=mark)
    path = tmp_path / "out" / "results.jsonl"
    assert wait_for(lambda: whole(path) != b"", process)
    for flag in ("--resume", "--retry"):
        assert main(["run", flag, "out"]) == 2
        said = capsys.readouterr()
        assert "another process is running out" in said.err and said.err.count("\n") == 1
    assert process.poll() is None  # the first is not disturbed
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert survivors(mark) == []
    # The lock died with its holder.
    descriptor = os.open(tmp_path / "out" / "run.json", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
    assert records.read(path)[0]


def test_a_locked_run_is_not_touched(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tear(out / "results.jsonl", random.Random(1))
    before = bytes_of(out)
    with open(out / "run.json") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["run", "--resume", "out"]) == 2
    assert "another process" in capsys.readouterr().err
    assert bytes_of(out) == before


def test_a_report_needs_no_lock(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(out / "run.json") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["report", "out"]) == 0
    assert "mlp" in capsys.readouterr().out


# --- failures and --retry ---------------------------------------------------------------------------------------------


def with_failures(out: Path, *numbers: int) -> list[Sample]:
    """Turns these samples of the run's results, counted from the last, into failures; gives the samples."""
    found = measured(out)
    lost = []
    for number in numbers:
        sample = found[-number]
        assert isinstance(sample, Sample)
        found[-number] = Failure(sample.case, sample.origin, "crashed", "the process died of SIGSEGV", "")
        lost.append(sample)
    rewrite(out, found)
    return lost


def test_resume_leaves_failures_alone(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_failures(out, 1, 2)
    before = (out / "results.jsonl").read_bytes()
    assert main(["run", "--resume", "out"]) == 3
    assert (out / "results.jsonl").read_bytes() == before
    assert "1 of 3 rounds failed: the process died of SIGSEGV" in capsys.readouterr().out


def test_retry_makes_failures_again_and_keeps_the_old_lines(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = with_failures(out, 1, 2)
    before = (out / "results.jsonl").read_bytes()
    assert main(["run", "--retry", "out"]) == 0
    capsys.readouterr()
    after = (out / "results.jsonl").read_bytes()
    assert after.startswith(before)
    added = measured(out)
    assert {records.key(record) for record in added[-2:]} == {records.key(sample) for sample in lost}
    assert all(isinstance(record, Sample) for record in added[-2:])
    assert len(added) == before.count(b"\n") + 2
    assert after.count(b"\n") == len(added) + 1  # and what the session cost
    # Now nothing is left to retry.
    assert main(["run", "--retry", "out"]) == 0
    assert (out / "results.jsonl").read_bytes() == after


def test_retry_goes_on_with_what_is_not_measured_yet(out: Path) -> None:
    with_failures(out, 6)
    path = out / "results.jsonl"
    path.write_bytes(b"".join(lines_of(out)[:-3]))
    kept = path.read_bytes()
    assert main(["run", "--retry", "out"]) == 0
    assert path.read_bytes().startswith(kept)
    assert len(measured(out)) == kept.count(b"\n") + 3 + 1
    assert [text for text in problems(out, kept) if "twice" not in text] == []


def test_retry_of_a_failed_pilot_measures_its_rounds_too(out: Path) -> None:
    first, *found = measured(out)
    assert isinstance(first, Pilot)
    others = [record for record in found if isinstance(record, Pilot | Sample) and record.case != first.case]
    rewrite(out, [Failure(first.case, first.origin, "timeout", "no answer", ""), *others])
    assert main(["run", "--resume", "out"]) == 3
    assert main(["run", "--retry", "out"]) == 0
    assert [text for text in problems(out, b"") if "twice" not in text] == []


# --- proofs, without a framework --------------------------------------------------------------------------------------

INFER = msgspec.structs.replace(CASE, phase="infer")


def begun(tmp_path: Path, found: list[Record]) -> tuple[runs.Run, Path]:
    """The folder of a run of two torch cases that one process carries, interrupted with these records."""
    run = run_of(CASE, INFER, rounds=1)
    folder.make(tmp_path / "out", "run.json", run)
    ledger = Ledger(tmp_path / "out" / "results.jsonl")
    for record in found:
        ledger.append(record)
    ledger.close()
    return run, tmp_path / "out"


@pytest.mark.parametrize(
    "found",
    [
        [proof(CASE, broken="logits differ")],
        [proof(CASE, broken="logits differ"), failure(CASE, PILOT_ROUND, "parity_failed")],
        [proof(CASE, broken="logits differ"), *(failure(c, PILOT_ROUND, "parity_failed") for c in (CASE, INFER))],
        [failure(CASE, PILOT_ROUND, "timeout"), failure(INFER, PILOT_ROUND, "timeout")],
    ],
    ids=["broken, no failure yet", "broken, one failure", "broken, all failures", "proof could not be made"],
)
def test_nothing_is_measured_after_a_failed_proof(
    found: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kill may fall between the broken proof's record and those of its cases.
    found = [*found, ceiling(CASE)]
    run, folder = begun(tmp_path, found)

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(starts, "Process", started)
    monkeypatch.setattr(prover.proofs, "Making", started)
    before = (folder / "results.jsonl").read_bytes()
    Runner(run, folder).execute()
    added = (folder / "results.jsonl").read_bytes()
    assert added.startswith(before)
    assert all(isinstance(record, Failure) for record in measured(folder)[len(found) :])


def test_retry_makes_a_broken_proof_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [failure(case, PILOT_ROUND, "parity_failed") for case in (CASE, INFER)]
    run, folder = begun(tmp_path, [proof(CASE, broken="logits differ"), *both])

    class Asked(Exception):
        pass

    def make(subject: Any, *_: object, **__: object) -> None:
        raise Asked(subject.backend)

    monkeypatch.setattr(prover.proofs, "Making", make)
    with pytest.raises(Asked, match="torch"):
        Runner(run, folder, retry=True).execute()


def test_a_proof_made_after_a_resume_is_held_against_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Backends are proved against one another: where a kill fell between two proofs must not make the second weaker.
    run = run_of(CASE, JAX, rounds=1)
    folder.make(tmp_path / "out", "run.json", run)
    ledger = Ledger(tmp_path / "out" / "results.jsonl")
    ledger.append(proof(CASE))
    ledger.close()
    for case in (CASE, JAX):
        np.savez(tmp_path / f"{case.backend}.npz", logits=np.zeros(1))  # both cached
    monkeypatch.setattr(prover.proofs, "path_of", lambda subject, *_: tmp_path / f"{subject.backend}.npz")
    monkeypatch.setattr(prover.proofs, "load", lambda path: {"of": path.stem})

    class Judged(Exception):
        pass

    def judge(subject: Any, found: Any, reference: Any, **_: object) -> None:
        raise Judged(subject.backend, found, reference)

    monkeypatch.setattr(prover.proofs, "judge", judge)
    with pytest.raises(Judged) as caught:
        Runner(run, tmp_path / "out").execute()
    assert caught.value.args == ("jax", {"of": "jax"}, {"of": "torch"})


def test_these_cases_want_a_proof() -> None:
    assert backends.get(CASE.backend).packages and CASE.worker == INFER.worker


def left_behind(out: Path, case: Case) -> Path:
    """What a pilot's process has compiled."""
    path = compile_cache.of_pilot(out, case) / "inductor"
    path.mkdir(parents=True)
    (path / case.phase).write_text(case.phase)
    (path / "both").write_text("the same")
    return path


def test_a_killed_pilot_s_compile_cache_is_emptied(tmp_path: Path) -> None:
    run, out = begun(tmp_path, [])
    work, left = Runner(run, out), left_behind(out, CASE)
    place = work._place(Work("pilot", (CASE,)), CASE)
    assert not left.exists() and not place.settings.compiled
    assert place.settings.cache == str(compile_cache.of_pilot(out, CASE))
    work.ledger.close()


@pytest.mark.parametrize("ended", [True, False], ids=["both ended", "one was killed"])
def test_rounds_inherit_what_their_worker_s_pilots_compiled(tmp_path: Path, ended: bool) -> None:
    """Whole files, beside those of its other pilots; not where one has no record, nor Triton's, which name paths."""
    run, out = begun(tmp_path, [pilot(CASE), *([pilot(INFER)] if ended else [])])
    work = Runner(run, out)
    for case in (CASE, INFER):
        left = left_behind(out, case)
        (left.parent / "triton").mkdir()
        (left.parent / "triton" / "kernel").touch()
    place = work._place(Work("round", (CASE, INFER), 0), CASE)
    kept = Path(place.settings.cache)
    assert kept == compile_cache.of_rounds(out, CASE) == compile_cache.of_rounds(out, INFER)
    assert {path.name for path in (kept / "inductor").iterdir()} == {CASE.phase, "both", *([INFER.phase] * ended)}
    assert (kept / "inductor" / CASE.phase).read_text() == CASE.phase and not (kept / "triton").exists()
    assert [compile_cache.holds(out, case) for case in (CASE, INFER)] == [True, ended]
    assert place.settings.compiled is ended
    # What comes too late, of a process that outlived its pilot, changes nothing; nor does a second look.
    if ended:
        (left_behind(out, CASE) / CASE.phase).write_text("late")
        assert work._place(Work("round", (CASE, INFER), 1), CASE).settings == place.settings
    assert (kept / "inductor" / CASE.phase).read_text() == CASE.phase
    # Who deletes the cache deletes what is known of it.
    shutil.rmtree(out / "cache")
    assert not work._place(Work("round", (CASE,), 2), CASE).settings.compiled
    work.ledger.close()


def test_a_cache_that_was_half_inherited_is_inherited_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, out = begun(tmp_path, [pilot(CASE)])
    left_behind(out, CASE)
    replaced = os.replace

    def killed(source: Path, target: Path) -> None:
        replaced(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(compile_cache.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        compile_cache.inherit(out, CASE)
    assert not compile_cache.holds(out, CASE)
    monkeypatch.undo()
    compile_cache.inherit(out, CASE)
    kept = compile_cache.of_rounds(out, CASE) / "inductor"
    assert {path.name for path in kept.iterdir()} == {CASE.phase, "both"} and compile_cache.holds(out, CASE)


@pytest.mark.parametrize("there", [True, False])
def test_a_sample_says_whether_its_case_was_compiled_before(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its round leaves it compiled."""
    asked: list[bool] = []

    def measure(worker: object, subject: Any, chosen: object, until: float) -> Sample:
        asked.append(subject.cold)
        return sample(CASE, 0, 2.0)

    run, out = begun(tmp_path, [pilot(CASE), proof(CASE)])
    work = Runner(run, out)
    if there:
        compile_cache.mark(out, CASE)
    monkeypatch.setattr(measuring, "sample", measure)
    monkeypatch.setattr(work, "_feed_of", lambda case: "")
    work.started = starts.Started(SimpleNamespace(close=lambda: None))  # type: ignore[arg-type]
    work._measure(Work("round", (CASE,), 0), [CASE], None)
    assert asked == [not there] and compile_cache.holds(out, CASE)
    work.ledger.close()
