"""`batch = "auto"`, and batches that do not fit: the order, what is not tried, what is measured and what is said of it.

The real runs are of the null backend, made to take a known time at each batch and to run out of memory at one.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import unless
from msgspec.structs import replace
from seeding import Copy
from test_table import CASE, JAX, failure, pilot, proof, rounds_of, rows_of, run_of, sample

from bench import doubling, folder, measuring, prover, records, schedule, search, table
from bench.__main__ import main
from bench.case import Case
from bench.errors import BenchError
from bench.messages import Failed
from bench.patience import Patience
from bench.process import WorkerFailed
from bench.records import PILOT_ROUND, Failure, Pilot, Record, Sample, latest
from bench.reports import html, searches, whole
from bench.reports.winners import SOUND
from bench.run import Run
from bench.runner import Runner, recorded
from bench.suite import Planned

PROGRAM = "bench/no_model.py"  # what the null backend runs


def at(batch: int, case: Case = CASE) -> Case:
    return replace(case, batch=batch)


def searched(*sizes: int, case: Case = CASE) -> list[Planned]:
    return [Planned(at(size, case), searched=True) for size in sizes]


def took(case: Case, seconds: float, other: float = 9.0) -> Pilot:
    """A pilot whose step took so long in its faster burst."""
    made = pilot(case)
    many = made.steps_per_burst * case.steps_per_call
    return replace(made, wall_ns=(round(other * many * 1e9), round(seconds * many * 1e9)))


def oom(case: Case) -> Failure:
    return failure(case, PILOT_ROUND, "oom", "MemoryError: seeded")


def reasons(run: Run, *found: Record) -> dict[int, tuple[str, str]]:
    return {row.case.batch: (row.status, row.reason) for row in rows_of(run, found)}


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_a_search_doubles_from_16_to_the_last_batch_that_a_data_set_fills() -> None:
    assert doubling.SIZES == (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
    assert doubling.batches("auto") == doubling.batches(("auto",)) == doubling.SIZES
    assert doubling.batches((3, 1)) == (3, 1)
    assert (doubling.searched("auto"), doubling.searched(("auto",)), doubling.searched((64,))) == (True, True, False)


@pytest.mark.parametrize("asked", [("auto", 64), (64, "auto"), ("auto", "auto")])
def test_auto_stands_alone(asked: tuple[int | str, ...]) -> None:
    with pytest.raises(BenchError, match='"auto" alone'):
        doubling.batches(asked)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Patience, "wait", lambda self: None)
    text = 'name = "s"\nrounds = 2\n[[matrix]]\nworkload = ["mlp"]\nbackend = ["null"]\nphase = ["train"]\n'
    (tmp_path / "s.toml").write_text(f'{text}data = ["synthetic"]\ndevice = ["cpu"]\nbatch = "auto"\n')
    return tmp_path


def test_a_dry_run_says_that_a_search_may_end_sooner(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "./s.toml", "--dry-run", "--patience", "60"]) == 0
    said = capsys.readouterr().out
    assert "14 processes: 0 proofs, 0 ceilings, 12 pilots, 2 rounds" in said
    assert "1 searches for a batch: all of their pilots are counted, but a search may end sooner" in said
    assert "at most 5 batches are then measured in rounds" in said
    # Twelve pilots and two rounds of five batches, 300 s each, and a minute of patience.
    assert "At most 1 h 51 min" in said
    assert main(["run", "smoke", "--dry-run"]) == 0
    assert "searches" not in capsys.readouterr().out


def test_a_gate_wants_numbers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "./s.toml", "--base-flags", "threads=1", "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert 'put numbers for batch = "auto"' in said and said.count("\n") == 1


# --- in which order, and how much of it -------------------------------------------------------------------------------


def test_batches_of_a_family_rise_and_families_keep_their_places() -> None:
    infer = replace(CASE, phase="infer")
    cases = [at(64), at(16, JAX), at(16), at(8, infer), at(4, JAX), at(32)]
    assert search.rising(cases) == [at(16), at(4, JAX), at(32), at(8, infer), at(16, JAX), at(64)]


def test_pilots_rise() -> None:
    works = schedule.works(run_of(at(64), at(16), at(256), rounds=1))
    assert [work.cases[0].batch for work in works if work.kind == "pilot"] == [16, 64, 256]


def test_rounds_are_expected_of_a_few_batches_of_a_search() -> None:
    planned = [*searched(*doubling.SIZES), *searched(16, 32, case=replace(CASE, phase="infer")), Planned(at(48))]
    work = next(work for work in schedule.works(run_of(*planned, rounds=1)) if work.kind == "round")
    assert (len(work.cases), work.count) == (15, search.BEST + 1 + 2 + 1)
    assert work.expected == schedule.EXPECTED["start"] + 8 * schedule.EXPECTED["case"]


# --- what is not tried ------------------------------------------------------------------------------------------------


def test_in_any_suite_what_is_larger_than_a_batch_that_did_not_fit_is_skipped() -> None:
    run = run_of(at(64), at(16), at(256), at(256, JAX), replace(at(256), phase="infer"), rounds=6)
    found = [proof(CASE), *rounds_of(at(16), *[1.0] * 6), oom(at(64))]
    made = latest(found)
    assert search.why_not(run, at(256), made) == "batch 64 did not fit"
    for other in (at(16), at(64), at(256, JAX), replace(at(256), phase="infer")):
        assert search.why_not(run, other, made) == ""
    assert schedule.left(run, schedule.Work("pilot", (at(256),)), made) == []
    assert schedule.left(run, schedule.Work("pilot", (at(256, JAX),)), made) == [at(256, JAX)]
    rows = {row.case: (row.status, row.reason) for row in rows_of(run, found)}
    assert rows[at(256)] == ("skipped", "batch 64 did not fit")
    assert rows[at(64)] == ("oom", "MemoryError: seeded")
    assert rows[at(16)][0] == "ok"


@pytest.mark.parametrize("status", ["error", "crashed", "timeout"])
def test_another_failure_of_a_named_batch_stops_no_other(status: str) -> None:
    made = latest([failure(at(64), PILOT_ROUND, status)])
    assert search.why_not(run_of(at(64), at(256)), at(256), made) == ""


def test_what_was_measured_before_a_smaller_one_did_not_fit_keeps_its_number() -> None:
    run = run_of(at(64), at(256), rounds=1)
    assert reasons(run, oom(at(64)), pilot(at(256)), sample(at(256), 0, 1.0))[256][0] == "ok"
    assert search.why_not(run, at(256), latest([oom(at(64)), pilot(at(256))])) == ""


def test_a_larger_batch_that_did_not_fit_says_nothing_of_a_smaller_one() -> None:
    assert search.why_not(run_of(at(64), at(256)), at(64), latest([oom(at(256))])) == ""


SIZES = (16, 32, 64, 128)
RUN = run_of(*searched(*SIZES), rounds=1)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([oom(at(64))], "batch 64 did not fit"),
        ([failure(at(64), PILOT_ROUND, "timeout")], "batch 64 is timeout"),
        ([failure(at(64), PILOT_ROUND, "crashed")], "batch 64 is crashed"),
        ([took(at(64), 0.6)], "a step of batch 64 took 0.6 s, over the search's limit of 0.5 s"),
    ],
    ids=["oom", "timeout", "crashed", "slow"],
)
def test_a_search_ends_at_the_first_batch_that_fails_or_is_slow(found: list[Record], why: str) -> None:
    made = latest([took(at(16), 0.01), took(at(32), 0.02), *found])
    assert search.why_not(RUN, at(128), made) == f"{why}; larger batches are not tried"
    (one,) = search.of(RUN, made)
    assert (one.end, one.measured) == (why, [16, 32])
    if isinstance(found[0], Failure):
        assert search.why_not(RUN, at(64), made) == "", "it failed by itself"
    assert one.oom == (64 if found[0] == oom(at(64)) else 0)


@pytest.mark.parametrize("status", search.PASSED_OVER)
def test_a_search_passes_over_a_failure_that_says_nothing_of_larger_batches(status: str) -> None:
    made = latest([took(at(16), 0.01), failure(at(32), PILOT_ROUND, status), took(at(64), 0.02), oom(at(128))])
    (one,) = search.of(RUN, made)
    assert (list(one.rates), one.end, search.results([one])) == ([16, 64], "batch 128 did not fit", {at(128)})
    assert search.why_not(RUN, at(64), latest([failure(at(32), PILOT_ROUND, status)])) == ""
    (none,) = search.of(RUN, latest([failure(at(size), PILOT_ROUND, status) for size in SIZES]))
    assert (none.rates, none.end) == ({}, "no batch could be measured")


def test_a_step_as_long_as_the_limit_ends_no_search_nor_does_a_disturbed_burst() -> None:
    made = latest([took(at(size), search.LONGEST_STEP, other=30.0) for size in SIZES])
    (one,) = search.of(RUN, made)
    assert (one.end, one.slow) == ("batch 128 is the largest that is tried", 0)


def test_a_slow_batch_fits_and_is_measured_only_where_there_is_no_other() -> None:
    made = latest([took(at(16), 0.1), took(at(32), 0.7)])
    slow = "a step of batch 32 took 0.7 s, over the search's limit of 0.5 s"
    assert search.why_not(RUN, at(32), made) == f"it fits; {slow}"
    (one,) = search.of(RUN, made)
    assert (list(one.rates), one.measured) == ([16, 32], [16])
    (alone,) = search.of(RUN, latest([took(at(16), 0.7)]))
    assert alone.measured == [16]
    assert search.why_not(RUN, at(16), latest([took(at(16), 0.7)])) == ""


def test_while_a_search_goes_on_nothing_is_skipped() -> None:
    made = latest([took(at(16), 0.01), took(at(32), 0.02)])
    assert [search.why_not(RUN, at(size), made) for size in SIZES] == [""] * 4
    assert search.of(RUN, made)[0].end == ""


def test_the_best_pilots_and_the_largest_are_measured() -> None:
    sizes = (16, 32, 64, 128, 256, 512, 1024)
    run = run_of(*searched(*sizes), rounds=1)
    rates = {16: 100, 32: 700, 64: 900, 128: 950, 256: 600, 512: 500, 1024: 90}
    made = latest([took(at(size), size / rate / 1000) for size, rate in rates.items() if size < 1024])
    assert [search.why_not(run, at(size), made) for size in sizes] == [""] * 7, "the search is not over"
    quick = latest([took(at(size, CASE), size / (rates[size] * 1000)) for size in sizes])
    (one,) = search.of(run, quick)
    assert one.measured == [32, 64, 128, 256, 1024]
    assert {size: round(rate / 1000) for size, rate in one.rates.items()} == rates
    why = "it fits; its pilot was slower than those of the 4 batches that are measured"
    assert {size for size in sizes if search.why_not(run, at(size), quick) == why} == {16, 512}
    assert schedule.left(run, schedule.Work("round", tuple(map(at, sizes)), 0), quick) == list(map(at, one.measured))
    # One that was begun, before a retry found better ones, is no less measured.
    assert search.why_not(run, at(16), quick | latest([sample(at(16), 0, 1.0)])) == ""


def test_several_steps_a_call_are_several_steps() -> None:
    many = replace(CASE, steps_per_call=8)
    run = run_of(*searched(16, case=many), rounds=1)
    assert search.of(run, latest([took(at(16, many), 0.25)]))[0].rates == {16: pytest.approx(64)}


# --- proofs and feeds -------------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Runner]:
    monkeypatch.setattr(Patience, "wait", lambda self: None)
    begun: list[Runner] = []

    def begin(*planned: Case | Planned, found: tuple[Record, ...] = ()) -> Runner:
        run = run_of(*planned, rounds=1)
        folder.make(tmp_path / "out", "run.json", run)
        begun.append(Runner(run, tmp_path / "out"))
        for record in found:
            begun[0]._append(record)
        return begun[0]

    yield begin  # type: ignore[misc]
    for one in begun:
        one.ledger.close()


def test_proofs_side_by_side_are_two_at_least_and_four_at_most() -> None:
    assert [prover.at_once(cores) for cores in (1, 2, 8, 12, 16, 192)] == [2, 2, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("phases", "source", "wanted"),
    [
        (["train"], "resident", ("train",)),
        (["infer"], "resident", ("infer",)),
        (["infer", "train"], "resident", ("train", "infer")),
        (["infer"], "host", ("train", "infer")),
    ],
)
def test_a_proof_has_first_losses_of_the_phases_that_are_measured(
    phases: list[str], source: str, wanted: tuple[str, ...], work: Callable[..., Runner]
) -> None:
    group = [replace(CASE, phase=phase, input=source) for phase in phases]
    runner = work(*group)
    subject = runner.prover._subject(group)
    assert subject.phases == wanted
    other = replace(subject, phases=("train", "infer") if len(wanted) == 1 else ("train",))
    assert runner.prover._path(subject) != runner.prover._path(other), "it is another proof"


def test_a_proof_covers_the_batches_of_a_search_up_to_64_and_all_that_are_named(work: Callable[..., Runner]) -> None:
    infer = replace(CASE, phase="infer")
    runner = work(*searched(*SIZES), at(512, infer), found=(proof(CASE),))
    group = [planned.case for planned in runner.run.planned]
    assert [batch for _, batch in runner.prover._subject(group).feeds] == [16, 32, 64, 512]
    held = [case.batch for case in group if runner.prover.foretelling(case)]
    assert held == [16, 32, 64, 512]
    assert all(runner.prover.of(case) for case in group)


@pytest.mark.parametrize(("reason", "kept"), [(search.PROOF_DID_NOT_FIT, False), ("MemoryError: x", True)])
def test_on_retry_a_proof_without_a_batch_is_made_again_with_it(
    reason: str, kept: bool, work: Callable[..., Runner], tmp_path: Path
) -> None:
    work(at(16), at(64), found=(proof(CASE), failure(at(64), PILOT_ROUND, "oom", reason)))
    path = tmp_path / "out" / "results.jsonl"
    assert len(recorded(path, retry=False)) == 2
    assert [type(record).__name__ for record in recorded(path, retry=True).values()] == ["Proof"] * kept


def test_a_proof_that_did_not_fit_is_not_called_the_case(work: Callable[..., Runner]) -> None:
    run = run_of(*searched(16, 64, 128), rounds=1)
    made = latest([took(at(16), 0.01), failure(at(64), PILOT_ROUND, "oom", search.PROOF_DID_NOT_FIT)])
    assert search.of(run, made)[0].end == "batch 64 did not fit, as its proof has it"


class Open:
    """A worker that is open, and asked nothing."""

    @property
    def process(self) -> "Open":
        return self

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("size", "foretold"), [(64, True), (128, False)])
def test_first_losses_are_held_against_a_proof_where_it_has_them(
    size: int, foretold: bool, work: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def measure(worker: object, subject: Any, until: float, **_: object) -> None:
        asked.append(subject.proof)
        raise WorkerFailed(Failed("error", "seeded"))

    monkeypatch.setattr(measuring, "pilot", measure)
    runner = work(*searched(*SIZES), found=(proof(CASE),))
    runner.started = Open()  # type: ignore[assignment]
    runner._measure(schedule.Work("pilot", (at(size),)), [at(size)], None)
    assert [one is not None for one in asked] == [foretold]


class Making:
    """A proof that runs out of memory if it has a large batch; else it ends the test."""

    made: list[list[int]]

    def __init__(self, subject: Any, path: Path, files: dict[str, str], **_: object) -> None:
        self.path, self.sizes = path, [batch for _, batch in subject.feeds]
        self.made.append(self.sizes)

    def finish(self) -> None:
        if max(self.sizes) > 64:
            raise WorkerFailed(Failed("oom", "the kernel killed the process"))

    def abandon(self) -> None:
        pass


def test_a_batch_whose_proof_does_not_fit_leaves_the_smaller_ones_alone(
    work: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    Making.made = []
    monkeypatch.setattr(prover.proofs, "Making", Making)
    monkeypatch.setattr(prover.proofs, "load", lambda path: {})
    monkeypatch.setattr(prover.proofs, "judge", lambda *_: prover.proofs.Verdict(0.0, 0.0, "", {}))
    runner = work(at(16), at(256), at(64), at(128))
    cases = [planned.case for planned in runner.run.planned]
    runner.prover.begin([cases])
    runner._prove(cases)
    assert Making.made == [[16, 64, 128, 256], [16, 64, 128], [16, 64]]
    failed = {record.case.batch: record.status for record in runner.records.values() if isinstance(record, Failure)}
    assert failed == {256: "oom", 128: "oom"}
    assert CASE.worker in runner.records


def test_a_proof_that_did_not_fit_beside_others_is_made_once_more_alone(
    work: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crowded(Making):
        """On one device, where two have no room at once."""

        alive: ClassVar[list["Crowded"]] = []

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.alive.append(self)

        def finish(self) -> None:
            beside = len(self.alive)
            self.alive.remove(self)
            if beside > 1:
                raise WorkerFailed(Failed("oom", "CUDA out of memory"))

        def abandon(self) -> None:
            self.alive.remove(self)

    Crowded.made = []
    monkeypatch.setattr(prover.proofs, "Making", Crowded)
    monkeypatch.setattr(prover.proofs, "load", lambda path: {})
    monkeypatch.setattr(prover.proofs, "judge", lambda *_: prover.proofs.Verdict(0.0, 0.0, "", {}))
    runner = work(at(16), at(64, JAX))
    groups = [[planned.case] for planned in runner.run.planned]
    for place, group in enumerate(groups):
        runner.prover.begin(groups[place:])  # as the runner does before each
        runner._prove(group)
    assert not any(isinstance(record, Failure) for record in runner.records.values())
    assert Crowded.made == [[16], [64], [16], [64]], "the one beside it was ended, and begun again in its turn"


def test_a_proof_is_read_where_it_was_left(work: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name has the shell's variables in it, which a library that is imported meanwhile may set."""
    read: list[Path] = []
    Making.made = []
    monkeypatch.setattr(prover.proofs, "Making", Making)
    monkeypatch.setattr(prover.proofs, "load", lambda path: read.append(path) or {})
    monkeypatch.setattr(prover.proofs, "judge", lambda *_: prover.proofs.Verdict(0.0, 0.0, "", {}))
    runner = work(at(16))
    runner.prover.begin([[at(16)]])
    (making,) = runner.prover.begun.values()
    monkeypatch.setenv("KMP_INIT_AT_FORK", "FALSE")
    runner._prove([at(16)])
    assert read == [making.path]


