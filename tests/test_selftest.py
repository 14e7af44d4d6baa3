"""The selftest: its judgements on made-up figures, a fault that is not caught is broken, and its requests."""

import json
import random
from pathlib import Path

import pytest
from msgspec.structs import replace
from test_table import CASE, run_of

from bench import backend as registry_row
from bench import backends, machine, records
from bench import run as runs
from bench.__main__ import main
from bench.errors import BenchError
from bench.records import Ledger, Session
from bench.selftest import coverage, determinism, faults, finding, handwritten, overhead
from bench.selftest.finding import Finding
from bench.selftest.seeding import Copy
from bench.verbs import selftest

# Those that want no framework, so that they are quick and always run.
NULL_FAULTS = [name for name in faults.names() if name.partition(":")[0] in ("12", "13", "14", "15", "16")]


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["control: null", *NULL_FAULTS])
def test_a_fault_of_the_null_backend_is_caught(name: str) -> None:
    found = faults.one(name)
    assert (found.part, found.name, found.verdict) == ("faults", name, "holds"), found


def test_a_check_that_does_not_catch_its_fault_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    (clock,) = (fault for fault in faults.CHANGED if fault.number == 16)
    honest = replace(clock, new=clock.old)
    monkeypatch.setattr(faults, "CHANGED", (honest,))
    assert faults.one("16: a clock that steps back").verdict == "broken"


def test_a_fault_caught_by_another_check_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    (clock,) = (fault for fault in faults.CHANGED if fault.number == 16)
    monkeypatch.setattr(faults, "CHANGED", (replace(clock, says="not quiet after the fence"),))
    found = faults.one("16: a clock that steps back")
    assert found.verdict == "broken" and "stepped back" in found.found


