"""The price book: what is bundled, what a user may write, which price applies, and the arithmetic of money."""

import csv
import shutil
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.prices import book, user_file
from bench.prices.book import Price, find

FOLDER = Path(book.__file__).parent


def own(**fields: object) -> Price:
    return msgspec.convert({"instance": "box", "usd_per_hour": Decimal("2.10"), **fields}, Price)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "prices.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- the bundled book -------------------------------------------------------------------------------------------------


def test_bundled_book_is_complete_and_its_keys_are_unique() -> None:
    prices = book.bundled()
    assert len(prices) == 173
    assert len({(p.service, p.instance) for p in prices}) == 90
    keys = Counter((p.provider, p.service, p.instance, p.region, p.price_model) for p in prices)
    assert max(keys.values()) == 1
    assert {p.price_model for p in prices} == set(book.PRICE_MODELS) - {"amortised"}  # own hardware's alone
    assert all(p.source and p.instance and p.provider and p.service for p in prices)


def test_bundled_spot_is_never_above_on_demand() -> None:
    prices = {(p.service, p.instance, p.region, p.price_model): p.usd_per_hour for p in book.bundled()}
    for (service, instance, region, model), usd in prices.items():
        if model == "spot" and (on_demand := prices.get((service, instance, region, "on_demand"))):
            assert usd <= on_demand, instance


@pytest.mark.parametrize(
    ("instance", "price_model", "usd_per_hour", "share"),
    [
        ("p5.48xlarge", "on_demand", "55.04", "6.88"),
        ("p5.48xlarge", "capacity_block", "41.528", "5.191"),
        ("p5.48xlarge", "committed_1y", "34.675", "4.334375"),
        ("p5.48xlarge", "committed_3y", "23.777", "2.972125"),
        ("p5.48xlarge", "spot", "19.4933", "2.4366625"),
        ("ml.p5.48xlarge", "on_demand", "63.296", "7.912"),
        ("p5en.48xlarge", "capacity_block", "54.920", "6.865"),
        ("g5.xlarge", "on_demand", "1.006", "1.006"),
        ("g5.48xlarge", "on_demand", "16.288", "2.036"),
        ("n1-standard-4 + 1x T4", "on_demand", "0.539999", "0.539999"),
        ("a4-highgpu-8g", "flex_start", "64.44", "8.055"),
        ("a3-ultragpu-8g", "calendar", "59.36", "7.42"),
        ("m5.4xlarge", "on_demand", "0.768", None),  # no accelerator
        ("inf2.xlarge", "on_demand", "0.7582", None),  # an accelerator, its count unknown
    ],
)
def test_known_figures(instance: str, price_model: str, usd_per_hour: str, share: str | None) -> None:
    price = find(instance, price_model=price_model)
    assert str(price.usd_per_hour) == usd_per_hour
    assert price.usd_per_hour_share == (None if share is None else Decimal(share))


def test_unknown_counts_differ_from_none_at_all() -> None:
    assert find("m5.4xlarge").accelerator_count == 0
    assert find("tpu-v2-8").accelerator_count is None
    assert find("tpu-v2-8").memory_gib is None
    assert find("p5.48xlarge").memory_gib == 2048


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in ("prices.csv", "manifest.toml"):
        shutil.copy(FOLDER / name, tmp_path)
    return tmp_path


def test_a_copied_book_loads_whatever_its_line_ends(copied: Path) -> None:
    path = copied / "prices.csv"
    assert book.load_book(copied) == book.bundled()
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert book.load_book(copied) == book.bundled()


def test_manifest_check_fails_on_a_changed_price(copied: Path) -> None:
    path = copied / "prices.csv"
    path.write_bytes(path.read_bytes().replace(b"55.04", b"55.05"))
    with pytest.raises(BenchError, match=r"prices\.csv: wanted sha256"):
        book.load_book(copied)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows = 173", "rows = 174", r"prices\.csv: wanted 174 rows .* found 173"),
        ("rows = 173", "", r"manifest\.toml: .*rows"),
        ("rows = 173", "rows = 173\nsize = 1", r"manifest\.toml: .*size"),
        ("rows = 173", "rows = ", r"manifest\.toml: .*line 5"),
        ("sha256 = ", "sha256 = 5 #", r"manifest\.toml: .*sha256"),
        ("date = 20", "date = 2", r"manifest\.toml: "),
    ],
)
def test_manifest_that_is_wrong_is_named(copied: Path, old: str, new: str, message: str) -> None:
    path = copied / "manifest.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(BenchError, match=message):
        book.load_book(copied)