def test_a_proof_that_fails_otherwise_fails_for_all(
    work: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crashing(Making):
        def finish(self) -> None:
            raise WorkerFailed(Failed("crashed", "SIGSEGV"))

    Crashing.made = []
    monkeypatch.setattr(prover.proofs, "Making", Crashing)
    runner = work(at(16), at(256))
    runner.prover.begin([[at(16), at(256)]])
    runner._prove([at(16), at(256)])
    assert {record.status for record in runner.records.values() if isinstance(record, Failure)} == {"crashed"}
    assert len(runner.records) == 2
    assert Crashing.made == [[16, 256]], "it is not made again"


# --- what is said -----------------------------------------------------------------------------------------------------


def told(*found: Record, sizes: tuple[int, ...] = SIZES, rounds: int = 6) -> str:
    return searches.render(table.report(run_of(*searched(*sizes), rounds=rounds), latest(list(found)), None))


def measured(size: int, *milliseconds: float) -> list[Record]:
    _, *samples = rounds_of(at(size), *milliseconds)
    return [took(at(size), milliseconds[0] / 1e3), *samples]


FITTED = [*measured(16, *[16.0] * 6), *measured(32, *[16.0] * 6), *measured(64, 31, 32, 33, 31, 32, 33)]


def test_the_words_of_a_search() -> None:
    said = told(*FITTED, oom(at(128)))
    assert "## The search for a batch" in said
    (line,) = (line for line in said.splitlines() if line.startswith("| mlp"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    # 32 in 16 ms and 64 in 32 ms are 2000 a second; 64's interval reaches from 31 to 33 ms.
    assert cells == ["mlp", "train", "torch eager", "64", "batch 128 did not fit", "32", "2,000 (2,000-2,000)"]
    assert "- mlp, train, torch eager: batch 32 is not told apart from 64." in said
    assert "samples/s of the pilots by batch: 16: 1,000; 32: 2,000; 64: 2,060." in said
    assert "First losses of batches over 64, of most large models over 16, are not held against a proof." in said
    assert "might be faster" not in said


def test_a_best_batch_at_the_end_of_what_was_tried_may_have_a_better_above_it() -> None:
    best_last = [*measured(16, *[16.0] * 6), *measured(32, *[16.0] * 6)]
    slow = took(at(64), 0.7)
    assert "32 (" not in told(*best_last, slow)
    assert "the best batch is the largest that was measured; a larger one might be faster" in told(*best_last, slow)
    assert "not told apart" not in told(*best_last, slow)
    assert "might be faster" not in told(*best_last, oom(at(64)))
    inside = [*measured(16, *[16.0] * 6), *measured(32, *[40.0] * 6), slow]
    assert "might be faster" not in told(*inside)


def test_too_few_rounds_tell_no_batches_apart() -> None:
    found = [*measured(16, 16.0), *measured(32, 16.0), oom(at(64))]
    said = told(*found, rounds=1)
    assert "mlp, train, torch eager: 1 rounds are too few for an interval, so that no batch is proved the best" in said
    assert "not told apart" not in said
    assert "too few" not in told(*measured(16, 16.0), oom(at(32)), sizes=(16, 32), rounds=1), "beside no other batch"


def test_a_batch_that_failed_in_rounds_is_not_the_best() -> None:
    broken = [record for record in measured(64, *[1.0] * 6) if record.origin.round != 5]
    said = told(*measured(16, *[16.0] * 6), *broken, failure(at(64), 5), oom(at(128)), sizes=(16, 64, 128))
    assert "batch 64 is error, and is not held against the others" in said
    assert "not told apart" not in said
    assert "| 16 |" in " ".join(said.split())


def test_a_search_in_which_nothing_fits_or_that_is_not_over_says_so() -> None:
    assert "| none | batch 16 did not fit | - | - |" in " ".join(told(oom(at(16))).split())
    assert "it has not ended" in told(took(at(16), 0.001))
    assert search.results(search.of(RUN, latest([oom(at(16))]))) == set()
    assert search.results(search.of(RUN, latest([took(at(16), 0.1), oom(at(32))]))) == {at(32)}
    assert search.results(search.of(RUN, latest([took(at(16), 0.1), failure(at(32), PILOT_ROUND)]))) == set()


def test_without_a_search_there_is_no_such_table() -> None:
    report = table.report(run_of(CASE), latest(rounds_of(CASE, *[1.0] * 6)), None)
    assert searches.render(report) == ""
    assert "search" not in whole.render(report)
    assert "The search for a batch" not in html.render([report], ())


def test_the_page_has_the_table_too() -> None:
    report = table.report(run_of(*searched(*SIZES)), latest([*FITTED, oom(at(128))]), None)
    page = html.render([report], ())
    for words in ("The search for a batch", "batch 128 did not fit", "batch 32 is not told apart from 64"):
        assert words in page


# --- as it really happens ---------------------------------------------------------------------------------------------

# Milliseconds a step: 64 is the best batch, 128 is slower than all others, 512 does not fit.
STEPS = "{16: 4, 32: 4, 64: 4, 128: 48, 256: 40}"


def short_of_memory(folder: Path, condition: str = "len(batch[0]) >= 512") -> Copy:
    copy = Copy(folder)
    step = f"import time; time.sleep({STEPS}.get(len(batch[0]), 4) / 1e3)"
    fault = f"if {condition}: raise MemoryError('seeded')"
    copy.change(
        PROGRAM,
        "def train(self, batch: Any) -> None:\n",
        f"def train(self, batch: Any) -> None:\n        {fault}\n        {step}\n",
    )
    return copy


class Found:
    """One real search, and what it left."""

    def __init__(self, folder: Path) -> None:
        self.copy = short_of_memory(folder)
        self.code, rows = self.copy.run({"backend": ["null"], "batch": ["auto"]})
        self.rows = {int(row["batch"]): row for row in rows}

    @property
    def path(self) -> Path:
        return self.copy.out / "results.jsonl"

    def records(self) -> list[Record]:
        return [record for record in records.read(self.path)[0] if isinstance(record, Pilot | Sample | Failure)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return Found(tmp_path_factory.mktemp("search"))


def test_a_search_tries_rising_batches_until_one_does_not_fit(found: Found) -> None:
    tried = [record.case.batch for record in found.records() if record.origin.round == PILOT_ROUND]
    assert tried == [16, 32, 64, 128, 256, 512]
    assert found.code == 0, "what does not fit is what a search has found, and no failure"
    assert list(found.rows) == list(doubling.SIZES)
    assert found.rows[512]["status"] == "oom" and "MemoryError: seeded" in found.rows[512]["reason"]
    for size in doubling.SIZES[6:]:
        row = found.rows[size]
        assert (row["status"], row["reason"]) == ("skipped", "batch 512 did not fit; larger batches are not tried")
        assert row["step_ms"] == ""


def test_the_best_of_a_search_are_measured_in_rounds(found: Found) -> None:
    timed = {record.case.batch for record in found.records() if isinstance(record, Sample)}
    assert timed == {16, 32, 64, 256}
    assert {size for size, row in found.rows.items() if row["step_ms"]} == timed
    assert found.rows[128]["status"] == "skipped"
    assert found.rows[128]["reason"].startswith("it fits; its pilot was slower")


def test_the_table_of_a_search_is_below_the_others(found: Found) -> None:
    text = (found.copy.out / "table.md").read_text()
    line = next(line for line in text.split("## The search for a batch")[1].splitlines() if line.startswith("| mlp"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["mlp", "train", "null eager", "256", "batch 512 did not fit", "64"]
    assert "The search for a batch" in (found.copy.out / "report.html").read_text()


@pytest.mark.parametrize(
    "kept", [pytest.param(n, marks=unless(n in (6, None))) for n in (3, 6, 8, None)], ids=lambda n: f"after {n} records"
)
def test_a_search_is_resumed(found: Found, tmp_path: Path, kept: int | None) -> None:
    """Where it was interrupted among the pilots, in the rounds, or not at all: nothing is tried again."""
    out = tmp_path / "out"
    shutil.copytree(found.copy.out, out)
    path = out / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)[:kept]
    path.write_bytes(b"".join(lines))
    done = found.copy.stepwatch("run", "--resume", str(out), "--patience", "0")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith(b"".join(lines))
    again = [record for record in records.read(path)[0] if isinstance(record, Pilot | Sample | Failure)]
    assert sorted((r.case.batch, r.origin.round) for r in again) == sorted(
        (r.case.batch, r.origin.round) for r in found.records()
    )
    assert "8192" not in done.stderr, "what is not tried has no line of its own"
    assert "batch 512 did not fit" in done.stdout


@pytest.mark.long
def test_retry_goes_on_above_a_batch_that_fits_now(tmp_path: Path) -> None:
    copy = short_of_memory(tmp_path, "len(batch[0]) >= 32 and not __import__('os').path.exists('room')")
    copy.change("bench/doubling.py", "FIRST, LAST = 16, 2**15", "FIRST, LAST = 16, 2**6")
    _, rows = copy.run({"backend": ["null"], "batch": ["auto"]})
    assert [row["status"] for row in rows][1:] == ["oom", "skipped"]
    (copy.folder / "room").touch()
    done = copy.stepwatch("run", "--retry", str(copy.out), "--patience", "0")
    assert done.returncode == 0, done.stderr
    assert "batch 64 is the largest that is tried" in done.stdout
    assert "did not fit" not in done.stdout


def test_a_named_batch_that_does_not_fit_is_oom_and_larger_ones_are_skipped(tmp_path: Path) -> None:
    copy = short_of_memory(tmp_path, "len(batch[0]) >= 32")
    code, rows = copy.run({"backend": ["null"], "batch": [64, 16, 32]})
    said = {int(row["batch"]): (row["status"], row["reason"].split(" (see")[0]) for row in rows}
    assert code == 3
    assert said[32] == ("oom", "MemoryError: seeded")
    assert said[64] == ("skipped", "batch 32 did not fit")
    assert said[16][0] in SOUND
    lines = records.read(copy.out / "results.jsonl")[0]
    tried = [r.case.batch for r in lines if isinstance(r, Pilot | Failure)]
    assert tried == [16, 32]


def test_batches_that_do_not_fit_as_data_are_oom(tmp_path: Path) -> None:
    """32 of them would take 26 GB of this machine's memory, and are not drawn."""
    copy = Copy(tmp_path)
    copy.change("bench/feeds.py", "int(psutil.virtual_memory().available)", "2**28")
    code, rows = copy.run({"backend": ["null"], "batch": [8, 2**20, 2**19]})
    assert code == 3
    assert [row["status"] for row in rows][1:] == ["skipped", "oom"] and rows[0]["status"] in SOUND
    assert f"the batches of {2**19} samples do not fit into memory" in rows[2]["reason"]


def test_what_another_backend_is_held_against_is_found_without_the_batch_that_did_not_fit(
    work: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the first backend's proof was made: its file is named by the batches that it has."""
    asked: list[tuple[tuple[str, int], ...]] = []

    def path_of(subject: Any, *_: object) -> Path:
        asked.append(subject.feeds)
        return tmp_path / "none"

    monkeypatch.setattr(prover.proofs, "path_of", path_of)
    made = replace(proof(CASE), first_losses={f"{phase}/synthetic/16": [1.0] for phase in ("train", "infer")})
    runner = work(at(16), at(256), JAX, found=(made,))
    runner.prover._reference(JAX)
    assert asked == [(("synthetic", 16),)]
