"""Time and money side by side: which rows nobody beats, what an hour may cost, and what is not known."""

from decimal import Decimal

from msgspec.structs import replace
from test_table import CASE, JAX, PRICE, failure, proof, rounds_of, run_of

from bench import table
from bench.case import Case
from bench.prices.book import Price
from bench.records import Record, latest
from bench.reports import money
from bench.table import Report

CHEAP = replace(PRICE, instance="cheap", usd_per_hour=Decimal("0.5"), accelerator="", accelerator_count=0)
BATCH = replace(CASE, batch=512)


def report(times: dict[Case, float], price: Price | None = PRICE, started: str = "2026-11-24T00:00:00Z") -> Report:
    records: list[Record] = []
    for case, ms in times.items():
        records += rounds_of(case, *[ms] * 6)
    records += [proof(case) for case in {case.worker: case for case in times}.values()]
    run = replace(run_of(*times), started=started)
    return table.report(run, latest(records), price)


def marked(*reports: Report) -> list[tuple[str, str]]:
    """Run and backend of the rows with a star."""
    found = money.lines(reports)
    on = money.best(found)
    return [(str(line.number), line.row.case.backend) for line, best in zip(found, on, strict=True) if best]


def test_on_one_machine_only_the_fastest_is_on_the_line() -> None:
    assert marked(report({CASE: 2.0, JAX: 1.0})) == [("1", "jax")]


def test_what_failed_a_check_is_not_on_the_line() -> None:
    records = [proof(CASE), *rounds_of(CASE, *[2.0] * 6), proof(JAX), *rounds_of(JAX, *[1.0] * 5), failure(JAX, 5)]
    made = table.report(run_of(CASE, JAX), latest(records), PRICE)
    assert [row.status for row in made.rows] == ["ok", "error"] and made.rows[1].step_ms == 1.0
    assert marked(made) == [("1", "torch")]


def test_a_slower_run_that_is_cheaper_is_on_the_line_too() -> None:
    fast, slow = report({CASE: 1.0}), report({JAX: 10.0}, CHEAP, "2026-11-25T00:00:00Z")
    assert marked(fast, slow) == [("1", "torch"), ("2", "jax")]
    dear = report({JAX: 10.0}, PRICE, "2026-11-25T00:00:00Z")
    assert marked(fast, dear) == [("1", "torch")]


def test_a_larger_batch_that_takes_longer_a_step_is_held_to_a_sample() -> None:
    assert [line.seconds for line in money.lines([report({CASE: 2.0, BATCH: 4.0})])] == [2e-3 / 64, 4e-3 / 512]


def test_one_run_at_several_prices_is_named_once() -> None:
    text = money.render([report({CASE: 2.0}), report({CASE: 2.0}, CHEAP)])
    assert text.count("begun 2026-11-24") == 1 and text.count("   - Price:") == 2
    assert "cheap on_demand" in text and "cheaper than ..." not in text and "cheapest under" not in text


def test_below_which_price_another_machine_is_cheaper() -> None:
    # 1 ms at 55.04 USD an hour and 10 ms at 0.5: the fast one is cheaper below 5 USD, the slow one below 5.504.
    text = money.render([report({CASE: 1.0}), report({JAX: 10.0}, CHEAP, "2026-11-25T00:00:00Z")])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    (under,) = [place for place, name in enumerate(lines[0]) if name == "cheapest under USD/h"]
    assert [row[under] for row in lines[2:4]] == ["5.50", "5.00"]
    assert [row[1:] for row in lines[6:8]] == [["-", "5.50"], ["5.00", "-"]]


def test_unknown_money_is_a_dash_and_never_on_the_line() -> None:
    unknown = report({JAX: 0.1}, None, "2026-11-25T00:00:00Z")
    assert marked(report({CASE: 1.0}), unknown) == [("1", "torch")]
    text = money.render([unknown])
    assert "USD/M samples" not in text and "| jax" in text


def test_a_stale_price_is_marked() -> None:
    text = money.render([report({CASE: 1.0}, replace(PRICE, as_of="2020-01-01"))])
    assert "~" in text and "over a year old" in text


def test_a_row_without_a_time_is_left_out() -> None:
    assert "No row has a time." in money.render([report({})])


def test_names_stay_text() -> None:
    text = money.render([report({CASE: 1.0}, replace(PRICE, instance="<script>a|b</script>"))])
    assert "<script>" not in text and "&lt;script&gt;a\\|b" in text


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_a_row_that_its_own_machine_beats_is_cheapest_at_no_price() -> None:
    text = money.render([report({CASE: 1.0, BATCH: 1000.0}), report({JAX: 10.0}, CHEAP, "2026-11-25T00:00:00Z")])
    head, _, *rows = cells(text)
    row, under = head.index("row"), head.index("cheapest under USD/h")
    assert {line[row]: line[under] for line in rows[:3]}["torch eager batch 512"] == "-"
    assert [line[under] for line in rows[:3]].count("-") == 1


def test_rows_of_one_backend_are_told_apart() -> None:
    named = [line[1] for line in cells(money.one(report({CASE: 1.0, BATCH: 1.0}))) if "torch" in line[1]]
    assert sorted(named) == ["torch eager batch 512", "torch eager batch 64"]


def test_cases_without_a_time_are_counted_where_the_run_is_named() -> None:
    records = [proof(CASE), *rounds_of(CASE, *[2.0] * 6), failure(JAX, 0)]
    made = table.report(run_of(CASE, JAX), latest(records), PRICE)
    assert "Without a time, and in no table here: 1 error" in money.render([made, report({CASE: 1.0}, CHEAP)])
    assert "Without a time" not in money.render([report({CASE: 1.0}), report({CASE: 1.0}, CHEAP)])
