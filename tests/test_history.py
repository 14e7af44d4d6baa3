"""Many stored runs: where a level moved, how far it drifted, folders that cannot be read. The runs are made by hand."""

import csv
import io
import random
import xml.etree.ElementTree as xml
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_table import CASE, JAX, MACHINE, rounds_of, run_of

from bench import history, table
from bench.__main__ import main
from bench.records import latest
from bench.reports import csv as tables
from bench.suite import Protocol


def stored(
    folder: Path, number: int, *milliseconds: float, machine: object = MACHINE, protocol: Protocol | None = None
) -> Path:
    """One run of one or two cases, `number` days after the first."""
    started = f"2026-{1 + number // 28:02}-{1 + number % 28:02}T12:00:00Z"
    cases = (CASE, JAX)[: len(milliseconds)]
    run = replace(run_of(*cases, protocol=protocol), started=started, machine=machine, commit=f"c{number}")
    records = [r for case, ms in zip(cases, milliseconds, strict=True) for r in rounds_of(case, *(ms,) * 6)]
    path = folder / f"run-{number:04}"
    path.mkdir(parents=True)
    (path / "run.json").write_bytes(msgspec.json.encode(run))
    (path / "table.csv").write_text(tables.render(table.report(run, latest(records), None)))
    return path


def noisy(level: Callable[[int], float], count: int = 60) -> list[float]:
    draw = random.Random(5)
    return [level(n) * draw.lognormvariate(0, 0.02) for n in range(count)]


def test_a_step_is_found_where_it_is(tmp_path: Path) -> None:
    for number, ms in enumerate(noisy(lambda n: 2.0 if n < 40 else 2.4)):
        stored(tmp_path, number, ms)
    (series,), skipped = history.read(tmp_path)
    found = history.trend(series)
    assert skipped == [] and len(series.points) == 60
    assert found.drift == pytest.approx(0.2, abs=0.05)
    ((started, before, after),) = found.changes
    assert abs(int(started[5:7]) * 28 + int(started[8:10]) - (28 + 41)) <= 1
    assert before == pytest.approx(2.0, abs=0.05) and after == pytest.approx(2.4, abs=0.05)


