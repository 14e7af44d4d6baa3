"""`bench.load`: a stored run as frames, at one price or another, and in plain words what is no run."""

import math
import warnings
from decimal import Decimal
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from conftest import ROOT, python
from msgspec.structs import replace
from test_table import CASE, JAX, NULL, failure, proof, rounds_of, run_of

import bench
from bench import api
from bench.api import Loaded
from bench.case import Case
from bench.errors import BenchError
from bench.prices import book
from bench.records import Record
from bench.reports.columns import COLUMNS
from bench.run import Run

QUICK = ROOT / "results/reference/quick-2core"
EAGER = CASE
COMPILED = replace(EAGER, mode="compiled")
# Eager, a compiled mode that is slower and never repaid, one that computes nothing, and one that failed.
RUN = run_of(EAGER, COMPILED, NULL, JAX)
RECORDS = [
    proof(EAGER),
    *rounds_of(EAGER, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5),
    *rounds_of(COMPILED, *[9.0] * 6),
    *rounds_of(NULL, *[1e-4] * 6),
    failure(JAX, -1, reason="it broke"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # no prices.toml of whoever runs the tests
    return tmp_path


def stored(folder: Path, run: Run = RUN, records: list[Record] = RECORDS) -> Path:
    folder.mkdir()
    (folder / "run.json").write_bytes(msgspec.json.encode(run))
    (folder / "results.jsonl").write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in records))
    return folder


@pytest.fixture
def loaded(here: Path) -> Loaded:
    found = bench.load(stored(here / "run"))
    assert isinstance(found, Loaded)
    return found


# --- the frame --------------------------------------------------------------------------------------------------------