@pytest.mark.parametrize("name", ["prices.csv", "manifest.toml"])
def test_missing_book_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(BenchError, match=rf"{name}: cannot be read"):
        book.load_book(copied)


# --- the user's prices.toml -------------------------------------------------------------------------------------------


def test_user_price_has_these_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, '[[price]]\ninstance = "our-h100-box"\nusd_per_hour = "2.10"\n')
    (price,) = user_file.read(path).prices
    assert price == own(instance="our-h100-box", source="prices.toml")
    assert (price.provider, price.service, price.region, price.price_model) == ("own", "", "", "on_demand")
    assert price.as_of == price.accelerator == ""
    assert (price.accelerator_count, price.vcpus, price.memory_gib) == (None, None, None)
    assert str(price.usd_per_hour) == "2.10"


def test_user_price_may_say_everything(tmp_path: Path) -> None:
    fields = {
        "provider": "lab",
        "service": "rack",
        "instance": "our-h100-box",
        "region": "cellar",
        "accelerator": "H100",
        "accelerator_count": 4,
        "vcpus": 64,
        "memory_gib": Decimal("511.5"),
        "price_model": "committed_3y",
        "usd_per_hour": Decimal("8.40"),
        "as_of": "2026-11-01",
        "source": "invoice 7",
    }
    assert tuple(fields) == book.COLUMNS
    lines = [f"{name} = {value!r}" if isinstance(value, str) else f"{name} = {value}" for name, value in fields.items()]
    (price,) = user_file.read(str(written(tmp_path, "\n".join(["\ufeff[[price]]", *lines])))).prices
    assert price == own(**fields)
    assert price.usd_per_hour_share == Decimal("2.1")


@pytest.mark.parametrize(
    ("toml", "digits"),
    [('"2.10"', "2.10"), ("2.10", "2.10"), ("3", "3"), ("0.1", "0.1"), ("2e-3", "0.002"), ("1_000.5", "1000.5")],
)
def test_a_price_keeps_the_digits_that_were_written(tmp_path: Path, toml: str, digits: str) -> None:
    (price,) = user_file.read(written(tmp_path, f"[[price]]\ninstance = 'box'\nusd_per_hour = {toml}\n")).prices
    assert str(price.usd_per_hour) == digits


def test_a_date_may_stand_without_quotes(tmp_path: Path) -> None:
    (price,) = user_file.read(written(tmp_path, "[[price]]\ninstance='box'\nusd_per_hour=1\nas_of=2026-11-01\n")).prices
    assert price.as_of == "2026-11-01"


