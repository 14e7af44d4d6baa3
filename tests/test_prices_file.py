"""The user's prices.toml beyond plain prices: the standing choice, other currencies, own hardware, another book."""

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.prices import book, user_file
from bench.prices.hardware import DIGITS, HOURS_A_YEAR, Hardware, amortised
from bench.prices.user_file import Choice, UserFile

Read = Callable[[str], UserFile]
BOX = "[[price]]\ninstance = 'box'\n"
EURO = BOX + "currency = 'EUR'\nper_hour = 2.00\nusd_per_unit = 1.08\nrate_as_of = '2026-11-01'\n"
LAB = (
    "[[hardware]]\ninstance = 'lab'\npurchase_usd = 250000\nyears = 4\nshare_used = 0.7\nkw = 10.2\n"
    "usd_per_kwh = 0.18\naccelerator = 'H100'\naccelerator_count = 8\nas_of = '2026-11-01'\n"
)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str) -> UserFile:
        (tmp_path / "prices.toml").write_text(text)
        return user_file.read(tmp_path / "prices.toml")

    return read


def refused(read: Read, text: str, message: str) -> None:
    """One line that names the file and says what was wanted, found and to be done."""
    with pytest.raises(BenchError, match=message) as caught:
        read(text)
    said = str(caught.value)
    assert "prices.toml" in said and "\n" not in said
    assert caught.value.exit_code == 2


# --- the standing choice ----------------------------------------------------------------------------------------------


def test_a_file_may_be_a_choice_alone(read: Read, tmp_path: Path) -> None:
    found = read('instance = "m7i.4xlarge"\n')
    assert found == UserFile(choice=Choice("m7i.4xlarge"), path=tmp_path / "prices.toml")


def test_a_choice_says_which_price(read: Read) -> None:
    found = read("instance='a3-highgpu-8g'\nservice='vertex-ai'\nregion='us-central1'\nprice_model='spot'\n" + EURO)
    assert found.choice == Choice("a3-highgpu-8g", "vertex-ai", "us-central1", "spot")
    assert len(found.prices) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("region = 'us-east-1'\n", "region wants an instance beside it"),
        ("price_model = 'spot'\n" + BOX + "usd_per_hour = 1\n", "price_model wants an instance"),
        ("instance = ' '\n", "instance: wanted a name, found ' '"),
        ("instance = 7\n", r"\$\.instance"),
        ("instance = 'box'\nprice_model = 'cheap'\n", "price_model: wanted one of on_demand, .*, found 'cheap'"),
        ("instance = 'box'\ncolour = 'red'\n", "unknown field `colour`"),
        ("", "wanted an instance, a book, a .*found none"),
        ("price = []\nhardware = []\n", "found none"),
    ],
)
def test_a_choice_that_is_none(read: Read, text: str, message: str) -> None:
    refused(read, text, message)


# --- other currencies -------------------------------------------------------------------------------------------------


def test_a_price_in_euros(read: Read) -> None:
    (price,) = read(EURO).prices
    assert str(price.usd_per_hour) == "2.1600"
    assert price.source == "prices.toml; 2.00 EUR/h at 1.08 USD of 2026-11-01"
    assert price.as_of == ""  # of which day the price is, nobody said


def test_a_price_in_euros_keeps_its_source_and_is_as_old_as_its_older_half(read: Read) -> None:
    for as_of, oldest in (("2026-11-20", "2026-11-01"), ("2026-10-01", "2026-10-01")):
        (price,) = read(EURO + f"source = 'invoice 7'\nas_of = {as_of}\n").prices
        assert price.source == "invoice 7; 2.00 EUR/h at 1.08 USD of 2026-11-01"
        assert price.as_of == oldest


def test_dollars_may_be_named(read: Read) -> None:
    (price,) = read(BOX + "currency = 'USD'\nusd_per_hour = 2.10\n").prices
    assert (str(price.usd_per_hour), price.source) == ("2.10", "prices.toml")


amounts = st.decimals("0.001", "900", places=9)


