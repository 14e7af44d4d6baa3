"""The three formats, rendered from records made by hand: columns, what is unknown, captions, numbers, bytes."""

import csv
import io
import json
import random
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_table import CASE, JAX, NULL, PRICE, ceiling, failure, pilot, proof, rounds_of, run_of, sample, sensed

from bench import table
from bench.case import Case
from bench.machine import Gpu
from bench.prices.book import Price, hourly
from bench.records import PILOT_ROUND, Record, latest
from bench.reports import csv as csv_format
from bench.reports import json as json_format
from bench.reports import markdown
from bench.run import Run
from bench.suite import Planned, Protocol
from bench.table import Report, Row

RENDER = {"markdown": markdown.render, "csv": csv_format.render, "json": json_format.render}
each_format = pytest.mark.parametrize("render", RENDER.values(), ids=RENDER)
# Section 7 of the design, word for word.
SECTION_7 = """
workload phase measure backend mode precision layout batch data device status reason rounds samples
step_ms step_ms_low step_ms_high samples_per_second relative relative_low relative_high
first_step_cold_ms first_step_warm_ms break_even_steps latency_p50_ms latency_p90_ms latency_p99_ms
peak_memory_mib utilisation bound_by parity_fp64 parity_error
instance price_model price_as_of usd_per_hour usd_per_hour_share usd_per_million_samples usd_per_million_samples_share
"""
DESIGN = SECTION_7.split()
EAGER = replace(CASE, backend="tensorflow")
GRAPH = replace(CASE, backend="torch", mode="graph")
CNN = replace(CASE, workload="cnn", layout="nhwc")
LATENCY = replace(CASE, measure="latency", batch=1)
RUN = run_of(CASE, JAX, NULL, EAGER, Planned(GRAPH, "unsupported", "torch has no graph mode"), CNN, LATENCY)
RECORDS: list[Record] = [
    proof(CASE),
    proof(JAX, fp64=None, error=None),
    *rounds_of(CASE, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5),
    *rounds_of(JAX, 3.0, 3.1, 3.2, 3.3, 3.4, 3.5),
    *rounds_of(NULL, *[1e-5] * 6),
    *(sample(EAGER, number, 4.0) for number in range(4)),
    failure(EAGER, 4, reason="first of two"),
    failure(EAGER, 5, reason="second of two"),
    failure(CNN, PILOT_ROUND, "timeout", "no answer", "logs/pilot.log"),
    pilot(LATENCY),
    *(sample(LATENCY, number, [0.5, 0.6] * 6, steps=1) for number in range(6)),
]


def report(records: list[Record] = RECORDS, run: Run = RUN, price: Price | None = PRICE) -> Report:
    return table.report(run, latest(records), price)


def one(records: list[Record], case: Case = CASE, price: Price | None = None) -> Report:
    return report(records, run_of(case), price)