@pytest.mark.parametrize("usd", ["-1", "0", "0.0", "-0.0", "nan", "inf", "-inf", '"NaN"', '"-inf"', '"sNaN"', "1e7"])
def test_a_price_out_of_range_is_named(tmp_path: Path, usd: str) -> None:
    path = written(tmp_path, f"[[price]]\ninstance = 'box'\nusd_per_hour = {usd}\n")
    with pytest.raises(BenchError, match=r"prices\.toml: price\[0\]\.usd_per_hour: wanted .* found "):
        user_file.read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("usd_per_hour = 'much'", r"\$\.price\[1\]\.usd_per_hour"),
        ("usd_per_hour = true", r"\$\.price\[1\]\.usd_per_hour"),
        ("usd_per_hour = [1]", r"\$\.price\[1\]\.usd_per_hour"),
        ("", r"missing required field `usd_per_hour` - at `\$\.price\[1\]`"),
        ("usd_per_hour = 1\nhourly = 2", r"unknown field `hourly` - at `\$\.price\[1\]`"),
        ("usd_per_hour = 1\nvcpus = -1", r"\$\.price\[1\]\.vcpus"),
        ("usd_per_hour = 1\nvcpus = 8.0", r"\$\.price\[1\]\.vcpus"),
        ("usd_per_hour = 1\naccelerator_count = '8'", r"\$\.price\[1\]\.accelerator_count"),
        ("usd_per_hour = 1\nregion = 7", r"\$\.price\[1\]\.region"),
        ("usd_per_hour = 1\nregion = 'a\\nb'", None),  # a literal string: backslash and n, a good name
        ('usd_per_hour = 1\nregion = "a\\nb"', r"price\[1\]\.region: wanted one line"),
        ("usd_per_hour = 1\nmemory_gib = nan", r"price\[1\]\.memory_gib"),
        ("usd_per_hour = 1\nmemory_gib = 0", r"price\[1\]\.memory_gib"),
        ("usd_per_hour = 1\nprice_model = 'hourly'", r"price\[1\]\.price_model: .*on_demand, spot, .*'hourly'"),
        ("usd_per_hour = 1\nas_of = '2026-02-30'", r"price\[1\]\.as_of"),
        ("usd_per_hour = 1\nas_of = '20261101'", r"price\[1\]\.as_of"),
        ("usd_per_hour = 1\nas_of = 'yesterday'", r"price\[1\]\.as_of"),
        ("usd_per_hour = 1\nas_of = 2026-11-01T10:00:00", r"price\[1\]\.as_of"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(tmp_path: Path, line: str, message: str | None) -> None:
    text = f"[[price]]\ninstance = 'good'\nusd_per_hour = 1\n[[price]]\ninstance = 'box'\n{line}\n"
    path = written(tmp_path, text)
    if message is None:
        assert len(user_file.read(path).prices) == 2
        return
    with pytest.raises(BenchError, match=message) as caught:
        user_file.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"found none"),
        (b"price = []", r"found none"),
        (b"price = 5", r"\$\.price"),
        (b"[price]\ninstance = 'box'\nusd_per_hour = 1", r"\$\.price"),
        (b"[[prices]]\ninstance = 'box'\nusd_per_hour = 1", r"unknown field `prices`"),
        (b"[[price]]\nusd_per_hour = 1", r"missing required field `instance` - at `\$\.price\[0\]`"),
        (b"[[price]]\nusd_per_hour = 1\ninstance = ' '", r"price\[0\]\.instance"),
        (b"[[price]]\nusd_per_hour = 1\ninstance = ''\nprice_model = ''", r"price\[0\]\.instance"),
        (b"[[price]]\ninstance = 'box'\nusd_per_hour = \n", r"line 3"),
        (b"[[price]]\ninstance = 'box'\ninstance = 'box'\nusd_per_hour = 1", r"line 3"),
        (b"[[price]]\nusd_per_hour = 1e99999999999999999999", r"wanted TOML"),
        (b"a = " + b"[" * 20_000, r"wanted TOML"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", r"wanted TOML in UTF-8"),
        (b"\x00\x00", r"wanted TOML"),
    ],
)
def test_a_file_that_is_no_price_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(BenchError, match=message) as caught:
        user_file.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(BenchError, match="cannot be read") as caught:
            user_file.read(path)
        assert str(path) in str(caught.value)


def test_a_repeated_price_is_refused_and_one_that_differs_in_its_key_is_not(tmp_path: Path) -> None:
    row = "[[price]]\ninstance = 'box'\nusd_per_hour = 1\n"
    path = written(tmp_path, row + row + "price_model = 'spot'\n" + row + "region = 'cellar'\n")
    assert len(user_file.read(path).prices) == 3
    written(tmp_path, row + row + "price_model = 'spot'\n" + row + "vcpus = 8\n")
    with pytest.raises(BenchError, match=r"price\[2\]: .* price\[0\] again"):
        user_file.read(path)


# --- which price applies ----------------------------------------------------------------------------------------------