@given(amounts, amounts)
def test_a_conversion_is_exact(per_hour: Decimal, rate: Decimal) -> None:
    with TemporaryDirectory() as folder, localcontext() as context:
        context.prec = 3  # whatever the caller's own precision is
        path = Path(folder, "prices.toml")
        path.write_text(BOX + f"currency='JPY'\nper_hour='{per_hour}'\nusd_per_unit='{rate}'\nrate_as_of=2026-11-01\n")
        (price,) = user_file.read(path).prices
        assert Fraction(price.usd_per_hour) == Fraction(per_hour) * Fraction(rate)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("usd_per_unit = 1.08\n", "", r"price\[0\]: a price in EUR wants .* found no usd_per_unit; add it"),
        ("rate_as_of = '2026-11-01'\n", "", "found no rate_as_of; add it"),
        ("per_hour = 2.00\nusd_per_unit = 1.08\nrate_as_of = '2026-11-01'\n", "usd_per_hour = 2.16\n", "found no per_"),
        ("per_hour = 2.00\n", "per_hour = 2.00\nusd_per_hour = 2.16\n", "found both; leave one out"),
        ("'EUR'", "'USD'", r"currency: wanted three letters .* found 'USD'; a price in USD is usd_per_hour alone"),
        ("'EUR'", "'euro'", "found 'euro'"),
        ("currency = 'EUR'\n", "", "found ''"),
        ("'EUR'", "7", r"price\[0\]: .*currency"),
        ("2.00", "nan", r"price\[0\]\.per_hour: wanted .* found NaN"),
        ("2.00", "-2", r"per_hour: wanted .* found -2"),
        ("2.00", "'two'", r"price\[0\]: .*per_hour"),
        ("1.08", "0", "usd_per_unit: wanted .* found 0"),
        ("1.08", "inf", "usd_per_unit: wanted .* found Infinity"),
        ("'2026-11-01'", "'yesterday'", "rate_as_of: wanted a date .* found 'yesterday'"),
        ("'2026-11-01'", "''", "rate_as_of: wanted a date .* found ''"),
        ("2.00", "999999", r"price\[0\]\.usd_per_hour: wanted .* USD, found 1079998\.92"),
        ("per_hour = 2.00\nusd_per_unit = 1.08", "per_hour = 350\nusd_per_unit = 2", "catalogues write"),
    ],
)
def test_a_price_in_another_currency_that_is_none(read: Read, old: str, new: str, message: str) -> None:
    assert old in EURO
    refused(read, EURO.replace(old, new), message)


# --- what is no price -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("usd", ["700", "700.0", "7e2"])
def test_a_placeholder_is_refused_with_the_reason(read: Read, usd: str) -> None:
    refused(read, BOX + f"usd_per_hour = {usd}\n", r"price\[0\]\.usd_per_hour: .* a price that they do not know; give")


def test_a_price_beside_the_placeholder_is_one(read: Read) -> None:
    assert len(read(BOX + "usd_per_hour = 700.01\n").prices) == 1


def test_spot_above_on_demand_is_refused(read: Read) -> None:
    spot = BOX + "price_model = 'spot'\nusd_per_hour = "
    on_demand = BOX + "usd_per_hour = 2\n"
    assert len(read(on_demand + spot + "2\n").prices) == 2
    refused(read, on_demand + spot + "2.01\n", r"price\[1\]: wanted a spot price of up to 2 USD/h, .*price\[0\], found")
    assert len(read(on_demand + spot + "2.01\nregion = 'cellar'\n").prices) == 2  # of another region


# --- own hardware -----------------------------------------------------------------------------------------------------


def test_own_hardware_is_a_price(read: Read) -> None:
    (price,) = read(LAB).prices
    # 250 000 / (4 x 8760 x 0.7) = 10.19243313..., and 10.2 kW x 0.18 = 1.836
    assert str(price.usd_per_hour) == "12.0284331376"
    assert (price.provider, price.service, price.region, price.price_model) == ("own", "", "", "amortised")
    assert (price.instance, price.accelerator, price.accelerator_count) == ("lab", "H100", 8)
    assert price.as_of == "2026-11-01"
    assert price.source == "250000 USD over 4 years, 0.7 of the hours used, 10.2 kW at 0.18 USD/kWh"
    assert price.usd_per_hour_share == price.usd_per_hour / 8


def test_half_the_use_is_twice_the_price() -> None:
    def usd(share: str) -> Decimal:
        bought = Hardware(
            instance="lab", purchase_usd=Decimal(8760), years=Decimal(1), share_used=Decimal(share), source="bill"
        )
        found = amortised(bought, "here")
        assert found.source == f"bill; 8760 USD over 1 years, {share} of the hours used"
        return found.usd_per_hour

    assert (usd("1"), usd("0.5"), usd("0.25")) == (1, 2, 4)


