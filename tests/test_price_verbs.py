"""The verbs `prices ...` as a person uses them: tables, differences, a book of one's own. Nothing asks the network."""

import csv
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace
from test_command_line import contents, one_line
from test_price_checks import HEADER, Item

from bench.__main__ import main
from bench.backend import install
from bench.prices import asked, book
from bench.prices.book import Price
from bench.verbs import price_books

Said = pytest.CaptureFixture[str]
BOOK = book.bundled()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(price_books.FOLDER, raising=False)
    return tmp_path


def records(said: Said, *arguments: str) -> list[dict[str, Any]]:
    assert main(["prices", *arguments, "--format", "json"]) == 0
    found: list[dict[str, Any]] = json.loads(said.readouterr().out)
    return found


def refused(said: Said, *arguments: str, words: tuple[str, ...]) -> None:
    assert main(["prices", *arguments]) == 2
    caught = said.readouterr()
    assert one_line(caught.err)
    assert caught.out == ""
    for word in words:
        assert word in caught.err


# --- list, show, find -------------------------------------------------------------------------------------------------


def test_list_has_every_price(capsys: Said) -> None:
    assert len(records(capsys, "list")) == len(BOOK)
    assert main(["prices", "list"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == len(BOOK) + 2
    assert "| p5.48xlarge" in out and "8 x H100, 192 vCPUs, 2048 GiB" in out


@pytest.mark.parametrize(
    ("flags", "keeps"),
    [
        (["--provider", "aws"], lambda row: row.provider == "aws"),
        (["--service", "vertex-ai"], lambda row: row.service == "vertex-ai-training"),
        (["--service", "ai-platform"], lambda row: row.service == "vertex-ai-training"),
        (["--region", "eastus2"], lambda row: row.region == "eastus2"),
        (["--price-model", "spot"], lambda row: row.price_model == "spot"),
        (["--accelerator", "a100"], lambda row: row.accelerator in ("A100-40GB", "A100-80GB")),
        (["--gpu", "A100-80GB"], lambda row: row.accelerator == "A100-80GB"),
        (["--gpu", "NVIDIA H100 NVL"], lambda row: row.accelerator == "H100NVL"),
        (["--gpu", "H100"], lambda row: row.accelerator == "H100"),
        (["--provider", "gcp", "--gpu", "L4", "--price-model", "spot"], lambda row: row.instance.startswith("g2-")),
    ],
)
def test_list_is_filtered(capsys: Said, flags: list[str], keeps: Callable[[Price], bool]) -> None:
    found = records(capsys, "list", *flags)
    wanted = [row for row in BOOK if keeps(row) and ("--price-model" not in flags or row.price_model == "spot")]
    assert [(row["instance"], row["region"], row["usd_per_hour"]) for row in found] == [
        (row.instance, row.region, f"{row.usd_per_hour:f}") for row in wanted
    ]
    assert wanted


def test_list_as_csv_and_json_have_every_column(capsys: Said) -> None:
    assert main(["prices", "list", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0].keys() == records(capsys, "list")[0].keys()
    assert set(book.COLUMNS) < rows[0].keys()
    by_name = {(row["instance"], row["price_model"]): row for row in rows}
    p5 = by_name["p5.48xlarge", "on_demand"]
    assert (p5["usd_per_hour"], p5["usd_per_hour_share"], p5["as_of"]) == ("55.04", "6.88", "2026-07-20")
    today = datetime.now(UTC).date()
    assert int(p5["age_days"]) == (today - date(2026, 7, 20)).days
    tpu = by_name["tpu-v2-8", "on_demand"]
    assert (tpu["usd_per_hour_share"], tpu["accelerator_count"], tpu["age_days"], tpu["age"]) == ("", "", "", "stale")


def test_own_prices_come_first(capsys: Said, here: Path) -> None:
    (here / "prices.toml").write_text("[[price]]\ninstance = 'box'\nusd_per_hour = 2.10\n")
    first, *others = records(capsys, "list")
    assert (first["instance"], first["provider"], first["usd_per_hour"]) == ("box", "own", "2.10")
    assert len(others) == len(BOOK)
    (here / "other.toml").write_text("[[price]]\ninstance = 'crate'\nusd_per_hour = 3\n")
    assert records(capsys, "list", "--prices", "other.toml")[0]["instance"] == "crate"
    assert [row["instance"] for row in records(capsys, "list", "--provider", "own")] == ["box"]
    assert records(capsys, "show", "box")[0]["usd_per_hour"] == "2.10"


def test_show_has_every_price_of_an_instance_in_order(capsys: Said) -> None:
    assert [row["price_model"] for row in records(capsys, "show", "p5.48xlarge")] == [
        "on_demand",
        "spot",
        "capacity_block",
        "committed_1y",
        "committed_3y",
    ]
    assert main(["prices", "show", "p5.48xlarge"]) == 0
    out = capsys.readouterr().out
    assert "Source: aws/karpenter-provider-aws" in out and "2026-07-20" in out and " d " in out
    assert "also" not in out


def test_show_honours_googles_old_names(capsys: Said) -> None:
    for name in ("vertex-ai", "ai-platform", "gemini-enterprise-agent-platform", "vertex-ai-training"):
        (found,) = records(capsys, "show", "a3-highgpu-8g", "--service", name)
        assert found["usd_per_hour"] == "101.007352"
    assert main(["prices", "show", "a3-highgpu-8g"]) == 0
    out = capsys.readouterr().out
    assert "vertex-ai-training is also: ai-platform, vertex-ai, gemini-enterprise-agent-platform." in out


def test_find_is_the_cheapest_first_with_whole_and_share(capsys: Said) -> None:
    found = records(capsys, "find", "--gpu", "H200", "--price-model", "on_demand")
    assert [(row["instance"], row["usd_per_hour"], row["usd_per_hour_share"]) for row in found] == [
        ("p5en.48xlarge", "63.296", "7.912"),
        ("Standard_ND96isr_H200_v5", "84.8", "10.6"),
        ("a3-ultragpu-8g", "84.806908493", "10.6009"),
    ]
    assert main(["prices", "find", "--gpu", "H200"]) == 0
    out = capsys.readouterr().out
    assert "somebody rents the rest" in out
    prices = [float(line.split("|")[6]) for line in out.splitlines()[2:] if line.startswith("|")]
    assert prices == sorted(prices) and len(prices) > 3


def test_find_wants_at_least_so_many(capsys: Said) -> None:
    for count, names in ((1, {"p5.4xlarge", "p5.48xlarge"}), (2, {"p5.48xlarge"})):
        found = records(capsys, "find", "--gpu", "H100", "--count", str(count))
        assert {row["instance"] for row in found} & {"p5.4xlarge", "p5.48xlarge"} == names


def test_what_is_not_known_is_a_dash(capsys: Said) -> None:
    assert main(["prices", "find", "--gpu", "GB200"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Standard_ND128isr" in line]
    assert [cell.strip() for cell in line.split("|")][5:8] == ["? x GB200, 128 vCPUs", "108.16", "-"]
    (found,) = records(capsys, "find", "--gpu", "GB200")
    assert found["usd_per_hour_share"] is None and found["accelerator_count"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--provider", "awz"], ("no provider 'awz'", "aws")),
        (["list", "--service", "ec3"], ("no service 'ec3'", "ec2")),
        (["list", "--region", "us-east-9"], ("no region 'us-east-9'", "us-east-1")),
        (["list", "--price-model", "reserved"], ("no price model 'reserved'", "there are amortised")),
        (["list", "--gpu", "H300"], ("accelerator 'H300'", "H200")),
        (["list", "--gpu", "NVIDIA H200 MIG 1g.18gb"], ("slice",)),
        (["list", "--gpu", "NVIDIA GeForce RTX 4090"], ("no price book lists the accelerator",)),
        (["list", "--provider", "azure", "--gpu", "TPU-v2"], ("no price passes all",)),
        (["list", "--format", "html"], ("no format 'html'", "markdown, csv, json")),
        (["list", "--prices", "nowhere.toml"], ("nowhere.toml", "cannot be read")),
        (["show", "p5.48xlrge"], ("no price for instance 'p5.48xlrge'", "p5.48xlarge")),
        (["show", "p5.48xlarge", "--region", "mars"], ("no region 'mars'",)),
        (["show", "p5.48xlarge", "--price-model", "calendar"], ("no price passes all",)),
        (["find"], ("--gpu",)),
        (["find", "--gpu", "H200", "--count", "0"], ("--count", "found 0")),
        (["find", "--gpu", "H200", "--count", "9"], ("no instance with 9 x H200", "the largest has 8")),
        (["find", "--gpu", "GB200", "--count", "2"], ("no instance with 2 x GB200", "not known")),
        (["find", "--gpu", ""], ("no price book lists the accelerator ''",)),
        (["diff", "bundled", "nowhere"], ("no price CSV or folder 'nowhere'",)),
        (["import", "nowhere.csv", "--provider", "aws"], ("nowhere.csv", "cannot be read")),
        (["import", "nowhere.csv"], ("--provider",)),
        (["sell"], ("No such command",)),
    ],
)
def test_a_wrong_request_is_one_line(capsys: Said, arguments: list[str], words: tuple[str, ...]) -> None:
    refused(capsys, *arguments, words=words)


# --- diff -------------------------------------------------------------------------------------------------------------


def saved(folder: Path, *rows: Price) -> Path:
    book.save_book(folder, rows, "made up", date(2026, 11, 1))
    return folder


def test_diff_names_what_changed(capsys: Said, here: Path) -> None:
    p5, g5, c5 = (book.find(name) for name in ("p5.48xlarge", "g5.xlarge", "c5.2xlarge"))
    saved(here / "old", p5, g5)
    saved(here / "new", replace(p5, usd_per_hour=p5.usd_per_hour / 2), c5)
    found = records(capsys, "diff", "old", "new")
    assert [(row["change"], row["instance"], row["before"], row["after"], row["percent"]) for row in found] == [
        ("changed", "p5.48xlarge", "55.04", "27.52", "-50.0 %"),
        ("added", "c5.2xlarge", None, "0.34", None),
        ("removed", "g5.xlarge", "1.006", None, None),
    ]
    assert [row["jump"] for row in found] == ["yes", "no", "no"]
    assert main(["prices", "diff", "old", "new"]) == 0
    said = capsys.readouterr()
    assert "| changed (jump) | p5.48xlarge" in said.out
    assert "1 added, 1 removed, 1 changed; moved by more than 30 %, check them: p5.48xlarge on_demand" in said.err


def test_diff_reads_a_book_a_csv_a_runs_folder_and_the_bundled_one(capsys: Said, here: Path) -> None:
    p5 = book.find("p5.48xlarge")
    saved(here / "book", p5)
    (here / "run").mkdir()
    book.write_used(here / "run" / "prices.csv", [p5])
    for name in ("book", "run", "book/prices.csv"):
        assert records(capsys, "diff", name, "book") == []
        assert len(records(capsys, "diff", name, "bundled")) == len(BOOK) - 1
    assert main(["prices", "diff", "bundled", "bundled"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "stepwatch: 0 added, 0 removed, 0 changed\n")


def test_diff_of_what_is_damaged_is_one_line(capsys: Said, here: Path) -> None:
    p5 = book.find("p5.48xlarge")
    (here / "empty.csv").write_text("")
    book.write_used(here / "twice.csv", [p5, p5])
    book.write_used(here / "half.csv", [p5])
    (here / "half.csv").write_bytes((here / "half.csv").read_bytes()[:-200])
    (here / "folder").mkdir()
    saved(here / "book", p5)
    with (here / "book" / "prices.csv").open("a") as file:
        file.write("more")
    for name, word in (
        ("empty.csv", "wanted the columns"),
        ("twice.csv", "found two; remove one"),
        ("half.csv", "row 2"),
        ("folder", "no run that has a price"),
        ("book", "wanted sha256"),
    ):
        refused(capsys, "diff", name, "bundled", words=(word,))


# --- import -----------------------------------------------------------------------------------------------------------

LAMBDA = [
    "gpu_1x_h100,H100,1.0,26.0,200.0,2.49,,us-east-1,,",
    "gpu_8x_h100,H100,8.0,208.0,1800.0,23.92,,us-east-1,,",
    "gpu_8x_h100,H100,8.0,208.0,1800.0,23.92,,europe-central-1,,",
]


def catalogue(folder: Path, *lines: str) -> str:
    (folder / "vms.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return "vms.csv"


def test_import_prints_the_difference_and_writes_nothing_without_yes(capsys: Said, here: Path) -> None:
    file = catalogue(here, *LAMBDA)
    before = contents(here)
    assert main(["prices", "import", file, "--provider", "lambda"]) == 0
    said = capsys.readouterr()
    assert contents(here) == before
    assert "3 added, 0 removed, 0 changed" in said.err
    assert "nothing is written; with --yes it goes to prices-book" in said.err
    assert said.out.count("| added") == 3


def test_import_makes_a_book_that_is_used(capsys: Said, here: Path) -> None:
    file = catalogue(here, *LAMBDA)
    flags = ["--provider", "lambda", "--region", "us-east-1", "--as-of", "2026-11-01", "--yes"]
    assert main(["prices", "import", file, *flags]) == 0
    said = capsys.readouterr()
    assert f'{len(BOOK) + 2} prices in prices-book; use them by book = "prices-book" in prices.toml' in said.err
    assert sorted(path.name for path in (here / "prices-book").iterdir()) == ["manifest.toml", "prices.csv"]
    found = book.load_book(here / "prices-book")
    assert set(BOOK) < set(found)
    (here / "prices.toml").write_text('book = "prices-book"\n')
    chosen = asked.choose(asked.Asked("gpu_8x_h100")).price
    assert chosen is not None and str(chosen.usd_per_hour) == "23.92"
    assert (chosen.as_of, chosen.source) == ("2026-11-01", "catalogue vms.csv")
    assert main(["prices", "import", file, *flags]) == 0  # the second time there is nothing new
    assert "0 added, 0 removed, 0 changed" in capsys.readouterr().err
    assert book.load_book(here / "prices-book") == found


def test_an_import_names_what_jumped_and_what_went(capsys: Said, here: Path) -> None:
    saved(here / "prices-book", *(replace(row, service="") for row in BOOK if row.provider == "own" or row == BOOK[0]))
    lines = ["gpu,L4,1,8,32,1.00,,r,,", "old,L4,1,8,32,2.00,,r,,"]
    catalogue(here, *lines)
    assert main(["prices", "import", "vms.csv", "--provider", "x", "--yes"]) == 0
    catalogue(here, "gpu,L4,1,8,32,1.31,,r,,", "new,L4,1,8,32,2.00,,r,,")
    capsys.readouterr()
    assert main(["prices", "import", "vms.csv", "--provider", "x"]) == 0
    said = capsys.readouterr()
    assert (
        "1 added, 1 removed, 1 changed; moved by more than 30 %, check them: gpu on_demand in r (x) +31 %" in said.err
    )
    assert "| removed" in said.out


BAD = {
    "negative": ("gpu,L4,1,8,32,-1,,r,,", "found -1"),
    "absurd": ("gpu,L4,1,8,32,1e9,,r,,", "found 1E+9"),
    "zero": ("gpu,L4,1,8,32,0,,r,,", "found 0"),
    "placeholder": ("gpu,L4,1,8,32,700.0,,r,,", "a price that they do not know"),
    "spot above": ("gpu,L4,1,8,32,1,1.5,r,,", "spot at 1.5 USD/h is above on demand at 1"),
    "twice": ("box,L4,1,8,32,2,,r,,", "wanted one price, found 1 USD/h and 2 USD/h"),
    "apart": ("box,L4,1,8,32,1,,us-east-1,,\nbox,L4,1,8,32,2,,us-west-1,,", "within 1.35x"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_import_with_a_bad_row_is_refused_or_leaves_it_out(capsys: Said, here: Path, name: str) -> None:
    line, words = BAD[name]
    catalogue(here, "box,L4,1,8,32,1,,r,,", "good,L4,1,8,32,1,,r,,", line)
    before = contents(here)
    refused(capsys, "import", "vms.csv", "--provider", "x", "--yes", words=(words, "--drop leaves such rows out"))
    assert contents(here) == before
    assert main(["prices", "import", "vms.csv", "--provider", "x", "--yes", "--drop"]) == 0
    said = capsys.readouterr()
    assert "left out: " in said.err and words in said.err
    kept = {row.instance for row in book.load_book(here / "prices-book") if row.provider == "x"}
    assert "good" in kept
    assert ("box" in kept) == (name != "twice")


def test_half_a_catalogue_is_refused(capsys: Said, here: Path) -> None:
    file = catalogue(here, "p5.48xlarge,H100,8.0,192.0,2048.0,55.04,19.4933,us-east-1,us-east-1a,")
    words = ("wanted at least 0.9 of the last book's 58 rows of aws ec2, found 2", "get a whole one")
    refused(capsys, "import", file, "--provider", "aws", "--yes", words=words)
    refused(capsys, "import", file, "--provider", "aws", "--yes", "--drop", words=words)
    assert not (here / "prices-book").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "found no InstanceType"),
        (HEADER, "it has no prices"),
        (HEADER + "\ngpu,L4", "it is cut off"),
        (HEADER + "\ngpu,L4,1,8,32,much,,r,,", "row 2.Price: wanted a number, found 'much'"),
        (HEADER + "\ngpu,L4,1,8,32,nan,,r,,", "found 'nan'"),
    ],
)
def test_a_file_that_is_no_catalogue_is_one_line(capsys: Said, here: Path, content: str, words: str) -> None:
    (here / "vms.csv").write_text(content)
    refused(capsys, "import", "vms.csv", "--provider", "x", "--yes", words=(words,))


@pytest.mark.parametrize("as_of", ["yesterday", "", "2026-02-30"])
def test_a_day_that_is_none(capsys: Said, here: Path, as_of: str) -> None:
    file = catalogue(here, *LAMBDA)
    refused(capsys, "import", file, "--provider", "x", "--as-of", as_of, words=("--as-of wants a date",))


def test_a_region_that_is_none(capsys: Said, here: Path) -> None:
    file = catalogue(here, *LAMBDA)
    words = ("no region 'us-east-2'", "us-east-1")
    refused(capsys, "import", file, "--provider", "x", "--region", "us-east-2", words=words)


def test_a_runs_folder_is_no_price_book(capsys: Said, here: Path) -> None:
    file = catalogue(here, *LAMBDA)
    (here / "run").mkdir()
    (here / "run" / "prices.csv").write_text("the run's own")
    refused(capsys, "import", file, "--provider", "x", "--out", "run", "--yes", words=("no price book", "--out"))
    assert contents(here / "run") == {"prices.csv": b"the run's own"}


def test_a_book_that_cannot_be_written_leaves_nothing(capsys: Said, here: Path) -> None:
    file = catalogue(here, *LAMBDA)
    (here / "taken").write_text("a file")
    assert main(["prices", "import", file, "--provider", "x", "--out", "taken", "--yes"]) == 74
    said = capsys.readouterr()
    assert "cannot write taken" in said.err and "Traceback" not in said.err
    assert (here / "taken").read_text() == "a file"


def test_a_write_that_fails_half_way_is_no_book(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(here / "mine", *BOOK[:3])
    original = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.name == ".manifest.toml":
            raise OSError(28, "No space left on device")
        return original(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(Exception, match="No space left"):
        saved(here / "mine", *BOOK[:2])
    with pytest.raises(Exception, match="wanted sha256"):  # never a book that is not the one described
        book.load_book(here / "mine")
    assert sorted(path.name for path in (here / "mine").iterdir()) == ["manifest.toml", "prices.csv"]


# --- refresh ----------------------------------------------------------------------------------------------------------


class Catalogue:
    """Stands for gpuhunt's: it says what it was asked, and gives made-up items or an error."""

    asked: ClassVar[dict[str, Any]] = {}
    items: ClassVar[list[Item]] = []
    error: ClassVar[Exception | None] = None

    def __init__(self, *, auto_reload: bool) -> None:
        type(self).asked = {"auto_reload": auto_reload}

    def query(self, *, provider: list[str]) -> list[Item]:
        type(self).asked |= {"provider": provider, "folder": price_books.os.environ.get(price_books.FOLDER)}
        if self.error:
            raise self.error
        return [item for item in self.items if item.provider in provider]


@pytest.fixture
def gpuhunt(monkeypatch: pytest.MonkeyPatch) -> type[Catalogue]:
    """A stand-in in gpuhunt's place, whose AWS has the bundled book's rows, one of them at another price."""

    class Mine(Catalogue):
        items: ClassVar[list[Item]] = [
            Item(
                instance_name=row.instance,
                location=row.region,
                price=float(row.usd_per_hour) * (0.5 if row.instance == "p5.48xlarge" else 1),
                cpu=row.vcpus,
                gpu_count=row.accelerator_count,
                gpu_name=row.accelerator.split("-")[0],
                gpu_memory=float(row.accelerator[5:-2]) if row.accelerator[:4] in ("A100", "V100") else None,
                spot=row.price_model == "spot",
            )
            for row in BOOK
            if row.service == "ec2" and row.price_model in ("on_demand", "spot")
        ]

    module = ModuleType("gpuhunt")
    module.__dict__["Catalog"] = Mine
    monkeypatch.setitem(sys.modules, "gpuhunt", module)
    return Mine


def test_refresh_without_gpuhunt_says_what_to_install(
    capsys: Said, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gpuhunt", None)
    refused(capsys, "refresh", "--yes", words=("gpuhunt", install("prices")))
    assert list(here.iterdir()) == []


def test_refresh_brings_the_book_up_to_date(capsys: Said, here: Path, gpuhunt: type[Catalogue]) -> None:
    assert main(["prices", "refresh"]) == 0
    said = capsys.readouterr()
    assert gpuhunt.asked == {"auto_reload": True, "provider": ["aws", "gcp", "azure"], "folder": None}
    assert "gpuhunt has nothing of azure, gcp: what the book has of it stays" in said.err
    assert "0 added, 0 removed, 2 changed; moved by more than 30 %, check them: p5.48xlarge on_demand" in said.err
    assert list(here.iterdir()) == []
    assert main(["prices", "refresh", "--yes"]) == 0
    found = {row.key: row for row in book.load_book(here / "prices-book")}
    assert found.keys() == {row.key for row in BOOK}
    today = datetime.now(UTC).date().isoformat()
    p5 = book.find("p5.48xlarge")
    assert (found[p5.key].usd_per_hour, found[p5.key].as_of) == (p5.usd_per_hour / 2, today)
    assert found[p5.key].source == "gpuhunt catalogue of the network"
    committed = book.find("p5.48xlarge", price_model="committed_1y")
    assert found[committed.key] == committed  # no catalogue has it: it stays, and so does its date


def test_refresh_from_a_folder_is_offline_and_undated(capsys: Said, here: Path, gpuhunt: type[Catalogue]) -> None:
    (here / "catalogues").mkdir()
    refused(capsys, "refresh", "--from", "catalogues", words=("no catalogue in catalogues", "aws.csv"))
    (here / "catalogues" / "aws.csv").write_text("")
    assert main(["prices", "refresh", "--from", "catalogues", "--out", "a", "--yes"]) == 0
    assert gpuhunt.asked == {"auto_reload": False, "provider": ["aws"], "folder": "catalogues"}
    assert price_books.FOLDER not in price_books.os.environ
    assert {row.as_of for row in book.load_book(here / "a") if row.source.startswith("gpuhunt")} == {""}
    flags = ["--from", "catalogues", "--as-of", "2026-11-01", "--provider", "aws", "--yes"]
    assert main(["prices", "refresh", *flags]) == 0
    assert {row.as_of for row in book.load_book(here / "prices-book") if "folder" in row.source} == {"2026-11-01"}


def test_a_folder_of_the_environment_is_offline_too(
    capsys: Said, here: Path, gpuhunt: type[Catalogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "aws.csv").write_text("")
    monkeypatch.setenv(price_books.FOLDER, str(here))
    assert main(["prices", "refresh"]) == 0
    assert gpuhunt.asked["auto_reload"] is False
    assert price_books.os.environ[price_books.FOLDER] == str(here)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("Name or service not known"), ("no catalogue for it: Name or service", "--from")),
        (FileNotFoundError(2, "No such file", "x/gcp.csv"), ("no catalogue x/gcp.csv", "--provider")),
        (ValueError("Unknown provider: awz"), ("Unknown provider: awz",)),
    ],
)
def test_a_catalogue_that_cannot_be_had(
    capsys: Said, gpuhunt: type[Catalogue], error: Exception, words: tuple[str, ...]
) -> None:
    gpuhunt.error = error
    refused(capsys, "refresh", "--yes", words=words)


def test_a_refresh_that_is_cut_off_is_refused(capsys: Said, here: Path, gpuhunt: type[Catalogue]) -> None:
    gpuhunt.items = gpuhunt.items[:20]
    refused(capsys, "refresh", "--yes", words=("wanted at least 0.9", "aws ec2, found 20"))
    gpuhunt.items = []
    refused(capsys, "refresh", "--yes", words=("it has no prices",))
    assert list(here.iterdir()) == []


COLUMNS = "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor"


def test_gpuhunt_itself_reads_a_folder_without_the_network(
    capsys: Said, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gpuhunt", reason="gpuhunt is not installed: pip install 'stepwatch[prices]'")
    monkeypatch.setattr("urllib.request.urlopen", None)  # a call would be a TypeError
    lines = [
        f"{row.instance},{row.region},{row.usd_per_hour},{row.vcpus},{row.memory_gib},{row.accelerator_count or 0},"
        f"{row.accelerator.split('-')[0]},{row.accelerator[5:-2] if row.accelerator[:4] in ('A100', 'V100') else ''},"
        f"{row.price_model == 'spot'},,{'nvidia' if row.accelerator_count else ''}"
        for row in BOOK
        if row.service == "ec2" and row.price_model in ("on_demand", "spot") and row.accelerator_count is not None
    ]
    (here / "aws.csv").write_text("\n".join([COLUMNS, *lines]) + "\n")
    assert main(["prices", "refresh", "--from", ".", "--as-of", "2026-11-01", "--yes"]) == 0
    said = capsys.readouterr()
    assert "0 added, 4 removed, 0 changed" in said.err  # Inferentia and Trainium, whose count is not known
    found = {row.key: row for row in book.load_book(here / "prices-book")}
    p5 = book.find("p5.48xlarge")
    assert found[p5.key] == replace(p5, as_of="2026-11-01", source="gpuhunt catalogue read from a folder")