def test_the_users_row_wins_where_it_fits() -> None:
    mine = own(instance="p5.48xlarge")
    assert find("p5.48xlarge", user=[mine]) is mine
    assert find("p5.48xlarge", user=iter([mine])) is mine
    assert find("p5.48xlarge", region="us-east-1", service="ec2", user=[mine]) is mine
    assert find("p5.48xlarge", price_model="spot", user=[mine]).provider == "aws"
    assert find("p4d.24xlarge", user=[mine]).provider == "aws"
    assert find("box", user=[mine, own()]) == own()


def test_a_users_row_that_names_the_region_wins_over_an_open_one() -> None:
    anywhere, east, west = (own(region=region) for region in ("", "east", "west"))
    rows = [anywhere, east, west]
    assert find("box", region="west", user=rows) is west
    assert find("box", region="north", user=rows) is anywhere
    assert find("box", region="", user=rows) is anywhere
    with pytest.raises(BenchError, match=r"no stated region.*in east.*in west.*say which"):
        find("box", user=rows)
    with pytest.raises(BenchError, match=r"no price on_demand in north for 'box'; there are .*east.*west"):
        find("box", region="north", user=[east, west])


def test_several_services_are_never_chosen_between() -> None:
    several = Counter(p.instance for p in book.bundled() if p.price_model == "on_demand")
    assert {name for name, count in several.items() if count > 1} == {
        "a3-highgpu-8g",
        "Standard_NC4as_T4_v3",
        "Standard_NC24ads_A100_v4",
        "Standard_ND96isr_H100_v5",
    }
    with pytest.raises(BenchError, match=r"gcp compute\) at 88\.489999903 .*vertex-ai-training\) at 101\.007352 "):
        find("a3-highgpu-8g")
    assert find("a3-highgpu-8g", service="compute").usd_per_hour == Decimal("88.489999903")
    for name in ("vertex-ai-training", *book.SERVICE_ALIASES):
        assert find("a3-highgpu-8g", service=name).usd_per_hour == Decimal("101.007352")
    assert find("a3-highgpu-8g", price_model="spot").service == "compute"


def test_a_users_service_may_carry_any_of_its_names() -> None:
    mine = own(service="ai-platform")
    assert find("box", service="vertex-ai", user=[mine]) is mine


@pytest.mark.parametrize(("name", "nearest"), [("p5.48xlrge", "p5.48xlarge"), ("P5.48XLARGE", "p5.48xlarge")])
def test_an_unknown_instance_is_answered_with_the_nearest_names(name: str, nearest: str) -> None:
    with pytest.raises(BenchError, match=rf"no price for instance '{name}'; the nearest names are {nearest}"):
        find(name)


def test_the_nearest_names_count_the_users_own_and_may_be_none() -> None:
    with pytest.raises(BenchError, match="nearest names are Our-H100-box"):
        find("our-h100-bx", user=[own(instance="Our-H100-box")])
    for name in ("", "qqqqqq"):
        with pytest.raises(BenchError, match="nearest names are none"):
            find(name)


def test_an_instance_that_is_not_sold_so_is_answered_with_how_it_is() -> None:
    with pytest.raises(BenchError, match=r"no price on_demand for 'p5e.48xlarge'; there are spot in us-east-2 \(aws"):
        find("p5e.48xlarge")
    with pytest.raises(BenchError, match=r"no price on_demand in mars for 'p5\.48xlarge'; .*on_demand in us-east-1"):
        find("p5.48xlarge", region="mars")
    with pytest.raises(BenchError, match=r"calendar for 'p5\.48xlarge'; .*on_demand.*spot.*committed_3y"):
        find("p5.48xlarge", price_model="calendar")
    with pytest.raises(BenchError, match=r"from sagemaker for 'p5\.48xlarge'; .*aws ec2"):
        find("p5.48xlarge", service="sagemaker")


def test_of_many_offers_a_few_are_named_the_nearest_region_first() -> None:
    rows = [own(region=f"{area}-{n}") for area in ("eu-west", "us-east", "ap-south") for n in range(1, 6)]
    with pytest.raises(BenchError, match=r"there are on_demand in us-east-\d .* and 7 more; ask for one") as caught:
        find("box", region="us-east-9", user=rows)
    assert str(caught.value).count("on_demand in") == 1 + book.MOST_NAMED
    with pytest.raises(BenchError, match=r"found on_demand in eu-west-1 .* and 7 more; say which service or region"):
        find("box", user=rows)


