"""Which price a command line asks for: its own number, then the user's file, then the bundled book, then none."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.errors import BenchError
from bench.machine import Gpu, Machine
from bench.prices import asked, book
from bench.prices.asked import Asked, choose
from bench.prices.book import Price

BUNDLED = "p5.48xlarge"  # in the book, at 55.04 USD on demand
CPU = Machine("Testor 9000", 4, 8, 16.0, (), "Testix 1", "6.1", "3.11.7", "")
H100 = Gpu("NVIDIA H100 80GB HBM3", 81559, "570.1")
B300 = Gpu("NVIDIA B300 SXM6 AC", 275_000, "580.1")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def price(asked: Asked) -> Price | None:
    return choose(asked).price


def of(*gpus: Gpu, instance: str = "") -> Machine:
    return replace(CPU, gpus=gpus, instance=instance)


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
    assert usd(Asked(prices=other, price_per_hour="2.10")) == Decimal("2.10")


@pytest.mark.parametrize(
    ("asked", "flag"),
    [(Asked(BUNDLED), "instance"), (Asked(region="us-east-1"), "region"), (Asked(price_model="spot"), "price-model")],
)
def test_two_flags_that_both_say_the_price(asked: Asked, flag: str) -> None:
    with pytest.raises(BenchError, match=f"--{flag} and --price-per-hour both say the price"):
        price(replace(asked, price_per_hour="2.10"))


def test_a_spot_price_of_ones_own_is_held_against_the_book(here: Path) -> None:
    row = f'[[price]]\nprovider = "aws"\nservice = "ec2"\ninstance = "{BUNDLED}"\nregion = "us-east-1"\n'
    (here / "prices.toml").write_text(row + 'price_model = "spot"\nusd_per_hour = 99\n')
    with pytest.raises(BenchError, match=r"up to 55\.04 USD/h, its on-demand price in the book, found 99"):
        price(Asked(BUNDLED))
    (here / "prices.toml").write_text(row + 'price_model = "spot"\nusd_per_hour = 19\n')
    assert usd(Asked(BUNDLED, price_model="spot")) == Decimal("19")


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
        (Asked(price_model="spot"), "--price-model"),
    ],
)
def test_a_flag_that_chooses_nothing(asked: Asked, flag: str) -> None:
    with pytest.raises(BenchError, match=f"{flag} wants an --instance"):
        price(asked)


def test_a_price_file_without_a_choice_chooses_nothing(here: Path) -> None:
    mine = own_file(here / "mine.toml", "1.5")
    for machine in (None, CPU):
        with pytest.raises(BenchError, match="--prices wants an --instance"):
            choose(Asked(prices=mine), machine)


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


# --- the order of the sources -----------------------------------------------------------------------------------------


def test_each_source_wins_over_the_next_and_says_so(here: Path) -> None:
    machine = of(B300)
    found = choose(Asked(), machine)
    assert found.price is not None and found.price.instance == "p6-b300.48xlarge"
    assert "the device is a B300, and p6-b300.48xlarge is the only instance" in found.origin
    assert "142.416 USD/h for the whole instance, 17.802 for one of its 8 accelerators" in found.origin

    machine = of(B300, instance="g5.xlarge")
    found = choose(Asked(), machine)
    assert found.price is not None and found.price.instance == "g5.xlarge"
    assert found.origin.endswith("1.006 USD/h: the machine says it is g5.xlarge (DMI)")

    (here / "prices.toml").write_text('instance = "m7i.4xlarge"\n')
    found = choose(Asked(), machine)
    assert found.price is not None and found.price.usd_per_hour == Decimal("0.8064")
    assert found.origin.endswith("the standing choice of prices.toml")

    used = here / "prices.csv"
    assert choose(Asked(), machine, used) == found  # it is not there yet
    book.write_used(used, [book.find(BUNDLED, price_model="spot")])
    found = choose(Asked(), machine, used)
    assert found.price == book.find(BUNDLED, price_model="spot")
    assert f"the run's own, in {used}" in found.origin

    found = choose(Asked("c5.2xlarge"), machine, used)
    assert found.price is not None and found.price.instance == "c5.2xlarge"
    assert found.origin == "price: c5.2xlarge on_demand in us-east-1 (aws ec2), 0.34 USD/h: named by --instance"

    found = choose(Asked(price_per_hour="2.10"), machine, used)
    assert found.price == book.hourly("2.10")
    assert found.origin == "price: 2.10 USD/h, given by --price-per-hour"
    book.write_used(used, [book.hourly("2.10")])
    assert choose(Asked(), machine, used).origin == f"price: 2.10 USD/h: the run's own, in {used}"


@pytest.mark.parametrize("content", [[], ["c5.2xlarge", "g5.xlarge"]])
def test_a_runs_own_price_is_one(here: Path, content: list[str]) -> None:
    book.write_used(here / "prices.csv", [book.find(name) for name in content])
    with pytest.raises(BenchError, match=f"wanted the one price of a run, found {len(content)}"):
        choose(Asked(), CPU, here / "prices.csv")


def test_flags_narrow_what_was_used_before_the_standing_choice_and_the_machine(here: Path) -> None:
    used = here / "used.csv"
    book.write_used(used, [book.find("c5.2xlarge")])
    found = choose(Asked(price_model="spot"), of(B300), used)
    assert usd_of(found) == Decimal("0.14878")
    assert found.origin.endswith(f"the run's own instance, in {used}, asked for anew")
    book.write_used(used, [book.hourly("3")])  # which has no instance to ask for
    assert usd_of(choose(Asked(price_model="spot"), of(B300), used)) == Decimal("44.5408")
    (here / "prices.toml").write_text(f'instance = "{BUNDLED}"\nprice_model = "committed_1y"\nregion = "us-east-1"\n')
    assert usd_of(choose(Asked(), of(B300))) == Decimal("34.675")
    assert usd_of(choose(Asked(price_model="spot"), of(B300))) == Decimal("19.4933")
    assert usd_of(choose(Asked(BUNDLED))) == Decimal("55.04")  # the choice's price model belongs to its instance


def usd_of(chosen: asked.Chosen) -> Decimal:
    assert chosen.price is not None
    return chosen.price.usd_per_hour


def test_a_machine_that_says_nothing_has_no_price(here: Path) -> None:
    found = choose(Asked(), CPU)
    assert found.price is None
    assert found.origin.startswith("no price: the machine has no GPU and names no instance of the price book")
    with pytest.raises(BenchError, match=r"--price-model wants an --instance .*\(the machine has no GPU"):
        choose(Asked(price_model="spot"), CPU)


def test_between_several_instances_nothing_is_picked() -> None:
    found = choose(Asked(), of(H100))
    assert found.price is None
    assert "the device is an H100, and 7 instances have it: p5.4xlarge, p5.48xlarge" in found.origin
    assert "--instance NAME" in found.origin


def test_a_machine_whose_price_is_not_in_the_book_is_no_mistake_of_the_users() -> None:
    machine = of(H100, instance="p5e.48xlarge")  # on the spot market alone
    found = choose(Asked(), machine)
    assert found.price is None
    assert "the machine says it is p5e.48xlarge (DMI), but no price on_demand for 'p5e.48xlarge'" in found.origin
    assert usd_of(choose(Asked(price_model="spot"), machine)) == Decimal("25.1918")
    with pytest.raises(BenchError, match=r"^no price calendar for 'p5e\.48xlarge'"):
        choose(Asked(price_model="calendar"), machine)


def test_a_standing_choice_that_does_not_exist_is_a_mistake_of_the_files(here: Path) -> None:
    (here / "prices.toml").write_text('instance = "m7i.4xlarg"\n')
    with pytest.raises(BenchError, match=r"prices file prices\.toml: instance: .* nearest names are m7i\.4xlarge"):
        choose(Asked(), CPU)


def test_own_hardware_is_found_without_naming_its_price_model(here: Path) -> None:
    (here / "prices.toml").write_text(
        'instance = "lab"\n[[hardware]]\ninstance = "lab"\npurchase_usd = 8760\nyears = 2\nshare_used = 0.5\n'
    )
    found = choose(Asked(), CPU)
    assert found.price is not None
    assert (found.price.price_model, found.price.provider, found.price.usd_per_hour) == ("amortised", "own", 1)
    assert usd(Asked("lab")) == usd(Asked("lab", price_model="amortised")) == 1
    with pytest.raises(BenchError, match="no price spot for 'lab'; there are amortised"):
        choose(Asked("lab", price_model="spot"))


def test_another_book_takes_the_place_of_the_bundled_one(here: Path) -> None:
    row = replace(book.find(BUNDLED), usd_per_hour=Decimal("50"))
    book.save_book(here / "mine", [row], "made up", date(2026, 11, 1))
    (here / "prices.toml").write_text('book = "mine"\n')
    assert usd(Asked(BUNDLED)) == 50
    with pytest.raises(BenchError, match=r"no price for instance 'c5\.2xlarge'"):
        choose(Asked("c5.2xlarge"))
    assert usd_of(choose(Asked(), of(H100))) == 50  # the only instance of that book with one
