"""`stepwatch report` over one run and several, at one price and several: which format is asked, and what is refused."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from bench.__main__ import main
from bench.errors import BenchError
from bench.prices.asked import Asked
from bench.reports import gate as gates
from bench.verbs import report

RUN = ROOT / "results/reference/quick-2core"
GATE = ROOT / "results/reference/gate-2core/identical-arms"
SPOT = Asked(price_model="spot")
TWO = ("m5.4xlarge", "p5.48xlarge")


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No prices.toml of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)


def rows(text: str | bytes) -> list[dict[str, str]]:
    assert isinstance(text, str)
    return list(csv.DictReader(io.StringIO(text)))


def test_one_run_at_two_instances_is_one_table() -> None:
    text = report.text([RUN], "markdown", SPOT, TWO)
    assert isinstance(text, str) and text.startswith("# Stepwatch: time and money")
    assert "m5.4xlarge spot us-east-1: 0.29678" in text and "p5.48xlarge spot us-east-1: 19.4933" in text


def test_csv_and_json_of_several_say_whose_run_a_row_is(tmp_path: Path) -> None:
    found = rows(report.text([RUN], "csv", SPOT, TWO))
    single = rows(report.text([RUN], "csv", Asked(instance="m5.4xlarge", price_model="spot")))
    assert len(found) == 2 * len(single) and {row["run_started"] for row in found} == {"2026-11-27T22:01:51Z"}
    assert [row["usd_per_million_samples"] for row in found[: len(single)]] == [
        row["usd_per_million_samples"] for row in single
    ]
    other = tmp_path / "other"
    shutil.copytree(RUN, other)
    text = report.text([RUN, other], "json", Asked(price_per_hour="1"))
    assert [len(body["rows"]) for body in json.loads(text)] == [len(single)] * 2


def test_repricing_changes_no_time() -> None:
    free, priced = (rows(report.text([RUN], "csv", asked)) for asked in (Asked(), Asked(price_per_hour="3.6")))
    for one, two in zip(free, priced, strict=True):
        assert (one["step_ms"], one["relative"], one["evidence"]) == (two["step_ms"], two["relative"], two["evidence"])
        assert one["usd_per_million_samples"] == "" and float(two["usd_per_million_samples"]) == pytest.approx(
            1000 / float(two["samples_per_second"]), rel=1e-4
        )


@pytest.mark.parametrize(
    ("paths", "wanted", "asked", "instances", "plot", "says"),
    [
        ([RUN], "xml", Asked(), (), None, "no format 'xml'; there are markdown, csv"),
        ([RUN, RUN], "csv", Asked(), (), None, "is named twice"),
        ([RUN], "csv", Asked(), ("c5.2xlarge", "c5.2xlarge"), None, "c5.2xlarge is named twice"),
        ([RUN], "focus", Asked(), (), None, "there is nothing to write; name an --instance"),
        ([RUN], "pytest-benchmark", Asked(), TWO, None, "is of one run at one price, found 2"),
        ([RUN], "csv", Asked(instance="p5.48xlarge"), TWO, None, "leave out --instance and --price-per-hour"),
        ([RUN], "csv", Asked(), ("p5.48xlarg",), None, "the nearest names are p5.48xlarge"),
        ([RUN], "csv", Asked(), ("",), None, "no price for instance ''"),
        ([RUN], "csv", Asked(), (), "step", "--plot wants --format svg or png"),
        ([RUN], "svg", Asked(), (), "pie", "no plot 'pie'; there are step"),
        ([RUN, GATE], "csv", Asked(), (), None, "report it alone"),
        ([GATE], "markdown", Asked(), TWO, None, "it has verdicts and no price"),
        ([GATE], "html", Asked(), (), None, "no format 'html' of a gate"),
        ([ROOT / "results"], "csv", Asked(), (), None, "run.json"),
    ],
)
def test_a_wrong_request_is_one_line(
    paths: list[Path], wanted: str, asked: Asked, instances: tuple[str, ...], plot: str | None, says: str
) -> None:
    with pytest.raises(BenchError) as caught:
        report.text(paths, wanted, asked, instances, plot)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_gate_s_report_that_fails_itself_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's own exit code for a traceback is 1, which would say that the candidate is slower."""

    def fail(*_: object) -> None:
        raise KeyError("no such thing")

    monkeypatch.setitem(gates.FORMATS, "junit", fail)  # type: ignore[arg-type]
    assert main(["report", str(GATE), "--format", "junit"]) == 4
    monkeypatch.setattr("bench.gate.judge", fail)
    assert main(["report", str(GATE)]) == 4
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("KeyError: 'no such thing'") == 2
    assert said.err.splitlines()[-1].startswith("stepwatch: INVALID: the gate's report itself failed")
    with pytest.raises(BenchError) as caught:
        report.exit_code([GATE])
    assert caught.value.exit_code == 4


def test_what_is_written_overwrites_nothing(tmp_path: Path) -> None:
    report.put("text", tmp_path / "new.md")
    assert (tmp_path / "new.md").read_text() == "text"
    with pytest.raises(BenchError, match="is there already, and nothing is overwritten"):
        report.put("other", tmp_path / "new.md")
    assert (tmp_path / "new.md").read_text() == "text"
    with pytest.raises(BenchError, match=r"cannot write .*No such file or directory"):
        report.put("text", tmp_path / "none" / "new.md")


def test_a_picture_is_not_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(BenchError, match="not for a terminal"):
        report.put(b"\x89PNG", None)


def test_the_price_that_won_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    report.text([RUN], "csv", SPOT, TWO)
    said = capsys.readouterr().err
    assert "m5.4xlarge spot in us-east-1 (aws ec2), 0.29678 USD/h: named by --instance" in said
    assert "2.43666 for one of its 8 accelerators" in said


def test_a_price_of_a_day_to_come_is_said_and_changes_no_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = []
    for day in ("2026-11-24", "9999-01-01"):
        (tmp_path / "prices.toml").write_text(f'[[price]]\ninstance = "box"\nusd_per_hour = 1\nas_of = "{day}"\n')
        texts.append(report.text([RUN], "markdown", Asked(instance="box")))
        assert ("the price of box is of a day to come" in capsys.readouterr().err) == (day[0] == "9")
    assert isinstance(texts[0], str) and isinstance(texts[1], str)
    assert texts[0] == texts[1].replace("9999-01-01", "2026-11-24")
