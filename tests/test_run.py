"""Real runs of the null backend through the command line: run folder, reports, progress, Ctrl-C, a disk that fills."""

import csv
import io
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from conftest import ROOT, python, unless
from kill_and_resume import PATIENCE, SUITES, alive, environment, problems, size, start, survivors, wait_for, whole

from bench import datasets, noise, progress, records, runner
from bench.__main__ import main
from bench.patience import Patience
from bench.records import Pilot, Sample, Session

CASES, ROUNDS = 4, 3


class Finished:
    """One run that nobody disturbs: its folder, and what its process said."""

    def __init__(self, folder: Path) -> None:
        (folder / "suite.toml").write_text(SUITES["null"])
        process = start("run", "./suite.toml", "--out", "deep/er/out", folder=folder)
        self.out, self.err = process.communicate(timeout=PATIENCE)
        self.code = process.returncode
        self.folder = folder / "deep" / "er" / "out"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.toml").write_text(SUITES["null"])
    return tmp_path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else this machine does is no reason to wait: nothing here depends on a quiet one."""
    monkeypatch.setattr(Patience, "wait", lambda self: None)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- a run that nobody disturbs ---------------------------------------------------------------------------------------


def test_a_run_ends_well_and_is_complete(finished: Finished) -> None:
    assert finished.code == 0, finished.err
    assert problems(finished.folder, b"") == []


def test_the_run_folder(finished: Finished) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert names == {"run.json", "results.jsonl", "logs", "table.md", "table.csv", "report.html"}
    assert len(list((finished.folder / "logs").glob("*.log"))) == CASES + ROUNDS  # one process each
    found = json.loads((finished.folder / "run.json").read_bytes())
    assert found["suite"]["name"] == "kill"
    assert len(found["planned"]) == CASES
    for key in ("machine", "versions", "commit", "started", "filters", "deadline", "schema"):
        assert found[key] not in (None, "")
    machine = json.dumps(found["machine"])
    assert os.uname().nodename not in machine or len(os.uname().nodename) < 4


def test_the_records_are_of_the_runs_machine_commit_and_protocol(finished: Finished) -> None:
    everything, _ = records.read(finished.folder / "results.jsonl")
    found = [record for record in everything if not isinstance(record, Session)]
    run = json.loads((finished.folder / "run.json").read_bytes())
    assert {record.origin.commit for record in found} == {run["commit"]}
    assert len({record.origin.machine for record in found}) == 1
    pilots = {record.case: record for record in found if isinstance(record, Pilot)}
    samples = [record for record in found if isinstance(record, Sample)]
    assert (len(pilots), len(samples)) == (CASES, CASES * ROUNDS)
    for sample in samples:
        latency = sample.case.measure == "latency"
        assert len(sample.wall_ns) == len(sample.cpu_ns) == len(sample.switches) == (8 if latency else 5)
        assert sample.steps == (1 if latency else pilots[sample.case].steps_per_burst)
        assert min(sample.wall_ns) > 0
        assert len(sample.first_calls) == 3
        assert set(sample.stages) == {"start", "build", "warm_up", "bursts"}
        assert len(sample.sensed.readings) >= 2
    # Every pilot comes before the first round, and the rounds one after another.
    assert [record.origin.round for record in found] == sorted(record.origin.round for record in found)


def test_a_session_says_where_its_time_went(finished: Finished) -> None:
    found, _ = records.read(finished.folder / "results.jsonl")
    *_, last = found
    assert isinstance(last, Session)
    assert sum(isinstance(record, Session) for record in found) == 1
    assert set(last.stages) == {"pilots", "start", "build", "warm_up", "bursts"}
    assert 0 < sum(last.stages.values()) <= last.measuring_seconds <= last.seconds
    assert 0 <= last.parent_cpu_seconds < last.seconds
    assert last.waited_seconds < 1  # `--patience 0`


def test_the_page_is_of_this_run(finished: Finished) -> None:
    page = (finished.folder / "report.html").read_text()
    assert (
        page.rstrip().endswith("</html>")
        and 'id="numbers-1"' in page
        and json.loads((finished.folder / "run.json").read_bytes())["started"] in page
    )


def test_the_table_is_printed_and_kept(finished: Finished) -> None:
    table = (finished.folder / "table.md").read_text()
    assert finished.out.startswith(table)
    assert "Run folder: deep/er/out" in finished.out
    assert "Data: synthetic." in finished.out and "data fetch" in finished.out
    assert "not to quote" in table


def test_without_a_terminal_progress_is_one_line_a_process(finished: Finished) -> None:
    price, *lines = finished.err.splitlines()
    assert price.startswith("stepwatch: no price: ") or price.startswith("stepwatch: price: ")  # said once
    assert len(lines) == CASES + ROUNDS
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(rf"\[{number}/{CASES + ROUNDS}\] mlp null eager (pilot|round).*  \d+\.\d s  .* left", line)
    assert "0 s left" in lines[-1]


def test_a_terminal_gets_a_live_line_and_a_run_gets_its_default_folder(here: Path) -> None:
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "run", "./suite.toml", "--rounds", "1", "--patience", "0"],
        cwd=here,
        env=environment(uuid.uuid4().hex, here / "cache"),
        stdout=subprocess.PIPE,
        stderr=side,
        text=True,
    )
    os.close(side)
    drawn = b""
    while True:
        try:
            drawn += os.read(terminal, 1 << 16)
        except OSError:
            break  # the last holder of the other side is gone
        if not drawn:
            break
    out, _ = process.communicate(timeout=PATIENCE)
    os.close(terminal)
    assert process.returncode == 0
    assert b"pilot" in drawn and b"[1/5]" not in drawn
    (folder,) = (here / "results").iterdir()
    commit = json.loads((folder / "run.json").read_bytes())["commit"]
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-kill-{re.escape(commit)}", folder.name)
    assert f"Run folder: results/{folder.name}" in out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


# --- report -----------------------------------------------------------------------------------------------------------


def test_report_prints_what_the_run_kept(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    for name, format in (("table.md", "markdown"), ("table.csv", "csv")):
        assert main(["report", str(finished.folder), "--format", format]) == 0
        assert capsys.readouterr().out == (finished.folder / name).read_text()
    assert main(["report", str(finished.folder), "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == CASES


@pytest.mark.parametrize("format", ["markdown", "csv", "json"])
def test_report_is_the_same_in_every_process(finished: Finished, format: str) -> None:
    said = {
        python("-m", "bench", "report", finished.folder, "--format", format, PYTHONHASHSEED=seed).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1 and said != {""}


def test_report_never_writes_to_the_run(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    before = bytes_of(finished.folder)
    for format in ("markdown", "csv", "json"):
        assert main(["report", str(finished.folder), "--format", format, "--price-per-hour", "3"]) == 0
    assert "usd_per_hour" in capsys.readouterr().out
    assert bytes_of(finished.folder) == before


def test_a_price_is_kept_beside_the_results_and_can_be_replaced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "./suite.toml", "--rounds", "1", "--out", "out", "--instance", "p5.48xlarge"]) == 0
    assert "p5.48xlarge" in capsys.readouterr().out
    assert (here / "out" / "prices.csv").read_text().count("\n") == 2
    for flags, usd, instance in (
        ([], "55.04", "p5.48xlarge"),
        (["--price-per-hour", "2.10"], "2.10", ""),
        (["--instance", "g5.xlarge"], "1.006", "g5.xlarge"),
    ):
        assert main(["report", "out", "--format", "csv", *flags]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert {row["usd_per_hour"] for row in rows} == {usd}
        assert {row["instance"] for row in rows} == {instance}


def test_report_of_an_interrupted_run_shows_what_is_there(
    finished: Finished, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "BUSY", float("inf"))  # a busy neighbour's `unsteady` would come before `skipped`
    (here / "part").mkdir()
    (here / "part" / "run.json").write_bytes((finished.folder / "run.json").read_bytes())
    lines = (finished.folder / "results.jsonl").read_bytes().splitlines(keepends=True)
    (here / "part" / "results.jsonl").write_bytes(b"".join(lines[: CASES + 5]) + lines[CASES + 5][:40])
    before = bytes_of(here / "part")
    assert main(["report", "part", "--format", "csv"]) == 0
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "torn" in said.err
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert {row["status"] for row in rows} == {"skipped"}
    assert sorted(row["reason"][:11] for row in rows) == ["1 of 3 roun"] * 3 + ["2 of 3 roun"]
    assert bytes_of(here / "part") == before


# --- filters, rounds, failures ----------------------------------------------------------------------------------------


def test_a_filter_and_rounds_shorten_a_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "two.toml").write_text(SUITES["null"] + 'batch = [1, 2]\nmode = ["eager", "graph"]\nphase = ["infer"]\n')
    assert main(["run", "./two.toml", "--out", "out", "--rounds", "1", "--mode", "eager"]) == 0
    capsys.readouterr()
    found = json.loads((here / "out" / "run.json").read_bytes())
    assert found["suite"]["rounds"] == 1
    assert {planned["case"]["mode"] for planned in found["planned"]} == {"eager"}
    assert problems(here / "out", b"") == []


def test_a_suite_of_nothing_to_measure_is_a_table_of_reasons(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "graph.toml").write_text(SUITES["null"] + 'mode = ["graph"]\n')
    assert main(["run", "./graph.toml", "--out", "out"]) == 0
    assert "unsupported" in capsys.readouterr().out


def test_a_case_that_misses_its_deadline_is_a_row_and_exit_code_3(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "./suite.toml", "--out", "out", "--deadline", "0.001"]) == 3
    said = capsys.readouterr()
    assert said.out.count("timeout") >= CASES
    rows = list(csv.DictReader(io.StringIO((here / "out" / "table.csv").read_text())))
    assert [(row["status"], row["step_ms"], row["rounds"]) for row in rows] == [("timeout", "", "0")] * CASES
    assert all("--deadline" in row["reason"] and "logs/pilot" in row["reason"] for row in rows)
    for row in rows:
        (log,) = re.findall(r"see (logs/[^)]*)", row["reason"])
        assert (here / "out" / log).exists()


def test_batches_that_do_not_fit_into_memory_are_a_row(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The parent draws them: its own memory, not a worker's, is what runs out.
    def load(*_: object) -> None:
        raise MemoryError("Unable to allocate 49.0 GiB")

    monkeypatch.setattr(datasets, "load", load)
    assert main(["run", "./suite.toml", "--out", "out", "--rounds", "1"]) == 3
    assert capsys.readouterr().out.count("**oom**") == CASES


def test_a_run_that_is_interrupted_keeps_its_price(
    finished: Finished, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = ["run", "./suite.toml", "--out", "out", "--rounds", "1", "--price-per-hour", "3.6"]
    with monkeypatch.context() as patch:
        patch.setattr(runner.Runner, "execute", interrupted)
        assert main(begun) == 130
    assert main(["run", "--resume", "out"]) == 0
    with open("out/table.csv", newline="") as file:
        assert {row["usd_per_hour"] for row in csv.DictReader(file)} == {"3.6"}
    assert "3.6 USD/h" in capsys.readouterr().out


def interrupted(self: runner.Runner) -> None:
    raise KeyboardInterrupt


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines", [pytest.param(n, marks=unless(n == 5)) for n in (0, 1, 5)], ids=lambda n: f"after {n} records"
)
def test_ctrl_c_keeps_what_is_finished_and_leaves_nobody(lines: int, here: Path) -> None:
    path, mark = here / "out" / "results.jsonl", uuid.uuid4().hex
    process = start("run", "./suite.toml", "--out", "out", folder=here, mark=mark)
    # With a worker at work: a terminal sends the signal to all of its foreground group.
    assert wait_for(lambda: path.exists() and whole(path).count(b"\n") >= lines and len(alive(mark)) > 1, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "stepwatch: interrupted; what is finished is kept: stepwatch run --resume out"
    assert out == ""
    assert survivors(mark) == []
    kept = path.read_bytes()
    assert kept == whole(path) and kept.count(b"\n") >= lines

    again = start("run", "--resume", "out", folder=here, mark=mark)
    out, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, err
    assert problems(here / "out", kept) == []
    assert survivors(mark) == []


# --- a disk that fills ------------------------------------------------------------------------------------------------

KIB = 1024
FULL = {
    # What cannot be written: (the largest file in bytes, rounds, lines of the suite, words of the message)
    "run.json": (1 * KIB, 1, "", ["cannot write out", "nothing was kept"]),
    "the feed": (8 * KIB, 1, "", ["cannot write", "are kept", "--resume out"]),
    # Five batches of one image are 4 KiB, run.json is no larger, and the whole results are 11 KiB.
    "a record": (
        8 * KIB,
        3,
        "batch = [1]\n",
        ["cannot write out/results.jsonl", "records of this session", "--resume out"],
    ),
}


@pytest.mark.parametrize("what", [pytest.param(n, marks=unless(n == "a record")) for n in FULL])
def test_a_disk_that_fills_is_74_and_the_run_can_go_on(what: str, here: Path) -> None:
    most, rounds, lines, words = FULL[what]
    (here / "full.toml").write_text(SUITES["null"].replace("latency_calls = 8", "latency_calls = 8\nfeed = 5") + lines)
    path, mark = here / "out" / "results.jsonl", uuid.uuid4().hex

    def small_disk() -> None:
        # The kernel answers EFBIG where a full disk answers ENOSPC; Python ignores the signal that goes with it.
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    begin = ["./full.toml", "--out", "out", "--rounds", rounds]
    process = start("run", *begin, folder=here, mark=mark, before=small_disk)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 74
    assert "Traceback" not in err and out == ""
    for word in ("File too large", *words):
        assert word in err.splitlines()[-1]
    assert survivors(mark) == []
    assert not [path for path in here.iterdir() if path.name.startswith(".")]

    kept = whole(path)
    if what == "a record":
        assert kept.count(b"\n") >= CASES and size(path) > len(kept)  # the pilots, and a torn line
    again = ["--resume", "out"] if (here / "out").exists() else begin
    process = start("run", *again, folder=here, mark=mark)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert problems(here / "out", kept) == []


def test_a_table_that_cannot_be_written_leaves_the_results_whole(
    finished: Finished, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", "./suite.toml", "--out", "out", "--rounds", "1"]) == 0
    (here / "out" / "table.csv").unlink()
    (here / "out" / "table.csv").mkdir()
    capsys.readouterr()
    before = (here / "out" / "results.jsonl").read_bytes()
    assert main(["run", "--resume", "out", "--rounds", "1"]) == 74
    said = capsys.readouterr().err
    assert "cannot write out/table.csv" in said and "results.jsonl is whole" in said
    assert (here / "out" / "results.jsonl").read_bytes() == before
    assert {path.name for path in (here / "out").iterdir() if path.name.startswith(".")} == set()


def test_the_checkout_is_what_runs(finished: Finished) -> None:
    # Else these tests could be of another installed Stepwatch.
    done = python("-c", "import bench; print(bench.__file__)", folder=finished.folder)
    assert Path(done.stdout.strip()).parent.parent == ROOT