def rows_of_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def tables_of(text: str) -> list[list[list[str]]]:
    """The cells of every Markdown table: its header, then its rows. A `|` counts unless a backslash is before it."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    cells = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]
    return [[[cell.strip() for cell in line] for line in (head, *body)] for head, _, *body in cells]


# --- all formats ------------------------------------------------------------------------------------------------------


@each_format
def test_the_same_bytes_every_time(render) -> None:  # type: ignore[no-untyped-def]
    assert render(report()) == render(report())


@each_format
def test_the_same_bytes_for_any_order_of_the_records(render) -> None:  # type: ignore[no-untyped-def]
    # A resumed or retried run writes its records in another order than one that was left in peace.
    wanted = render(report())
    for seed in range(5):
        shuffled = list(RECORDS)
        random.Random(seed).shuffle(shuffled)
        assert render(report(shuffled)) == wanted


@each_format
def test_every_case_is_there_with_its_status_and_reason(render) -> None:  # type: ignore[no-untyped-def]
    text = render(report())
    for words in ("torch has no graph mode", "no answer (see logs/pilot.log)", "2 of 6 rounds failed"):
        assert words in text
    for row in report().rows:
        assert row.case.backend in text and row.status in text


@each_format
def test_an_empty_run_renders(render) -> None:  # type: ignore[no-untyped-def]
    assert "skipped" in render(one([]))


@each_format
def test_the_text_ends_with_one_newline(render) -> None:  # type: ignore[no-untyped-def]
    assert re.search(r"[^\n]\n\Z", render(report()))


# --- csv --------------------------------------------------------------------------------------------------------------


def test_csv_has_the_design_s_columns_in_its_order() -> None:
    (header, *_) = csv.reader(io.StringIO(csv_format.render(report())))
    assert [name for name in header if name in DESIGN] == DESIGN
    assert len(set(header)) == len(header)


def test_csv_has_one_line_a_case_in_the_suite_s_order() -> None:
    found = rows_of_csv(csv_format.render(report()))
    assert [(row["workload"], row["backend"], row["measure"]) for row in found] == [
        (planned.case.workload, planned.case.backend, planned.case.measure) for planned in RUN.planned
    ]


def test_csv_says_nothing_where_nothing_is_known() -> None:
    (row,) = rows_of_csv(csv_format.render(one([failure(CASE, PILOT_ROUND)])))
    axes = ("workload", "phase", "measure", "backend", "mode", "precision", "layout", "batch", "data", "device")
    known = {*axes, "status", "reason", "rounds", "samples", "input", "steps_per_call", "recipe", "threads"}
    assert {name for name in row if row[name]} == known
    assert (row["rounds"], row["samples"]) == ("0", "0")  # these are known: none


def test_csv_never_says_nan_or_none() -> None:
    for row in rows_of_csv(csv_format.render(report())):
        cells = {cell.lower() for name, cell in row.items() if name != "backend"}
        assert not cells & {"nan", "none", "null", "inf", "na", "<na>", "-"}


def test_csv_values() -> None:
    torch, jax, null, *_ = rows_of_csv(csv_format.render(report()))
    assert (torch["status"], torch["rounds"], torch["samples"], torch["batch"]) == ("ok", "6", "120", "64")
    assert float(torch["step_ms"]) == pytest.approx(2.25)
    assert float(torch["samples_per_second"]) == pytest.approx(64 / 2.25e-3, rel=1e-5)
    assert (torch["relative"], torch["relative_low"], torch["relative_high"]) == ("1", "", "")
    ratios = [(30 + n) / (20 + n) for n in range(6)]  # paired by round, each number to six digits
    assert float(jax["relative"]) == pytest.approx((ratios[2] * ratios[3]) ** 0.5, rel=1e-5)
    assert float(jax["relative_low"]) == pytest.approx(ratios[5], rel=1e-5)
    assert float(jax["relative_high"]) == pytest.approx(ratios[0], rel=1e-5)
    assert (torch["parity_fp64"], torch["parity_error"]) == ("1e-15", "1e-07")
    assert (jax["parity_fp64"], null["relative"]) == ("", "")
    assert (torch["instance"], torch["price_model"], torch["price_as_of"]) == ("box.8x", "on_demand", "2026-11-01")
    assert (torch["usd_per_hour"], torch["usd_per_hour_share"]) == ("55.04", "6.88")
    cost = Decimal("55.04") * Decimal("0.00225") / 64 * 10**6 / 3600
    assert Decimal(torch["usd_per_million_samples"]) == pytest.approx(cost, rel=Decimal("1e-5"))
    assert (null["latency_p50_ms"], null["utilisation"], null["bound_by"]) == ("", "", "")


def test_csv_of_latency_has_only_the_percentiles_it_can_have() -> None:
    row = rows_of_csv(csv_format.render(report()))[-1]  # 72 calls
    assert float(row["latency_p50_ms"]) == pytest.approx(0.55)
    assert float(row["latency_p90_ms"]) == pytest.approx(0.6)
    assert row["latency_p99_ms"] == ""


def test_csv_of_a_price_from_the_command_line_names_no_instance() -> None:
    (row,) = rows_of_csv(csv_format.render(one(RECORDS, price=hourly("2.10"))))
    assert (row["instance"], row["price_model"], row["price_as_of"], row["usd_per_hour"]) == ("", "", "", "2.10")
    assert row["usd_per_hour_share"] == row["usd_per_million_samples_share"] == ""
    assert row["usd_per_million_samples"]


@pytest.mark.parametrize("usd", ["2.10", "12.3456789", "0.000001", "1000000"])
def test_csv_keeps_every_digit_of_a_price(usd: str) -> None:
    (row,) = rows_of_csv(csv_format.render(one(RECORDS, price=hourly(usd))))
    assert row["usd_per_hour"] == usd


@pytest.mark.parametrize("reason", ['a "quoted", listed reason', "a|b", "=1+1", "two\nlines", "<script>", "ünïcode"])
def test_csv_keeps_any_reason_whole(reason: str) -> None:
    (row,) = rows_of_csv(csv_format.render(one([failure(CASE, PILOT_ROUND, reason=reason)])))
    assert row["reason"] == reason


# --- json -------------------------------------------------------------------------------------------------------------


def test_json_has_the_same_columns_with_their_types() -> None:
    body = json.loads(json_format.render(report()))
    header = next(csv.reader(io.StringIO(csv_format.render(report()))))
    assert len(body["rows"]) == len(RUN.planned)
    for row in body["rows"]:
        assert list(row) == header
    torch = body["rows"][0]
    assert isinstance(torch["batch"], int) and isinstance(torch["step_ms"], float)
    assert (torch["break_even_steps"], body["rows"][1]["parity_fp64"]) == (None, None)


def test_json_money_is_text_with_every_digit() -> None:
    torch = json.loads(json_format.render(report()))["rows"][0]
    assert (torch["usd_per_hour"], torch["usd_per_hour_share"]) == ("55.04", "6.88")
    assert Decimal(torch["usd_per_million_samples"]) == report().rows[0].cost.usd_per_million_samples


def test_json_names_the_run() -> None:
    body = json.loads(json_format.render(report()))
    assert (body["suite"], body["commit"], body["started"]) == ("made", "abc1234", "2026-11-23T12:00:00Z")
    assert body["machine"]["cpu"] == "Testor 9000"
    assert body["versions"]["torch"] == "2.9"


# --- markdown ---------------------------------------------------------------------------------------------------------


def test_markdown_says_whose_numbers_these_are() -> None:
    text = markdown.render(report())
    for words in ("Testor 9000", "4 of 8 cores", "16 GiB", "Testix 1", "torch 2.9", "abc1234", "2026-11-23T12:00:00Z"):
        assert words in text
    assert "synthetic images" in text and "on the cpu" in text and "batch 64" in text


def test_markdown_has_a_section_for_each_workload_phase_and_measure() -> None:
    titles = re.findall("^## (.*)$", markdown.render(report()), re.MULTILINE)
    assert titles == ["mlp, train", "cnn, train", "mlp, train, latency"]


def test_markdown_puts_the_fastest_first_and_what_has_no_time_last() -> None:
    (first, *_) = tables_of(markdown.render(report()))
    assert [row[0] for row in first[1:]] == ["null", "torch", "jax", "tensorflow", "torch"]
    assert [row[-1] for row in first[1:]] == ["ok", "ok", "ok", "error", "unsupported"]


def test_markdown_has_a_dash_for_what_is_not_known() -> None:
    (header, row), *_ = tables_of(markdown.render(one([failure(CASE, PILOT_ROUND)])))
    measured = {name: cell for name, cell in zip(header, row, strict=True) if name not in ("backend", "mode", "status")}
    assert len(measured) > 5
    assert {re.sub(r"[ /]", "", cell).strip("-") for cell in measured.values()} == {""}
    assert all("-" in cell for cell in measured.values())


def test_markdown_says_in_what_rows_differ() -> None:
    text = markdown.render(report())
    assert "Rows differ in mode (compiled, eager, graph)." in text
    layouts = run_of(CNN, replace(CNN, layout="nchw"))
    assert "Rows differ in layout (nchw, nhwc)." in markdown.render(report([], layouts, None))
    alike = markdown.render(one([]))
    assert "Rows differ" not in alike and "mode eager" in alike


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("batch", (1, 64)),
        ("precision", ("fp32", "fp64")),
        ("data", ("digits", "synthetic")),
        ("device", ("cpu", "gpu")),
        ("threads", (1, 4)),
    ],
)
def test_markdown_has_a_column_for_an_axis_that_varies(axis: str, values: tuple[object, ...]) -> None:
    run = run_of(*(replace(CASE, **{axis: value}) for value in values))
    ((header, *rows),) = tables_of(markdown.render(report([], run, None)))
    assert {row[header.index(axis)] for row in rows} == set(map(str, values))


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([2.0] * 6, [3.0] * 6, "Fastest: torch eager."),
        ([2.0] * 6, [1.9, 2.2, 2.2, 2.2, 2.2, 2.2], "No row is proved fastest: torch eager and jax compiled"),
        ([2.0] * 5, [3.0] * 5, "Too few rounds to say which is fastest."),
    ],
)
def test_markdown_calls_a_winner_only_where_the_intervals_do(
    ours: list[float], theirs: list[float], verdict: str
) -> None:
    run = run_of(CASE, JAX, rounds=len(ours))
    text = markdown.render(report([*rounds_of(CASE, *ours), *rounds_of(JAX, *theirs)], run, None))
    assert verdict in text
    assert len(re.findall("Fastest:|proved fastest|Too few rounds", text)) == 1


def test_each_group_of_rivals_has_its_winner_and_the_same_is_said_once() -> None:
    recipes = ("plain", "l2", "clip")
    cases = [(replace(CASE, recipe=recipe), replace(JAX, recipe=recipe)) for recipe in recipes]

    def said(*theirs: float) -> str:
        found = [r for (a, b), ms in zip(cases, theirs, strict=True) for r in pair(a, b, ms)]
        run = run_of(*(case for both in cases for case in both), rounds=6)
        return markdown.render(report(found, run, None))

    def pair(a: Case, b: Case, ms: float) -> list[Record]:
        return [*rounds_of(a, *[2.0] * 6), *rounds_of(b, *[ms] * 6)]

    assert "Fastest throughout: torch eager." in said(3.0, 3.0, 3.0)
    mixed = said(3.0, 1.0, 3.0)
    assert "Fastest with recipe plain and with recipe clip: torch eager." in mixed
    assert "Fastest with recipe l2: jax compiled." in mixed and mixed.count("Fastest") == 2


def test_markdown_names_one_base_of_two_equal_rows() -> None:
    run = run_of(CASE, JAX, rounds=2)
    text = markdown.render(report([*rounds_of(CASE, 2.0, 2.0), *rounds_of(JAX, 2.0, 2.0)], run, None))
    assert text.count("Too few rounds to say which is fastest") == 1


def test_markdown_marks_a_shortened_protocol() -> None:
    assert "not to quote" in markdown.render(report([], run_of(CASE, protocol=Protocol(bursts=5)), None))
    assert "not to quote" not in markdown.render(report([], run_of(CASE), None))


def test_markdown_names_the_gpu_where_one_is_used() -> None:
    used = run_of(replace(CASE, device="gpu"))
    used = replace(used, machine=replace(used.machine, gpus=(Gpu("H200", 141_000, "570.1"),)))
    assert "H200 (driver 570.1)" in markdown.render(report([], used, None))
    idle = replace(used, planned=run_of(CASE).planned)
    assert "H200" not in markdown.render(report([], idle, None))


def test_markdown_of_a_price_says_where_it_comes_from() -> None:
    text = markdown.render(report())
    for words in ("compute box.8x here-1 on_demand", "55.04 USD/h", "as of 2026-11-01", "(a page)", "8 accelerators"):
        assert words in text
    (header, *_), *_ = tables_of(text)
    assert "USD/M samples" in header and "share" in header
    assert "USD" not in markdown.render(report(price=None))


@pytest.mark.parametrize(
    ("as_of", "marked", "words"),
    [
        ("2026-11-01", False, ""),
        ("2026-06-01", False, "The price is old"),
        ("2025-06-01", True, "over a year old or undated"),
        ("", True, "undated"),
    ],
)
def test_markdown_marks_the_costs_of_a_stale_price(as_of: str, marked: bool, words: str) -> None:
    text = markdown.render(report(price=replace(PRICE, as_of=as_of)))
    assert words in text
    ((header, *rows), *_) = tables_of(text)
    costs = [row[column] for row in rows for column in (header.index("USD/M samples"), header.index("share"))]
    known = [cost for cost in costs if cost != "-"]
    assert known
    assert {cost.startswith("~") for cost in known} == {marked}


def test_markdown_of_a_price_from_the_command_line_is_never_stale() -> None:
    text = markdown.render(report(price=hourly("2.10")))
    assert "2.10 USD/h (command line)" in text
    assert "~" not in text


HOSTILE = ("a|b", "<script>alert(1)</script>", "<!-- the rest", "x\\|y", "|", "# title", "`code", "**bold")


@pytest.mark.parametrize("word", HOSTILE)
@pytest.mark.parametrize("place", ["reason", "instance", "source", "cpu"])
def test_no_name_breaks_the_page(word: str, place: str) -> None:
    def page(text: str) -> str:
        records = [failure(JAX, PILOT_ROUND, reason=text if place == "reason" else "plain"), *rounds_of(CASE, 2.0)]
        price = replace(PRICE, **({place: text} if place in ("instance", "source") else {}))
        run = run_of(CASE, JAX, rounds=1)
        run = replace(run, machine=replace(run.machine, cpu=f"Testor {text if place == 'cpu' else 9000}"))
        return markdown.render(report(records, run, price))

    found, plain = page(word), page("plain")
    shapes = [[[len(row) for row in one] for one in tables_of(text)] for text in (found, plain)]
    assert shapes[0] == shapes[1]
    assert found.count("\n") == plain.count("\n")
    assert re.findall("^#+ .*", found, re.MULTILINE) == re.findall("^#+ .*", plain, re.MULTILINE)
    # Raw HTML: a tag vanishes from the rendered page, and a comment takes all that follows with it.
    assert not re.search(r"(?<!\\)<[a-zA-Z!/?]", found)


# --- what was sensed, what bounds a row, what it repays ---------------------------------------------------------------

COMPILED = replace(CASE, mode="compiled")


def beside(others: float | None, case: Case = CASE, milliseconds: float = 2.0) -> list[Record]:
    return [pilot(case), *(sample(case, number, milliseconds, seen=sensed(others)) for number in range(6))]


def repaying(milliseconds: float = 1.0, cold: float = 9.0) -> list[Record]:
    """An eager mode of 2 ms a step, and a compiled one."""
    compiled = [pilot(COMPILED, cold=cold), *(sample(COMPILED, n, milliseconds, warm=0.7) for n in range(6))]
    return [*rounds_of(CASE, *[2.0] * 6), *compiled]


@pytest.mark.parametrize("noisy", [CASE, JAX], ids=["the winner", "its rival"])
def test_markdown_calls_nobody_fastest_beside_a_busy_neighbour(noisy: Case) -> None:
    pace = {CASE: 2.0, JAX: 3.0}
    records = [record for case in pace for record in beside(0.9 if case == noisy else 0.0, case, pace[case])]
    text = markdown.render(report(records, run_of(CASE, JAX), None))
    name = f"{noisy.backend} {noisy.mode}"
    assert f"No row is called fastest: {name} had a busy neighbour" in text
    assert not re.search("Fastest:|proved fastest|Too few rounds", text)
    assert f"- {name}: **unsteady**, other processes used 0.9 of 4 cores beside 6 of 6 processes" in text


@pytest.mark.parametrize("others", [None, 0.0])
def test_markdown_says_where_nobody_could_look(others: float | None) -> None:
    said = "This system does not tell what other processes do" in markdown.render(one(beside(others)))
    assert said is (others is None)


def test_markdown_does_not_say_so_of_a_run_without_times() -> None:
    assert "This system does not tell" not in markdown.render(one([]))


def test_markdown_names_the_ceilings_and_whose_they_are() -> None:
    text = markdown.render(one([*RECORDS, ceiling(CASE)]))
    assert (
        "Ceilings: 100 (90.0-110) GFLOP/s of matrix products (torch eager), "
        "10.0 (9.00-11.0) GB/s of copying (torch eager)." in text
    )
    assert "Ceilings:" not in markdown.render(report())


def test_markdown_doubts_ceilings_beside_a_neighbour() -> None:
    text = markdown.render(one([*RECORDS, replace(ceiling(CASE), others_cores=0.9)]))
    failed = markdown.render(one([*RECORDS, ceiling(CASE), ceiling(JAX, (), (), "oom: no | memory")]))
    assert "No ceilings by jax compiled: oom: no \\| memory." in failed
    assert "Doubt them: other processes used 0.9 cores." in text
    assert "Doubt them" not in markdown.render(one([*RECORDS, replace(ceiling(CASE), others_cores=0.1)]))


@pytest.mark.parametrize(
    ("arithmetic", "memory", "dispatch", "by", "text"),
    [
        (0.4, 0.3, 0.1, "arithmetic", "arithmetic 40%"),
        (0.1, 0.7, 0.1, "memory", "memory 70%"),
        (0.1, 0.2, 1.0, "dispatch", "dispatch 100%"),
        (None, None, None, None, "-"),
    ],
)
def test_markdown_says_what_bounds_a_row(
    arithmetic: float | None, memory: float | None, dispatch: float | None, by: str | None, text: str
) -> None:
    row = Row(CASE, "ok", "", utilisation=arithmetic, memory_share=memory, dispatch_share=dispatch, bound_by=by)
    assert markdown.bound(row) == text


def test_markdown_has_a_column_for_it() -> None:
    ((header, row),) = tables_of(markdown.render(one([*RECORDS, ceiling(CASE)])))
    assert re.fullmatch(r"(arithmetic|memory|dispatch) \d+%", row[header.index("bound by")])


def test_a_row_above_the_ceiling_carries_a_remark() -> None:
    slow = ceiling(CASE, flops=(1e8,), moved=(1e10,))
    text = markdown.render(one([*RECORDS, slow]))
    assert "- torch eager: **ok**, faster than it should be, " in text
    assert "of the measured arithmetic ceiling" in text


def test_csv_of_what_bounds_a_row_and_what_it_repays() -> None:
    records = [*repaying(), ceiling(CASE)]
    eager, compiled = rows_of_csv(csv_format.render(report(records, run_of(CASE, COMPILED))))
    assert float(eager["utilisation"]) > 0 and float(eager["memory_share"]) > 0 and float(eager["dispatch_share"]) > 0
    assert eager["bound_by"] in ("arithmetic", "memory", "dispatch")
    assert {eager[name] for name in eager if name.startswith(("break_even", "usd_break_even"))} == {""}
    assert compiled["break_even_against"] == "eager"
    steps = (9.2 - 0.003 - (2.2 - 0.006)) / 0.001  # the builders' eager pilot starts within 2 s
    assert float(compiled["break_even_steps"]) == pytest.approx(steps, rel=1e-5)
    assert float(compiled["break_even_steps_low"]) == float(compiled["break_even_steps_high"])
    warm = (0.9 - 0.003 - (0.7 - 0.006)) / 0.001
    assert float(compiled["break_even_warm_steps"]) == pytest.approx(warm, rel=1e-5)
    for name in ("break_even_seconds", "break_even_warm_seconds", "usd_break_even", "usd_break_even_warm"):
        assert float(compiled[name]) > 0
    assert (compiled["others_cores"], compiled["stolen_cores"]) == ("0", "0")


def test_markdown_says_after_how_many_steps_a_compilation_is_repaid() -> None:
    text = markdown.render(report(repaying(), run_of(CASE, COMPILED)))
    assert re.search(
        r"- torch compiled: repays its compilation against eager after 7,003 steps \(95 %: 7,003-7,003\), 16\.3 s, "
        r"0\.\d+ USD; with a filled cache after 203 steps \(95 %: 203-203\), 1\.20 s\.",
        text,
    )
    unpriced = markdown.render(report(repaying(), run_of(CASE, COMPILED), None))
    assert "USD" not in unpriced


def test_markdown_says_where_it_is_never_repaid() -> None:
    text = markdown.render(report(repaying(3.0), run_of(CASE, COMPILED)))
    assert "repays its compilation against eager never; with a filled cache never." in text
    assert "inf" not in text


@each_format
def test_never_is_no_number_that_a_reader_chokes_on(render) -> None:  # type: ignore[no-untyped-def]
    text = render(report(repaying(3.0), run_of(CASE, COMPILED)))
    assert not re.search(r"\binf\b|\bnan\b|Infinity|NaN", text)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ((40.4, 35.2, 51.6, 2.0), "after 40 steps (95 %: 35-52), 2.00 s"),
        ((40.4, None, None, 2.0), "after 40 steps, 2.00 s"),
        ((12_345.0, 10_000.0, float("inf"), 2.0), "after 12,345 steps (95 %: 10,000-never), 2.00 s"),
        ((0.0, 0.0, 0.0, 0.5), "after 0 steps (95 %: 0-0), 0.500 s"),
        ((float("inf"), 1.0, float("inf"), float("inf")), "never"),
        ((None, None, None, None), "never"),
    ],
)
def test_after(told: tuple[float | None, ...], text: str) -> None:
    assert markdown.after(*told) == text


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0000354540, "0.0000355"),
        (0.000931, "0.000931"),
        (0.0123456, "0.0123"),
        (2.25, "2.25"),
        (12.345, "12.3"),
        (99.94, "99.9"),
        (99.96, "100"),
        (123.456, "123"),
        (999.6, "1,000"),
        (1234.5, "1,230"),
        (1_805_160_000.0, "1,810,000,000"),
    ],
)
def test_digits(value: float | None, text: str) -> None:
    assert markdown.digits(value) == text


@given(st.floats(1e-9, 1e12))
def test_digits_keep_three_and_never_use_a_power_of_ten(value: float) -> None:
    text = markdown.digits(value)
    assert re.fullmatch(r"\d{1,3}(,\d{3})*(\.\d+)?", text)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.0051)


def test_interval() -> None:
    assert "1.23-2.35" in markdown.interval(1.234, 2.345001)
    for known in ((None, 2.0), (1.0, None), (None, None)):
        assert not re.search(r"\d", markdown.interval(*known))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (Decimal("0.4777"), "0.478"),
        (Decimal("0.0000123456"), "0.0000123"),
        (Decimal("0.000000123456"), "0.000000123"),
        (Decimal("477.77"), "478"),
        (Decimal("15277.77777"), "15,300"),
    ],
)
def test_money_is_in_full(value: Decimal | None, text: str) -> None:
    # As digits(): nobody compares 1.53E+4 with 478.
    assert markdown.money(value, "") == text
    if value is not None:
        assert markdown.money(value, "~") == f"~{text}"


def test_a_row_of_every_unknown_is_dashes_alone() -> None:
    empty = Report(run_of(CASE), (Row(CASE, "error", "it broke"),), None, "")
    ((_, row),) = tables_of(markdown.render(empty))
    assert all(cell in ("-", "- / -") for cell in row[2:-1])


def test_a_row_with_a_failed_check_is_not_called_the_fastest() -> None:
    """Half of a missing fence's rounds may slip through, and would win."""
    fast = [*rounds_of(CASE, *[1.0] * 5), failure(CASE, 5, reason="not quiet after the fence")]
    text = markdown.render(report([*fast, *rounds_of(JAX, *[3.0] * 6)], run_of(CASE, JAX)))
    assert "No row is called fastest: torch eager is error." in text and "Fastest" not in text
    honest = markdown.render(report([*rounds_of(CASE, *[1.0] * 6), *rounds_of(JAX, *[3.0] * 6)], run_of(CASE, JAX)))
    assert "Fastest: torch eager." in honest


def test_a_percentile_that_is_missing_says_how_many_calls_it_wants() -> None:
    assert "p99 wants 590 more calls" in markdown.render(report())  # 6 processes of 12 calls, 662 wanted


def test_the_evidence_is_the_samples_own_digest() -> None:
    first, same, other = (
        rows_of_csv(csv_format.render(report(records, run_of(CASE))))[0]["evidence"]
        for records in (rounds_of(CASE, *[2.0] * 6), rounds_of(CASE, *[2.0] * 6), rounds_of(CASE, *[2.0] * 5, 2.1))
    )
    assert first == same != other