def test_a_control_that_fires_is_broken(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    (clock,) = (fault for fault in faults.CHANGED if fault.number == 16)
    copy.change(clock.file, clock.old, clock.new)
    assert faults._control(copy, "null").verdict == "broken"


def test_a_fault_whose_text_has_moved_says_so(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"stale fault: bench/clock\.py holds 0 times 'no such line', wanted once"):
        Copy(tmp_path).change("bench/clock.py", "no such line", "")


@pytest.mark.parametrize("fault", list(faults.CHANGED), ids=lambda fault: fault.name.replace(" ", "-"))
def test_no_fault_is_stale(tmp_path: Path, fault: faults.Changed) -> None:
    Copy(tmp_path).change(fault.file, fault.old, fault.new)


def test_every_fault_of_a_run_is_seeded() -> None:
    numbers = sorted({fault.number for fault in faults.CHANGED} | {number for number, *_ in faults.DAMAGED})
    assert numbers == list(range(1, 20))


def test_a_missing_framework_or_gpu_is_skipped_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    if not machine.gpus():
        assert faults.one("18: silent fall-back to the CPU").verdict == "skipped"
    monkeypatch.setattr(registry_row, "find_spec", lambda package: None)
    found = faults.one("9: a doubled learning rate")
    assert found.verdict == "skipped" and backends.install("jax") in found.found


# --- determinism ------------------------------------------------------------------------------------------------------


def test_a_report_that_changes_with_the_order_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the null backend, in two formats: all of it is what `make selftest` runs."""
    monkeypatch.setattr(determinism, "FORMATS", ("json", "csv"))
    monkeypatch.setattr(determinism.backends, "NATIVE", {})
    assert determinism.one("reports").verdict == "holds"
    monkeypatch.setattr(determinism, "text", lambda *_: "another report")
    assert determinism.one("reports").verdict == "broken"


# --- overhead ---------------------------------------------------------------------------------------------------------


def suite_run(folder: Path, *, parent: float, waited: float, seconds: float) -> Path:
    """A run folder `quick` whose one session has a floor of 100 s and measured for 80."""
    (folder / "quick").mkdir(parents=True)
    ledger = Ledger(folder / "quick" / "results.jsonl")
    ledger.append(Session("2026-11-24T00:00:00Z", seconds, parent, 80.0, waited, {"proofs": 20.0, "bursts": 80.0}))
    ledger.close()
    return folder / "quick"


@pytest.mark.parametrize(
    ("parent", "waited", "seconds", "wanted"),
    [
        (0.5, 0.0, 109.0, ["holds", "holds"]),
        (0.9, 0.0, 109.0, ["broken", "holds"]),
        (0.5, 0.0, 111.0, ["holds", "broken"]),
        (0.5, 30.0, 139.0, ["holds", "holds"]),  # waiting for a busy machine is no overhead of the harness
    ],
)
def test_the_parent_and_the_floor(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parent: float,
    waited: float,
    seconds: float,
    wanted: list[str],
) -> None:
    folder = suite_run(tmp_path, parent=parent, waited=waited, seconds=seconds)
    monkeypatch.setattr(overhead, "run", lambda *_: folder)
    assert [one.verdict for one in overhead.quick(tmp_path)] == wanted


@pytest.mark.parametrize(
    ("step", "burst", "wanted"),
    [(0.4, 4.0, ["holds", "holds"]), (0.6, 4.0, ["broken", "holds"]), (0.4, 6.0, ["holds", "broken"])],
)
def test_the_null_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float, burst: float, wanted: list[str]
) -> None:
    (tmp_path / "null").mkdir()
    lines = ["phase,measure,step_ms", f"train,throughput,{step / 1e3}", f"train,latency,{burst / 1e3}"]
    (tmp_path / "null" / "table.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(overhead, "run", lambda suite, folder: folder)
    assert [one.verdict for one in overhead.null(tmp_path)] == wanted


# --- coverage ---------------------------------------------------------------------------------------------------------


def test_neighbouring_rounds_are_a_pair_the_earlier_one_the_base() -> None:
    made = coverage.pairs({number: float(number) for number in (0, 1, 2, 3, 4, 6, 7)})
    assert made == [(1.0, 0.0), (3.0, 2.0), (7.0, 6.0)]


def rounds(covering: int, missing: int) -> dict[int, list[float]]:
    """As many windows of six pairs that lie around 1, and of pairs whose second is always the slower one."""
    honest = [[1.0], [1.0 + 0.01], [1.0 + 0.01], [1.0]] * 3
    drifting = [[1.0], [1.1]] * 6
    return dict(enumerate(honest * covering + drifting * missing))


@pytest.mark.parametrize(
    ("covering", "missing", "verdict"),
    [(60, 0, "holds"), (57, 3, "holds"), (55, 5, "broken"), (59, 0, "not settled"), (0, 0, "not settled")],
)
def test_coverage_is_judged_on_enough_windows(covering: int, missing: int, verdict: str) -> None:
    first, *_ = coverage.findings({CASE: rounds(covering, missing)})
    assert first.verdict == verdict
    assert f"{covering} of {covering + missing} windows" in first.found


def test_a_machine_that_drifts_breaks_the_coverage_of_ratios() -> None:
    ratios, *_ = coverage.findings({CASE: {number: [1.02**number] for number in range(720)}})
    assert ratios.verdict == "broken"


def test_the_step_s_own_interval_is_judged_against_the_long_run() -> None:
    draw = random.Random(1)
    steady = {number: [draw.gauss(1.0, 0.02) for _ in range(10)] for number in range(600)}
    _, held, *_ = coverage.findings({CASE: steady})
    assert held.verdict == "holds", held
    # Two speeds, for windows on end: no window of one holds the middle of both.
    halves = {number: [1.0 if number < 300 else 2.0] * 10 for number in range(600)}
    _, broken, *_ = coverage.findings({CASE: halves})
    assert broken.verdict == "broken"


# --- hand-written loops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step_ms", "interval", "verdict"),
    [
        (6.0, [0.99, 1.019], "holds"),
        (6.0, [1.021, 1.03], "broken"),
        (6.0, [0.99, 1.03], "not settled"),
        (0.5, [0.99, 1.049], "holds"),
        (0.5, [1.051, 1.06], "broken"),
        (0.5, None, "not settled"),
    ],
)
def test_a_comparison_is_judged_by_its_interval(
    tmp_path: Path, step_ms: float, interval: list[float] | None, verdict: str
) -> None:
    here = machine.read()
    train = {"idiom_us": step_ms * 1e3, "ratio": 1.0, "interval": interval}
    (tmp_path / "handwritten").mkdir()
    result = {
        "framework": "torch",
        "mode": "eager",
        "model": "mlp",
        **{"commit": runs.commit(), "harness": runs.harness()},
        **{"cpu": here.cpu, "cores": here.cores},
        "train": train,
    }
    others = [result | {"train": train | {"ratio": 9.0}, name: "another"} for name in ("commit", "harness", "cpu")]
    line = "\n".join(map(json.dumps, (result, *others)))
    (tmp_path / "handwritten" / "results.jsonl").write_text(line + "\n")
    found = {one.name: one.verdict for one in handwritten.judge(tmp_path)}
    assert found.pop("torch eager mlp train") == verdict
    assert set(found.values()) <= {"not settled"}  # those that nobody compared


def test_a_comparison_of_another_commit_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "handwritten").mkdir()
    line = json.dumps({"framework": "torch", "mode": "eager", "model": "mlp", "commit": "another", "train": {}})
    (tmp_path / "handwritten" / "results.jsonl").write_text(line + "\n")
    assert {one.verdict for one in handwritten.judge(tmp_path)} <= {"not settled"}


def test_without_comparisons_the_part_is_skipped(tmp_path: Path) -> None:
    (found,) = handwritten.judge(tmp_path)
    assert found.verdict == "skipped"


# --- the verb ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Faults and determinism replaced by one finding each; what was run."""
    ran: list[str] = []

    def one(name: str) -> Finding:
        ran.append(name)
        return Finding(
            "faults" if name in "ab" else "determinism", name, "w", "f|f", "broken" if name == "b" else "holds"
        )

    for module, names in ((faults, ["a", "b"]), (determinism, ["c"])):
        monkeypatch.setattr(module, "names", lambda names=names: names)
        monkeypatch.setattr(module, "one", one)
    return ran


def test_a_broken_finding_ends_with_1_and_what_holds_is_not_tried_again(
    tmp_path: Path, made_up: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["selftest", "--quick", "--out", str(tmp_path / "out")]) == 1
    assert made_up == ["a", "b", "c"]
    page = (tmp_path / "out" / "table.md").read_text()
    assert capsys.readouterr().out == page
    assert "2 holds, 1 broken" in page and "f\\|f" in page
    assert main(["selftest", "--quick", "--out", str(tmp_path / "out")]) == 1
    assert made_up == ["a", "b", "c", "b"]


def test_findings_of_other_code_are_not_believed(
    tmp_path: Path, made_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["selftest", "--part", "determinism", "--out", str(tmp_path)]) == 0
    monkeypatch.setattr(selftest.runs, "harness", lambda: "changed")
    assert main(["selftest", "--part", "determinism", "--out", str(tmp_path)]) == 0
    assert made_up == ["c", "c"]


def test_a_torn_finding_is_made_again(tmp_path: Path) -> None:
    whole = Finding("faults", "a", "w", "f", "holds")
    finding.append(tmp_path / "f", whole)
    with open(tmp_path / "f", "ab") as file:
        file.write(b'{"part":"fau')
    assert finding.read(tmp_path / "f") == [whole]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--part", "speed"], "no part 'speed'; there are faults"),
        (["--minutes", "0"], "--minutes wants a number above 0"),
        (["--minutes", "nan"], "--minutes wants a number above 0"),
        (["--quick", "--part", "coverage"], "want a folder to keep their samples: --out DIR"),
        # Minutes that are none: were the flags let through, nothing would be collected either.
        (["--gate", "--quick", "--minutes", "nan"], "--gate takes the place of the parts: leave out --quick"),
        (["--gate", "--part", "faults", "--minutes", "nan"], "leave out --quick and --part"),
    ],
)
def test_a_wrong_request_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", *words]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1


def test_the_records_of_a_session_are_no_measurement() -> None:
    run = run_of(CASE)
    session = Session(run.started, 1.0, 0.0, 1.0, 0.0, {})
    assert records.latest([session, session])  # two within a second are no duplicate