def test_a_row_a_row_of_the_table_in_the_columns_of_the_csv(loaded: Loaded) -> None:
    frame = loaded.frame()
    assert list(frame.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert list(frame["backend"]) == [row.case.backend for row in loaded.report.rows]
    assert list(frame["step_ms"])[:2] == [row.step_ms for row in loaded.report.rows][:2]


def test_every_column_has_a_type_that_can_say_what_is_missing(loaded: Loaded) -> None:
    kinds = loaded.reprice(price_per_hour="2.10").frame().dtypes.astype(str)
    wanted = {
        **{"workload": "string", "status": "string", "instance": "string", "gpu": "string", "cores": "Int64"},
        **{"batch": "Int64", "rounds": "Int64", "disturbed": "boolean"},
        **{"joules_per_step": "float64", "watts": "float64", "input_share": "float64", "joules_note": "string"},
        **{"step_ms": "float64", "break_even_steps": "float64", "parity_fp64": "float64"},
        **{"usd_per_hour": "object", "usd_per_million_samples": "object", "inferences_per_usd": "object"},
    }
    assert {name: kinds[name] for name in wanted} == wanted
    assert set(kinds[list(COLUMNS)]) <= {"string", "Int64", "boolean", "float64", "object"}
    money = {name for name in COLUMNS if kinds[name] == "object"}
    assert money == {name for name in COLUMNS if name.startswith(("usd_", "inferences_per_usd"))}


def test_what_is_not_known_is_missing_and_what_never_comes_is_infinite(loaded: Loaded) -> None:
    eager, compiled, null, failed = (row for _, row in loaded.frame().iterrows())
    assert math.isinf(compiled["break_even_steps"]) and math.isnan(eager["break_even_steps"])
    assert (failed["status"], failed["reason"]) == ("error", "it broke")
    assert pd.isna(failed["step_ms"]) and failed["rounds"] == 0
    assert pd.isna(eager["instance"]) and pd.isna(eager["usd_per_million_samples"])
    assert pd.isna(null["relative"]) and eager["relative"] == 1.0


def test_money_is_exact_unless_floats_are_asked_for(loaded: Loaded) -> None:
    priced = loaded.reprice(price_per_hour="2.10")
    usd = priced.frame()["usd_per_million_samples"]
    assert usd[0] == priced.report.rows[0].cost.usd_per_million_samples
    assert isinstance(usd[0], Decimal) and usd[2] is None  # what computes nothing costs nothing that is known
    floats = priced.frame(money="float")["usd_per_million_samples"]
    assert floats.dtype == "float64" and floats[0] == float(usd[0]) and math.isnan(floats[2])
    with pytest.raises(BenchError, match="decimal, float"):
        priced.frame(money="cents")  # type: ignore[arg-type]


def test_each_row_says_whose_it_is(loaded: Loaded) -> None:
    frame = loaded.frame()
    assert set(frame["run_started"]) == {pd.Timestamp("2026-11-23T12:00:00Z")}
    assert set(frame["suite"]) == {"made"} and set(frame["commit"]) == {"abc1234"}
    assert set(frame["cpu"]) == {"Testor 9000"} and set(frame["cores"]) == {4} and frame["gpu"].isna().all()


def test_frames_of_several_runs_go_into_one(here: Path, loaded: Loaded) -> None:
    other = bench.load(stored(here / "other", replace(RUN, started="2026-11-24T12:00:00Z")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = pd.concat([loaded.frame(), other.frame()], ignore_index=True)
    assert len(both) == 8 and both["run_started"].nunique() == 2
    assert (both.dtypes == loaded.frame().dtypes).all()


def test_an_empty_value_in_every_row_keeps_its_type(here: Path) -> None:
    frame = bench.load(stored(here / "run", run_of(JAX), [failure(JAX, -1)])).frame()
    assert frame["step_ms"].dtype == "float64" and frame["disturbed"].dtype == "boolean"


# --- bursts -----------------------------------------------------------------------------------------------------------


def test_every_burst_of_every_row_that_has_a_time(loaded: Loaded) -> None:
    bursts = loaded.bursts()
    assert len(bursts) == 3 * 6 * 20
    assert list(bursts.columns[:17]) == [*Case.__struct_fields__, "round", "burst", "step_ms"]
    eager = bursts[(bursts["mode"] == "eager") & (bursts["backend"] == "torch")]
    medians = eager.groupby("round")["step_ms"].median()
    assert list(medians) == pytest.approx([2.0, 2.1, 2.2, 2.3, 2.4, 2.5])
    assert list(eager["burst"])[:20] == list(range(20))
    assert bursts["batch"].dtype == "Int64" and bursts["step_ms"].dtype == "float64"


def test_no_burst_of_a_row_whose_proof_failed(here: Path) -> None:
    records = [proof(EAGER, broken="a gradient differs"), *rounds_of(EAGER, *[2.0] * 6)]
    bursts = bench.load(stored(here / "run", run_of(EAGER), records)).bursts()
    assert len(bursts) == 0 and "step_ms" in bursts


# --- prices -----------------------------------------------------------------------------------------------------------


def test_without_a_price_there_is_none_and_it_says_why(loaded: Loaded) -> None:
    assert loaded.report.price is None
    assert loaded.origin.startswith("no price")


def test_the_price_a_run_was_measured_with_is_its_price(here: Path) -> None:
    folder = stored(here / "run")
    book.write_used(folder / "prices.csv", [book.find("c5.2xlarge")])
    run = bench.load(folder)
    assert set(run.frame()["instance"]) == {"c5.2xlarge"}
    other = run.reprice(price_per_hour=Decimal("2.10"))
    assert other.frame()["instance"].isna().all() and set(other.frame()["usd_per_hour"]) == {Decimal("2.10")}
    assert other.reprice().frame().equals(run.frame())


def test_another_price_changes_the_money_and_nothing_else(loaded: Loaded) -> None:
    before = loaded.frame()
    dear = loaded.reprice(instance="p5.48xlarge", price_model="spot", region="us-east-1")
    assert loaded.frame().equals(before), "the run itself does not change"
    after = dear.frame()
    changed = {name for name in after if not after[name].equals(before[name])}
    assert changed and all(
        name.startswith("usd_") or name in ("provider", "service", "instance", "region", "price_model", "price_as_of")
        for name in changed
    )
    assert dear.report.price is not None and dear.report.price.price_model == "spot"
    again = dear.reprice(price_per_hour="55.04").report
    assert again.rows[0].cost == loaded.reprice(price_per_hour="55.04").report.rows[0].cost


def test_a_price_of_one_s_own_file(here: Path, loaded: Loaded) -> None:
    (here / "mine.toml").write_text('[[price]]\ninstance = "rack-1"\nusd_per_hour = 0.25\n')
    run = loaded.reprice(instance="rack-1", prices=here / "mine.toml")
    assert set(run.frame()["usd_per_hour"]) == {Decimal("0.25")}


@pytest.mark.parametrize("usd", ["2.1", 2.1, Decimal("2.1")])
def test_a_price_per_hour_may_be_text_or_a_number(loaded: Loaded, usd: str | float | Decimal) -> None:
    assert loaded.reprice(price_per_hour=usd).frame()["usd_per_hour"][0] == Decimal("2.1")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"instance": "p5.49xlarge"}, "no price for instance 'p5.49xlarge'"),
        ({"price_per_hour": "much"}, "wanted a number of USD"),
        ({"region": "us-east-1"}, "--region wants an --instance"),
    ],
)
def test_a_price_that_does_not_exist_is_said_in_words(loaded: Loaded, how: dict[str, str], says: str) -> None:
    with pytest.raises(BenchError, match=says):
        loaded.reprice(**how)  # type: ignore[arg-type]


