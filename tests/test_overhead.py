"""What Keras costs over its engine: paired by round, of the same case alone, and said where a reader looks."""

import pytest
from msgspec.structs import replace
from test_reports import report
from test_table import CASE, Planned, proof, rounds_of, run_of

from bench import overhead
from bench.case import Case
from bench.records import Proof, Record
from bench.reports import html, overheads, whole
from bench.table import Report

NATIVE = replace(CASE, backend="torch")
KERAS = replace(CASE, backend="keras-torch")
TIMES = (2.0, 2.2, 2.4, 2.0, 2.2, 2.4)


def of(*cases: Case, lost: int = 0, times: float = 1.5) -> Report:
    records: list[Record] = []
    for case in cases:
        scale = times if case.backend.startswith("keras-") else 1.0
        kept = TIMES[: len(TIMES) - lost] if case == KERAS else TIMES
        records += [] if case.worker in {r.worker for r in records if isinstance(r, Proof)} else [proof(case)]
        records += rounds_of(case, *(scale * ms for ms in kept))
    return report(records, run_of(*cases), None)


def test_the_ratio_is_paired_by_round() -> None:
    (found,) = overhead.of_keras(of(NATIVE, KERAS))
    assert (found.row.case, found.base.case) == (KERAS, NATIVE)
    # The rounds scatter by 20 %, each of them in both: their ratios do not.
    assert found.ratio == pytest.approx(1.5) and found.low == pytest.approx(1.5) and found.high == pytest.approx(1.5)
    assert found.extra_ms == pytest.approx(1.1)


def test_rounds_that_one_of_them_lacks_leave_no_interval() -> None:
    (found,) = overhead.of_keras(of(NATIVE, KERAS, lost=1))
    assert found.low is None and found.high is None and found.ratio > 1


@pytest.mark.parametrize(
    "base",
    [replace(NATIVE, backend="jax"), replace(NATIVE, mode="compiled"), replace(NATIVE, batch=8)],
    ids=["engine", "mode", "batch"],
)
def test_only_the_same_case_of_its_own_engine_counts(base: Case) -> None:
    made = of(base, KERAS)
    assert overhead.of_keras(made) == [] and overheads.render(made) == ""
    assert "What Keras costs" not in whole.render(made)


def test_an_engine_without_a_time_is_no_base() -> None:
    assert (
        overhead.of_keras(report(rounds_of(KERAS, *TIMES), run_of(KERAS, Planned(NATIVE, "skipped", "x")), None)) == []
    )


def test_it_is_said_in_the_table_and_on_the_page() -> None:
    made = of(NATIVE, KERAS)
    text = whole.render(made)
    assert "## What Keras costs" in text
    (line,) = [line for line in text.splitlines() if "| torch    | eager" in line and "2.20" in line and "3.30" in line]
    assert [cell.strip() for cell in line.split("|")][-6:-1] == ["2.20", "3.30", "1.50 (1.50-1.50)", "1.10", "ok"]
    page = html.render([made], [])
    assert "What Keras costs" in page and "1.50 (1.50-1.50)" in page
    assert "What Keras costs" not in html.render([of(NATIVE)], [])


def test_what_is_quicker_has_a_sign() -> None:
    assert overheads.KERAS.cells(overhead.of_keras(of(NATIVE, KERAS, times=0.5))[0])[-2] == "-1.10"


def test_a_row_that_is_not_ok_says_so_beside_its_ratio() -> None:
    (found,) = overhead.of_keras(of(NATIVE, KERAS))
    assert overheads.KERAS.cells(found)[-1] == "ok"
    assert overheads.KERAS.cells(replace(found, row=replace(found.row, status="unsteady")))[-1] == "Keras unsteady"
    both = replace(found, row=replace(found.row, status="unsteady"), base=replace(found.base, status="unsteady"))
    assert overheads.KERAS.cells(both)[-1] == "Keras unsteady, engine unsteady"


def test_a_recipe_is_held_against_the_plain_row_in_training_alone() -> None:
    plain, clipped = NATIVE, replace(NATIVE, recipe="clip")
    inferring = [replace(case, phase="infer") for case in (plain, clipped)]
    made = of(plain, clipped, *inferring, replace(clipped, batch=8))
    (found,) = overhead.of_recipes(made)
    assert (found.row.case, found.base.case) == (clipped, plain)
    text = whole.render(made)
    assert "## What recipes cost" in text and "What Keras costs" not in text
    (line,) = [
        line for line in text.splitlines() if "| clip " in line and "1.00 (1.00-1.00)" in line and "plain" not in line
    ]
    assert [cell.strip() for cell in line.split("|")][2:4] == ["clip", "torch"]
    assert "What recipes cost" in html.render([made], []) and overheads.render(of(plain, *inferring[:1])) == ""


def test_an_axis_that_tells_rows_apart_is_a_column() -> None:
    other = [replace(case, precision="bf16") for case in (NATIVE, KERAS)]
    found = overhead.of_keras(made := of(NATIVE, KERAS, *other))
    assert overheads.KERAS.varied(found) == ("precision",) and overheads.KERAS.varied(found[:1]) == ()
    lines = [line for line in whole.render(made).split("## What Keras costs")[1].splitlines() if "|" in line]
    assert lines[0].split("|")[7].strip() == "precision"
    assert {line.split("|")[7].strip() for line in lines[2:]} == {"fp32", "bf16"}
    assert "bf16" in html.render([made], []).split("What Keras costs")[1]