@given(
    st.decimals("1", "1000000", places=2),
    st.decimals("0.5", "10", places=1),
    st.decimals("0.01", "1", places=2),
    st.none() | st.tuples(st.decimals("0.1", "100", places=2), st.decimals("0.01", "2", places=4)),
)
def test_an_amortised_price_is_rounded_once(
    purchase: Decimal, years: Decimal, share: Decimal, current: tuple[Decimal, Decimal] | None
) -> None:
    kw, per_kwh = current or (None, None)
    bought = Hardware(instance="lab", purchase_usd=purchase, years=years, share_used=share, kw=kw, usd_per_kwh=per_kwh)
    found = amortised(bought, "here").usd_per_hour
    exact = Fraction(purchase) / (Fraction(years) * HOURS_A_YEAR * Fraction(share))
    if kw is not None and per_kwh is not None:
        exact += Fraction(kw) * Fraction(per_kwh)
    assert abs(Fraction(found) - exact) * 2 <= Fraction(10) ** (found.adjusted() + 1 - DIGITS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("years = 4", "years = 0", r"hardware\[0\]\.years: wanted 0\.01 to 50 years, found 0; correct it"),
        ("years = 4", "years = -4", "years: wanted .* found -4"),
        ("years = 4", "years = nan", "years: wanted .* found NaN"),
        ("years = 4", "years = 'four'", r"\$\.hardware\[0\]\.years"),
        ("years = 4\n", "", "missing required field `years`"),
        ("share_used = 0.7", "share_used = 1.01", "share_used: wanted .* to 1 of all hours, found 1.01"),
        ("share_used = 0.7", "share_used = 0", "share_used: wanted .* found 0"),
        ("share_used = 0.7", "share_used = 70", "share_used: wanted .* found 70"),
        ("purchase_usd = 250000", "purchase_usd = -1", "purchase_usd: wanted .* USD, found -1"),
        ("purchase_usd = 250000", "purchase_usd = inf", "purchase_usd: wanted .* found Infinity"),
        ("purchase_usd = 250000", "purchase_usd = 1e12", "purchase_usd: wanted .* found 1E"),
        ("purchase_usd = 250000", "purchase_usd = true", r"\$\.hardware\[0\]\.purchase_usd"),
        ("kw = 10.2\n", "", "wanted kw and usd_per_kwh together, found usd_per_kwh alone; add kw"),
        ("usd_per_kwh = 0.18\n", "", "found kw alone; add usd_per_kwh"),
        ("kw = 10.2", "kw = 0", "kw: wanted .* kW, found 0"),
        ("'lab'", "' '", r"hardware\[0\]\.instance: wanted a name"),
        ("accelerator_count = 8", "accelerator_count = -8", "accelerator_count"),
        ("'2026-11-01'", "'soon'", "as_of: wanted a date"),
        ("years = 4", "years = 0.01\nprice = 3", "unknown field `price`"),
        ("250000\nyears = 4\nshare_used = 0.7", "999999999\nyears = 0.01\nshare_used = 0.001", "usd_per_hour: wanted"),
    ],
)
def test_hardware_that_is_none(read: Read, old: str, new: str, message: str) -> None:
    assert old in LAB
    refused(read, LAB.replace(old, new), message)


def test_hardware_named_twice_is_refused(read: Read) -> None:
    refused(read, LAB + LAB, r"hardware\[1\]: .* found those of hardware\[0\] again")
    both = LAB + "[[price]]\ninstance = 'lab'\nusd_per_hour = 3\n"
    with pytest.raises(BenchError, match=r"wanted one price of 'lab', found .* say which price model"):
        book.find("lab", user=read(both).prices)


# --- another book -----------------------------------------------------------------------------------------------------


def test_another_book_lies_beside_the_file(read: Read, tmp_path: Path) -> None:
    book.save_book(tmp_path / "mine", book.bundled()[:3], 'a "made up" one', date(2026, 11, 1))
    found = read('book = "mine"\n')
    assert found.book == book.bundled()[:3]
    assert found.choice is None and found.prices == ()
    manifest = (tmp_path / "mine" / "manifest.toml").read_text()
    assert "date = 2026-11-01" in manifest and "rows = 3" in manifest
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["manifest.toml", "prices.csv"]


def test_another_book_that_is_none(read: Read, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"manifest\.toml: cannot be read"):
        read('book = "nowhere"\n')
    refused(read, "book = 7\n", r"\$\.book")
    book.save_book(tmp_path / "mine", book.bundled()[:3], "made up", date(2026, 11, 1))
    with (tmp_path / "mine" / "prices.csv").open("a") as file:
        file.write("half a row")
    with pytest.raises(BenchError, match=r"prices\.csv: wanted sha256"):
        read('book = "mine"\n')


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_page_are_read(read: Read) -> None:
    page = (ROOT / "docs/prices.md").read_text()
    examples = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    kinds = [read(example) for example in examples]
    assert [found.choice is not None for found in kinds] == [True, False, False]
    said = page.replace(",", "")
    for found in kinds:
        for price in found.prices:
            assert f"{price.usd_per_hour:f}" in said, "the page says another price than its example comes to"


def test_the_page_names_every_key_of_hardware_and_of_a_currency() -> None:
    page = (ROOT / "docs/prices.md").read_text()
    for key in (*Hardware.__struct_fields__, *user_file.CURRENCY, *Choice.__struct_fields__):
        assert key in page, key