def test_a_run_that_was_unsteady_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, steady in enumerate((True, False)):
        path = stored(tmp_path, number, 2.0)
        text = (path / "table.csv").read_text()
        (path / "table.csv").write_text(text if steady else text.replace(",ok,", ",unsteady,"))
    assert main(["history", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert " 2.00 unsteady |" in said and said.count("unsteady") == 1


def test_noise_alone_has_no_change() -> None:
    draw = random.Random(7)
    found = [history.changes([draw.gauss(0, 0.02) for _ in range(60)]) for _ in range(50)]
    assert sum(map(bool, found)) <= 5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(6, 500))
def test_changes_are_places_within(seed: int, count: int) -> None:
    draw = random.Random(seed)
    found = history.changes([draw.gauss(0, 0.05) for _ in range(count)])
    assert found == sorted(set(found)) and all(0 < place < count for place in found)


@pytest.mark.parametrize("values", [[], [0.0], [0.0] * 5, [0.0] * 50])
def test_few_or_equal_runs_have_none(values: list[float]) -> None:
    assert history.changes(values) == []


def test_cases_and_machines_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(MACHINE, cpu="Other 1")
    for number in range(4):
        stored(tmp_path, number, 2.0, 1.0, machine=MACHINE if number % 2 else other)
    assert main(["history", str(tmp_path)]) == 0
    page = capsys.readouterr().out
    rows = [line for line in page.splitlines() if line.startswith("| mlp")]
    assert len(rows) == 4 and sum("Other 1" in row for row in rows) == 2
    assert "Advisory" in page and "Infinity" not in page
    assert main(["history", str(tmp_path), "--format", "csv"]) == 0
    points = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(points) == 8 and {p["step_ms"] for p in points} == {"2", "1"}


def test_a_run_of_a_shortened_protocol_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, ms in enumerate([2.0, 9.0, 2.0]):
        stored(tmp_path, number, ms, protocol=Protocol(bursts=5) if ms == 9 else None)
    (series,), skipped = history.read(tmp_path)
    assert [point.step_ms for point in series.points] == [2.0, 2.0]
    assert skipped == ["run-0001: shortened protocol"]
    alone = tmp_path / "alone"
    stored(alone, 0, 9.0, protocol=Protocol(bursts=5))
    assert main(["history", str(alone)]) == 2
    assert "1 are left out, the first is run-0000: shortened protocol" in capsys.readouterr().err


def test_a_case_that_is_no_longer_there_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(tmp_path, 0, 2.0, 1.0)
    for number in (1, 2):
        stored(tmp_path, number, 2.0)
    # Neither another suite's run nor another machine's says anything of it.
    other = stored(tmp_path, 3, 2.0) / "run.json"
    other.write_text(other.read_text().replace('"name":"made"', '"name":"other"'))
    stored(tmp_path, 4, 2.0, machine=replace(MACHINE, cpu="Other 1"))
    assert main(["history", str(tmp_path)]) == 0
    page = capsys.readouterr().out.splitlines()
    head, *rows = (line.split("|") for line in page if line.startswith(("| case", "| mlp")))
    place = [name.strip() for name in head].index("last seen")
    seen = {(row[1].split()[3], row[2].strip()): row[place].strip() for row in rows}
    assert [*seen.values()] == ["2026-01-04", "2026-01-01, not in 2 later", "2026-01-05"], seen


def test_no_two_rows_look_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = [replace(MACHINE, kernel="6.2"), replace(MACHINE, python="3.12.0"), replace(MACHINE, cpu="Other 1")]
    for number, machine in enumerate([MACHINE, *others]):
        path = stored(tmp_path, number, 2.0, machine=machine)
        with open(path / "table.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        rows = [row, *(row | {axis: other} for axis, other in OTHERS.items())]
        with open(path / "table.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(rows)
    assert main(["history", str(tmp_path)]) == 0
    page = capsys.readouterr().out
    shown = [tuple(line.split("|")[1:3]) for line in page.splitlines() if line.startswith("| mlp")]
    assert len(shown) == len(set(shown)) == 4 * (1 + len(OTHERS))
    assert "recipe=other" in page and "steps_per_call=8" in page and "kernel 6.2, python 3.11.7" in page
    assert "| Other 1  " in page  # there is no other of that name
    assert main(["history", str(tmp_path), "--format", "svg"]) == 0
    assert "kernel 6.2" in capsys.readouterr().out


OTHERS = {"data": "fashion-mnist", "input": "host", "steps_per_call": "8", "recipe": "other"}


def test_the_chart_is_an_image_with_every_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, ms in enumerate(noisy(lambda n: 2.0 if n < 10 else 3.0, 20)):
        stored(tmp_path, number, ms, 1.0)
    assert main(["history", str(tmp_path), "--format", "svg"]) == 0
    image = capsys.readouterr().out
    assert xml.fromstring(image).tag.endswith("svg")
    assert "torch eager" in image and "jax compiled" in image


def test_a_folder_that_cannot_be_read_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(tmp_path, 0, 2.0)
    damaged = [
        ("run.json", b"{"),
        ("run.json", b"{}"),
        *(("table.csv", text) for text in (b"a,b\n1,2\n", b"", b"\xff")),
    ]
    for number, (name, text) in enumerate(damaged, 1):
        (stored(tmp_path, number, 2.0) / name).write_bytes(text)
    (stored(tmp_path, 9, 2.0) / "table.csv").unlink()
    (tmp_path / "no run").mkdir()
    assert main(["history", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "|      1 |" in said.out and said.err.count("left out") == 4 and "left out 3 more" in said.err


@pytest.mark.parametrize("column", ["step_ms", "step_ms_low", "step_ms_high"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_a_table_with_what_is_no_time_is_left_out(
    column: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path, 0, 2.0)
    path = stored(tmp_path, 1, 2.0, 1.0) / "table.csv"
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    rows[1][column] = value
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert main(["history", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert f"left out run-0001: table.csv has a {column} of {value}" in said.err and "jax" not in said.out


@pytest.mark.parametrize(
    ("words", "says"),
    [(["nowhere"], "no folder nowhere"), (["."], "holds no run"), ([".", "--format", "pdf"], "no format 'pdf'")],
)
def test_a_wrong_request(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["history", *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and says in said.err and len(said.err.splitlines()) == 1