def test_the_page_is_written_where_it_is_wanted(here: Path, loaded: Loaded) -> None:
    page = loaded.reprice(price_per_hour="2.10").to_html(here / "report.html")
    assert page == here / "report.html" and "Testor 9000" in page.read_text()
    (here / "mine.toml").write_text(
        '[[price]]\ninstance = "mine"\nusd_per_hour = 1.5\n[[price]]\ninstance = "ours"\nusd_per_hour = 2\n'
    )
    page = loaded.reprice(instance="mine", prices=here / "mine.toml").to_html(here / "mine.html")
    assert '"what":"ours"' in page.read_text(), "the page offers the other prices of the file that was named"
    with pytest.raises(BenchError, match="cannot write") as raised:
        loaded.to_html(here / "none" / "report.html")
    assert raised.value.exit_code == 74


# --- what is no run, and what an import costs -------------------------------------------------------------------------


def test_what_is_no_run_is_said_in_words(here: Path) -> None:
    (here / "empty").mkdir()
    (here / "file").write_text("")
    for name, says in {"none": "no run folder", "empty": "not a run folder", "file": "found the file"}.items():
        with pytest.raises(BenchError, match=says):
            bench.load(here / name)
    with pytest.raises(BenchError, match="no results yet"):
        bench.load(stored(here / "begun", records=[]))


def test_a_torn_last_line_is_left_out_and_said(here: Path) -> None:
    folder = stored(here / "run")
    with open(folder / "results.jsonl", "ab") as file:
        file.write(b'{"type":"Sam')
    with pytest.warns(UserWarning, match="last line is torn"):
        assert len(bench.load(folder).frame()) == 4


def test_it_shows_itself_in_one_line(loaded: Loaded) -> None:
    assert repr(loaded) == "<made of 2026-11-23T12:00:00Z: 4 rows at no price>"
    assert "a given price, 2.10 USD/h" in repr(loaded.reprice(price_per_hour="2.10"))


def test_the_committed_run_loads() -> None:
    frame = bench.load(str(QUICK)).frame()
    assert len(frame) == 12 and frame["step_ms"].notna().all()


def test_importing_the_package_imports_neither_pandas_nor_numpy() -> None:
    done = python("-c", "import sys, bench; print(*sys.modules)")
    loaded = set(done.stdout.split())
    assert "bench" in loaded and not loaded & {"pandas", "numpy", "msgspec", "bench.api"}, done.stderr


def test_load_is_the_api_s() -> None:
    assert bench.load(QUICK).report == api.load(QUICK).report