def test_a_book_in_place_of_the_bundled_one_is_the_only_one() -> None:
    rows = (own(instance="p5.48xlarge"),)
    assert find("p5.48xlarge", bundle=rows) is rows[0]
    mine = own(instance="p5.48xlarge", region="cellar")
    assert find("p5.48xlarge", user=[mine], bundle=rows) is mine
    with pytest.raises(BenchError, match=r"no price for instance 'g5\.xlarge'"):
        find("g5.xlarge", bundle=rows)


def test_a_bundled_row_without_region_does_not_stand_for_one() -> None:
    assert find("ml.p3.2xlarge").region == ""
    with pytest.raises(BenchError, match=r"no stated region"):
        find("ml.p3.2xlarge", region="us-west-2")


def test_an_unknown_price_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        BenchError, match="no price model 'reserved'; there are on_demand, spot, capacity_block, calend"
    ):
        find("p5.48xlarge", price_model="reserved")


# --- a price on the command line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "digits"), [("2.1", "2.1"), ("2.10", "2.10"), (" 3 ", "3"), ("1e-3", "0.001")])
def test_hourly_keeps_its_digits(text: str, digits: str) -> None:
    price = book.hourly(text)
    assert (price.instance, price.price_model, price.source) == ("", "", "command line")
    assert str(price.usd_per_hour) == digits
    assert price.usd_per_hour_share is None


@pytest.mark.parametrize(
    "text", ["", "much", "2,1", "$2", "0", "-0", "-2", "nan", "-nan", "snan", "inf", "1e9", "1e-9"]
)
def test_hourly_refuses(text: str) -> None:
    with pytest.raises(BenchError, match="found") as caught:
        book.hourly(text)
    assert "USD" in str(caught.value)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def test_share_divides_exactly_and_needs_a_count() -> None:
    assert own(accelerator_count=8, usd_per_hour=Decimal("55.04")).usd_per_hour_share == Decimal("6.88")
    assert own(accelerator_count=0).usd_per_hour_share is None
    assert own(accelerator_count=None).usd_per_hour_share is None


prices_in_usd = st.decimals("0.000001", "1000000", places=6)


@given(prices_in_usd, st.integers(1, 72))
def test_shares_add_up_to_the_whole(usd: Decimal, count: int) -> None:
    share = own(usd_per_hour=usd, accelerator_count=count).usd_per_hour_share
    assert share is not None
    assert abs(Fraction(share) * count - Fraction(usd)) <= Fraction(usd) / 10**26


# --- age --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price_model", "days", "expected"),
    [
        ("on_demand", -1, ""),
        ("on_demand", 0, ""),
        ("on_demand", 90, ""),
        ("on_demand", 91, "old"),
        ("on_demand", 365, "old"),
        ("on_demand", 366, "stale"),
        ("committed_3y", 90, ""),
        ("spot", 7, ""),
        ("spot", 8, "old"),
        ("spot", 365, "old"),
        ("spot", 366, "stale"),
    ],
)
def test_staleness(price_model: str, days: int, expected: str) -> None:
    price = own(price_model=price_model, as_of="2026-03-01")
    on = date(2026, 3, 1) + timedelta(days=days)
    assert book.age_days(price, on) == days
    assert book.staleness(price, on) == expected


@pytest.mark.parametrize(
    ("days", "note"),
    [
        (90, ""),
        (91, "the price of box is 91 days old (as of 2026-03-01): check it before you decide by it"),
        (366, "the price of box is 366 days old (as of 2026-03-01): its costs are marked ~"),
    ],
)
def test_the_note_on_an_old_price_says_its_age_in_days(days: int, note: str) -> None:
    assert book.age_note(own(as_of="2026-03-01"), date(2026, 3, 1) + timedelta(days=days)) == note


def test_the_note_on_an_undated_price_says_that_it_is() -> None:
    assert (
        book.age_note(own(), date(2026, 3, 1))
        == "the price of box is undated: its costs are marked ~; give its row an as_of"
    )
    assert book.age_note(book.hourly("2.1"), date(2026, 3, 1)) == ""


