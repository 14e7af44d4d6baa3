"""Stored runs side by side: what is refused, what moved, what came and went. The runs are made by hand."""

import json
import random
from collections.abc import Callable, Iterable
from math import log
from pathlib import Path

import pytest
from msgspec.structs import replace
from test_table import CASE, JAX, MACHINE, failure, pilot, rounds_of, run_of, sample, sensed

from bench import folder as folders
from bench import stats
from bench.__main__ import main
from bench.case import Case
from bench.records import Ledger, Record, Sample
from bench.run import Run
from bench.suite import Planned

INFER = replace(CASE, phase="infer")
STEADY = (2.0, 2.01, 2.02, 1.99, 1.98, 2.0)


def kept(path: Path, run: Run, records: Iterable[Record]) -> str:
    folders.make(path, "run.json", run)
    ledger = Ledger(path / "results.jsonl")
    for record in records:
        ledger.append(record)
    ledger.close()
    return str(path)


def times(by: float, case: Case = CASE) -> list[Record]:
    return rounds_of(case, *(by * ms for ms in STEADY))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["compare", *arguments, "--format", "json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_what_moved_came_and_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone, fresh, broken = (replace(CASE, batch=batch) for batch in (1, 2, 3))
    same = replace(CASE, batch=4)
    before = run_of(CASE, INFER, gone, broken, same)
    after = run_of(CASE, INFER, fresh, broken, same)
    old = [*times(1), *times(1, INFER), *times(1, gone), *times(1, broken), *times(1, same)]
    new = [*times(1.2), *times(0.8, INFER), *times(1, fresh), *times(1, same)]
    new += [pilot(broken), *(failure(broken, number, "crashed", "it died") for number in range(6))]
    arguments = kept(tmp_path / "a", before, old), kept(tmp_path / "b", after, new)
    found = told(capsys, *arguments)
    words = {line["case"]["batch"] * 10 + (line["case"]["phase"] == "infer"): line for line in found["cases"]}  # type: ignore[attr-defined]
    assert {key: line["remarks"][0]["word"] for key, line in words.items()} == {
        640: "slower", 641: "faster", 10: "vanished", 20: "new", 30: "failing", 40: ""
    }  # fmt: skip
    ratio, (low, high) = words[640]["ratios"][0]
    assert ratio == pytest.approx(1.2) and 1.15 < low < ratio < high < 1.25
    assert words[30]["remarks"][0]["reason"].startswith("crashed: 6 of 6 rounds failed: it died")
    assert main(["compare", *arguments]) == 0
    page = capsys.readouterr().out
    assert "Advisory, no verdict" in page and "stepwatch gate" in page
    assert "6 cases: 1 failing, 1 vanished, 1 new, 1 slower, 1 faster." in page
    assert "PASS" not in page and "FAIL" not in page


def test_a_busy_neighbour_is_no_slower_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = times(1)
    alone = [replace(r, sensed=sensed(0.0)) if isinstance(r, Sample) else r for r in times(1.2)]
    beside = [replace(r, sensed=sensed(1.0)) if isinstance(r, Sample) else r for r in times(1.2)]
    drifting = [pilot(CASE), *(sample(CASE, n, [1.0] * 7 + [1.1] * 6 + [1.2] * 7) for n in range(6))]
    for place, (after, word, says) in enumerate(
        ((alone, "slower", ""), (beside, "", "this unsteady: "), (drifting, "faster", "this unsteady: 6 of 6"))
    ):
        paths = [kept(tmp_path / f"{place}{n}", run_of(CASE), r) for n, r in enumerate((quiet, after))]
        (remark,) = told(capsys, *paths)["cases"][0]["remarks"]  # type: ignore[index]
        assert remark["word"] == word and says in remark["reason"] and bool(says) is bool(remark["reason"])
        assert main(["compare", *paths]) == 0
        assert says in capsys.readouterr().out


def test_a_case_that_the_first_run_could_not_measure_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = run_of(CASE, Planned(INFER, "skipped", "torch is not installed"))
    both = [*times(1), *times(1, INFER)]
    paths = kept(tmp_path / "a", before, times(1)), kept(tmp_path / "b", run_of(CASE, INFER), both)
    found = {line["case"]["phase"]: line["remarks"][0]["word"] for line in told(capsys, *paths)["cases"]}  # type: ignore[attr-defined]
    assert found == {"train": "", "infer": "new"}


def test_another_workload_under_the_same_name_has_no_ratio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = [replace(r, origin=replace(r.origin, digest="another")) if hasattr(r, "origin") else r for r in times(1)]
    found = told(capsys, kept(tmp_path / "a", run_of(CASE), times(1)), kept(tmp_path / "b", run_of(CASE), changed))
    (line,) = found["cases"]  # type: ignore[misc]
    assert (line["remarks"][0]["word"], line["ratios"]) == ("changed", [None])


def test_three_runs_are_each_held_against_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [kept(tmp_path / name, run_of(CASE), times(by)) for name, by in (("a", 1), ("b", 1.1), ("c", 1.3))]
    (line,) = told(capsys, *paths)["cases"]  # type: ignore[misc]
    assert [round(ratio, 3) for ratio, _ in line["ratios"]] == [1.1, 1.3]
    assert [remark["word"] for remark in line["remarks"]] == ["slower", "slower"]


def failed(case: Case) -> list[Record]:
    return [pilot(case), *(failure(case, number, "crashed", "it died") for number in range(6))]


def test_each_later_run_has_a_word_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By batch: only in the middle; failing in the middle; new and failing; new; failing at first; gone and back."""
    cases = {batch: replace(CASE, batch=batch) for batch in range(1, 8)}
    lacking = {"a": (1, 3, 4), "b": (3, 6), "c": (1, 7)}
    failing = {"a": (5,), "b": (2,), "c": (3, 5)}
    paths = []
    for name in "abc":
        there = {batch: case for batch, case in cases.items() if batch not in lacking[name]}
        records = [r for n, case in there.items() for r in (failed(case) if n in failing[name] else times(1, case))]
        paths.append(kept(tmp_path / name, run_of(*there.values()), records))
    found = {line["case"]["batch"]: line["remarks"] for line in told(capsys, *paths)["cases"]}  # type: ignore[attr-defined]
    assert {batch: [one["word"] for one in remarks] for batch, remarks in found.items()} == {
        1: ["new", "vanished"], 2: ["failing", ""], 3: ["", "failing"], 4: ["new", "new"],
        5: ["", "failing"], 6: ["vanished", ""], 7: ["", "vanished"],
    }  # fmt: skip
    assert main(["compare", *paths]) == 0
    page = capsys.readouterr().out
    assert "| failing: crashed: 6 of 6 rounds failed: it died in b " in page and "| new in b; vanished in c " in page
    assert "7 cases: 3 failing, 3 vanished, 2 new." in page


def test_a_case_that_another_workload_took_over_meanwhile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = [replace(r, origin=replace(r.origin, digest="another")) if hasattr(r, "origin") else r for r in times(1)]
    runs = (("a", times(1)), ("b", changed), ("c", times(1.3)))
    paths = [kept(tmp_path / name, run_of(CASE), records) for name, records in runs]
    (line,) = told(capsys, *paths)["cases"]  # type: ignore[misc]
    assert [remark["word"] for remark in line["remarks"]] == ["changed", "slower"]
    assert line["ratios"][0] is None and line["ratios"][1][0] == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu", "Other 1"), ("cores", 2), ("gpus", ()), ("python", "3.12.0"), ("kernel", "6.2"), ("instance", "x")],
)
def test_other_machines_are_refused_by_name(
    field: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(run_of(CASE), machine=replace(MACHINE, **{field: value}))
    paths = kept(tmp_path / "a", run_of(CASE), times(1)), kept(tmp_path / "b", other, times(1))
    differs = getattr(MACHINE, field) != value
    assert main(["compare", *paths]) == (2 if differs else 0)
    said = capsys.readouterr()
    if differs:
        assert said.out == "" and f"machine {field}: " in said.err and "--anyway" in said.err
        assert main(["compare", *paths, "--anyway"]) == 0
        assert f"**Not comparable**, printed anyway: machine {field}" in capsys.readouterr().out


def test_few_processes_have_a_ratio_and_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = [pilot(JAX), *(sample(JAX, number, 2.0) for number in range(3))]
    run = run_of(JAX, rounds=3)
    (line,) = told(capsys, kept(tmp_path / "a", run, few), kept(tmp_path / "b", run, few))["cases"]  # type: ignore[misc]
    assert (line["ratios"], line["remarks"][0]["word"]) == ([[1.0, None]], "")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a"], "two run folders or more, found 1"),
        (["a", "a"], "named twice"),
        (["a", "nowhere"], "no run folder nowhere"),
        (["a", "empty"], "holds no measurements"),
        (["a", "a/run.json"], "wanted a run folder"),
        (["a", "b", "--format", "pdf"], "no format 'pdf'"),
    ],
)
def test_a_wrong_request(
    names: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept(tmp_path / "a", run_of(CASE), times(1))
    kept(tmp_path / "b", run_of(CASE), times(1))
    kept(tmp_path / "empty", run_of(CASE), [])
    assert main(["compare", *names]) == 2
    said = capsys.readouterr()
    assert said.out == "" and says in said.err and len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: lines + lines[3:4], "is there twice in"),
        (lambda lines: [*lines[:3], zeroed(lines[3]), *lines[4:]], "line 4 is not a record"),
    ],
    ids=["twice", "no time"],
)
def test_a_damaged_run_is_refused_by_its_file(
    damage: Callable[[list[str]], list[str]], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [kept(tmp_path / name, run_of(CASE), times(1)) for name in ("a", "b")]
    path = tmp_path / "b" / "results.jsonl"
    path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
    assert main(["compare", *paths]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert says in said.err and str(path) in said.err


def zeroed(line: str) -> str:
    return json.dumps(json.loads(line) | {"wall_ns": [0] * 20}) + "\n"


def test_the_interval_of_an_unpaired_ratio_covers_what_it_says() -> None:
    """Simulated: two runs of ten processes, 5 % apart, processes scattering by 3 % and bursts by 2 %."""
    draw, covered = random.Random(3), 0
    for trial in range(200):

        def process(mu: float) -> list[float]:
            level = draw.lognormvariate(mu, 0.03)
            return [level * draw.lognormvariate(0, 0.02) for _ in range(20)]

        base, candidate = ([process(mu) for _ in range(10)] for mu in (0.0, log(1.05)))
        _, interval = stats.unpaired_ratio(candidate, base, seed=trial)
        assert interval
        covered += interval[0] <= 1.05 <= interval[1]
    assert covered >= 180
