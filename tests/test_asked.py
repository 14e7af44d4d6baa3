"""Which price a command line asks for: its own number, then the user's file, then the bundled book, then none."""

from decimal import Decimal
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.prices import asked, book
from bench.prices.asked import Asked, price

BUNDLED = "p5.48xlarge"  # in the book, at 55.04 USD on demand


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_file(path: Path, usd: str, instance: str = BUNDLED) -> Path:
    path.write_text(f'[[price]]\ninstance = "{instance}"\nusd_per_hour = {usd}\n')
    return path


def test_no_price_is_asked_for() -> None:
    assert price(Asked()) is None


def test_a_price_file_alone_asks_for_nothing(here: Path) -> None:
    own_file(here / "prices.toml", "1.5")
    assert price(Asked()) is None


def usd(asked: Asked) -> Decimal:
    found = price(asked)
    assert found is not None
    return found.usd_per_hour


def test_each_source_wins_over_the_next(here: Path) -> None:
    assert usd(Asked(BUNDLED)) == Decimal("55.04")
    own_file(here / "prices.toml", "1.5")
    assert usd(Asked(BUNDLED)) == Decimal("1.5")
    other = own_file(here / "other.toml", "1.25")
    assert usd(Asked(BUNDLED, prices=other)) == Decimal("1.25")
    assert usd(Asked(BUNDLED, prices=other, price_per_hour="2.10")) == Decimal("2.10")
    assert usd(Asked(price_per_hour="2.10")) == Decimal("2.10")


def test_an_own_file_that_lacks_the_instance_leaves_it_to_the_book(here: Path) -> None:
    own_file(here / "prices.toml", "1.5", "lab-box")
    assert usd(Asked(BUNDLED)) == Decimal("55.04")
    assert usd(Asked("lab-box")) == Decimal("1.5")


def test_the_price_model_chooses() -> None:
    assert usd(Asked(BUNDLED, price_model="spot")) == Decimal("19.4933")


def test_the_file_in_the_folder_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    assert Path("prices.toml") == asked.OWN_FILE
    monkeypatch.setattr(asked, "OWN_FILE", own_file(here / "mine.toml", "1.75"))
    assert usd(Asked(BUNDLED)) == Decimal("1.75")


@pytest.mark.parametrize("digits", ["2.1", "2.10", "0.000001", "1000000", "1e3"])
def test_an_hourly_price_keeps_its_digits(digits: str) -> None:
    found = price(Asked(price_per_hour=digits))
    assert found is not None and found.from_command_line
    assert str(found.usd_per_hour) == str(Decimal(digits))
    assert found.source == book.COMMAND_LINE


@pytest.mark.parametrize("text", ["-1", "-0.01", "0", "nan", "NaN", "inf", "-inf", "", "two", "2,10", "$2", "1e99"])
def test_an_hourly_price_must_be_one(text: str) -> None:
    with pytest.raises(BenchError) as caught:
        price(Asked(price_per_hour=text))
    assert caught.value.exit_code == 2
    assert "wanted" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "flag"),
    [
        (Asked(region="us-east-1"), "--region"),
        (Asked(service="ec2"), "--service"),
        (Asked(prices=Path("mine.toml")), "--prices"),
        (Asked(price_model="spot"), "--price-model"),
    ],
)
def test_a_flag_that_chooses_nothing(asked: Asked, flag: str) -> None:
    with pytest.raises(BenchError, match=f"{flag} wants an --instance"):
        price(asked)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked("p5.48xlargo"), ["no price for instance 'p5.48xlargo'", BUNDLED]),
        (Asked(BUNDLED, price_model="cheap"), ["no price model 'cheap'", "on_demand"]),
        (Asked(BUNDLED, region="the-moon-1"), ["the-moon-1", "there are"]),
        (Asked(BUNDLED, service="nobody"), ["nobody", "there are"]),
        (Asked(BUNDLED, prices=Path("nowhere.toml")), ["nowhere.toml", "No such file"]),
        (Asked(BUNDLED, prices=Path(".")), ["cannot be read"]),
        (Asked(""), ["no price for instance"]),
    ],
)
def test_a_price_that_does_not_exist(asked: Asked, words: list[str]) -> None:
    with pytest.raises(BenchError) as caught:
        price(asked)
    assert caught.value.exit_code == 2
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["[[price]]\ninstance = 3\n", "nonsense", "", '[[price]]\ninstance = "a"\n'])
def test_a_bad_own_file_is_named(here: Path, text: str) -> None:
    (here / "prices.toml").write_text(text)
    with pytest.raises(BenchError, match=r"prices\.toml"):
        price(Asked(BUNDLED))