def test_undated_is_stale_but_a_price_given_right_now_is_not() -> None:
    assert book.age_days(own(), date(2026, 3, 1)) is None
    assert book.staleness(own(), date(2026, 3, 1)) == "stale"
    assert book.staleness(book.hourly("2.1"), date(2026, 3, 1)) == ""


# --- the rows used, beside the results --------------------------------------------------------------------------------

words = st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=' ,"'), max_size=12).filter(
    str.isprintable
)
counts = st.none() | st.integers(0, 10**6)
any_price = st.builds(
    Price,
    provider=words,
    service=words,
    instance=words,
    region=words,
    accelerator=words,
    accelerator_count=counts,
    vcpus=counts,
    memory_gib=st.none() | st.decimals("0.001", "100000"),
    price_model=st.sampled_from(book.PRICE_MODELS),
    usd_per_hour=st.decimals("0.000001", "1000000"),
    as_of=st.just("") | st.dates().map(str),
    source=words,
)


@given(st.lists(any_price, max_size=4))
def test_rows_used_come_back_in_every_digit(prices: list[Price]) -> None:
    with TemporaryDirectory() as folder:
        first, second = Path(folder, "prices.csv"), Path(folder, "again.csv")
        book.write_used(first, prices)
        found = book.read_used(first)
        assert found == tuple(prices)
        assert [str(p.usd_per_hour) for p in found] == [str(p.usd_per_hour) for p in prices]
        book.write_used(second, found)
        assert first.read_bytes() == second.read_bytes()


def test_the_bundled_book_is_written_as_it_is_shipped(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    book.write_used(path, book.bundled())
    with path.open(newline="") as mine, (FOLDER / "prices.csv").open(newline="") as shipped:
        assert list(csv.reader(mine)) == list(csv.reader(shipped))


def test_a_command_line_price_is_written_and_read(tmp_path: Path) -> None:
    book.write_used(tmp_path / "prices.csv", [book.hourly("2.10")])
    assert book.read_used(tmp_path / "prices.csv") == (book.hourly("2.10"),)


HEADER = ",".join(book.COLUMNS)
GOOD = "own,,box,,H100,1,8,64,on_demand,2.10,2026-11-01,invoice"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "wanted the columns"),
        (GOOD, "wanted the columns"),
        (f"{HEADER},more\n{GOOD},x", "wanted the columns"),
        (f"{HEADER}\n\n{GOOD}", "row 2: wanted 12 cells, found 0"),
        (f"{HEADER}\n{GOOD}\n{GOOD},x", "row 3: wanted 12 cells, found 13"),
        (f'{HEADER}\n"own', "wanted CSV"),
        (f"{HEADER}\n{GOOD.replace('2.10', 'much')}", r"row 2: .*usd_per_hour"),
        (f"{HEADER}\n{GOOD.replace('2.10', '')}", r"row 2: .*usd_per_hour"),
        (f"{HEADER}\n{GOOD.replace('2.10', '-1')}", r"row 2\.usd_per_hour"),
        (f"{HEADER}\n{GOOD.replace('2.10', 'nan')}", r"row 2\.usd_per_hour"),
        (f"{HEADER}\n{GOOD.replace(',8,', ',eight,')}", r"row 2: .*vcpus"),
        (f"{HEADER}\n{GOOD.replace('2026-11-01', '1.11.2026')}", r"row 2\.as_of"),
        (f"{HEADER}\n{GOOD.replace('on_demand', '')}", r"row 2\.price_model"),
        (f"{HEADER}\n{GOOD.replace('invoice', chr(34) + 'a' + chr(10) + 'b' + chr(34))}", r"row 2\.source"),
        (b"\xff\xfe\x00", "wanted CSV in UTF-8"),
    ],
)
def test_rows_used_that_were_damaged_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BenchError, match=message) as caught:
        book.read_used(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_used_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot be read"):
        book.read_used(tmp_path / "none.csv")
    with pytest.raises(BenchError, match="cannot write") as caught:
        book.write_used(tmp_path / "none" / "prices.csv", [])
    assert caught.value.exit_code == 74
