"""What is checked of a catalogue before it becomes a price book, what changed between two, and how they are read."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from bench.errors import BenchError
from bench.prices import book, catalogues, checks
from bench.prices.book import Price
from bench.prices.catalogues import Source
from bench.prices.difference import compare

SOURCE = Source("made up", "2026-11-01")


def row(instance: str = "box.8x", usd: str = "10", region: str = "us-east-1", **fields: object) -> Price:
    base = Price(
        provider="aws",
        service="ec2",
        instance=instance,
        region=region,
        accelerator="H100",
        accelerator_count=8,
        usd_per_hour=Decimal(usd),
    )
    return replace(base, **fields)


def texts(*rows: Price, last: tuple[Price, ...] = ()) -> list[str]:
    return [problem.text for problem in checks.problems(rows, last)]


# --- checks: each one, and that what is good passes -------------------------------------------------------------------


def test_the_bundled_book_passes_its_own_checks() -> None:
    assert checks.problems(book.bundled(), book.bundled()) == []


@pytest.mark.parametrize(
    ("usd", "message"),
    [
        ("0", "box.8x on_demand in us-east-1 (aws ec2).usd_per_hour: wanted"),
        ("-1", "found -1"),
        ("NaN", "found NaN"),
        ("Infinity", "found Infinity"),
        ("1e7", "found 1E+7"),
        ("700.0", "what catalogues write for a price that they do not know"),
    ],
)
def test_what_is_no_price(usd: str, message: str) -> None:
    bad = row(usd=usd)
    (problem,) = checks.problems([bad, row("good")], ())
    assert message in problem.text
    assert problem.rows == (bad,)


def test_spot_above_on_demand() -> None:
    spot = row(usd="10.01", price_model="spot")
    (problem,) = checks.problems([row(), spot], ())
    assert problem.text == "box.8x spot in us-east-1 (aws ec2): spot at 10.01 USD/h is above on demand at 10"
    assert problem.rows == (spot,)
    assert texts(row(), row(usd="10", price_model="spot")) == []
    assert texts(row(), row(usd="11", price_model="spot", region="us-west-2")) == []


def test_two_prices_of_one_key() -> None:
    (problem,) = checks.problems([row(), row(usd="11")], ())
    assert problem.text == "box.8x on_demand in us-east-1 (aws ec2): wanted one price, found 10 USD/h and 11 USD/h"
    assert len(problem.rows) == 2
    assert texts(row(), row(service="sagemaker"), row(price_model="spot"), row(region="us-west-2")) == []


@pytest.mark.parametrize(("usd", "good"), [("13.5", True), ("13.51", False)])
def test_us_regions_lie_close_together(usd: str, good: bool) -> None:
    for region in ("us-west-2", "us-central1", "westus3", "southcentralus"):
        found = texts(row(), row(usd=usd, region=region))
        assert (found == []) == good
        if not good:
            assert found[0].startswith("box.8x (aws ec2): wanted its US regions within 1.35x of each other, found 10 ")
            assert f"13.51 in {region}" in found[0]
    assert texts(row(), row(usd="20", region="eu-west-1"), row(usd="30", region="sa-east-1")) == []
    assert texts(row(), row("box.1x", usd="30", region="us-west-2")) == []  # another instance
    cpu = {"accelerator": "", "accelerator_count": 0}
    assert texts(row(**cpu), row(usd="20", region="us-west-2", **cpu)) == []


@pytest.mark.parametrize("name", ["us-east-1", "us-gov-west-1", "us-central1", "eastus", "westus3", "northcentralus"])
def test_a_us_region_is_one(name: str) -> None:
    assert checks.us_region(name)


@pytest.mark.parametrize("name", ["", "us", "eu-west-1", "eastasia", "europe-west4", "australiaeast", "uksouth"])
def test_another_region_is_none(name: str) -> None:
    assert not checks.us_region(name)


def test_a_catalogue_that_was_cut_off() -> None:
    last = tuple(row(f"box.{n}") for n in range(10))
    assert texts(*last[:9], last=last) == []
    assert texts(*last[:8], last=last) == ["wanted at least 0.9 of the last book's 10 rows of aws ec2, found 8"]
    assert texts(row(provider="new", service=""), last=last) == []  # says nothing of aws
    terms = tuple(row(f"box.{n}", price_model="committed_1y") for n in range(10))
    assert texts(*last[:9], last=last + terms) == []  # no catalogue has these
    assert texts(last=last) == ["it has no prices"]


# --- what changed -----------------------------------------------------------------------------------------------------


def test_changes_are_added_removed_and_in_percent() -> None:
    before = [row("same"), row("gone"), row("up"), row("far"), row("down")]
    after = [row("down", "6.9"), row("same", as_of="2026-11-01"), row("up", "13"), row("far", "13.01"), row("new")]
    found = {change.row.instance: change for change in compare(before, after)}
    assert list(found) == ["down", "up", "far", "new", "gone"]
    assert {name: change.kind for name, change in found.items()} == {
        "down": "changed",
        "up": "changed",
        "far": "changed",
        "new": "added",
        "gone": "removed",
    }
    assert [found[name].percent for name in found] == [-31, 30, Decimal("30.1"), None, None]
    assert [name for name, change in found.items() if change.jump] == ["down", "far"]
    assert compare(before, before) == ()


def test_a_set_with_two_prices_of_one_key_cannot_be_compared() -> None:
    for sets in (([row(), row(usd="11")], []), ([], [row(), row()])):
        with pytest.raises(BenchError, match=r"wanted one price of box\.8x on_demand in us-east-1 .* found two"):
            compare(*sets)


# --- gpuhunt's items --------------------------------------------------------------------------------------------------


class Item(Struct, kw_only=True):
    """As gpuhunt's, in what is read of it."""

    provider: str = "aws"
    instance_name: str = "p5.48xlarge"
    location: str = "us-east-1"
    price: float = 55.04
    cpu: int | None = 192
    memory: float | None = 2048.0
    gpu_count: int | None = 8
    gpu_name: str | None = "H100"
    gpu_memory: float | None = 80.0
    spot: bool = False


def test_an_item_is_a_row() -> None:
    (found,) = catalogues.of_items([Item()], SOURCE)
    assert found == replace(book.find("p5.48xlarge"), as_of="2026-11-01", source="made up")
    (found,) = catalogues.of_items([Item(spot=True, price=19.4933)], SOURCE)
    assert (found.price_model, str(found.usd_per_hour)) == ("spot", "19.4933")


@given(st.decimals("0.0001", "999", places=6))
def test_a_price_that_was_a_float_has_its_digits(usd: Decimal) -> None:
    (found,) = catalogues.of_items([Item(price=float(usd))], SOURCE)
    assert found.usd_per_hour == usd


def test_items_have_the_books_names() -> None:
    items = [
        Item(gpu_name="A100", gpu_memory=40.0, instance_name="a"),
        Item(gpu_name="A100", gpu_memory=80.0, instance_name="b"),
        Item(gpu_name="RTX4090", gpu_memory=24.0, instance_name="c"),
        Item(gpu_name=None, gpu_memory=None, gpu_count=0, instance_name="d"),
        Item(provider="gcp", instance_name="n1-standard-4", gpu_name="T4", gpu_memory=16.0, gpu_count=1, location="x"),
        Item(provider="gcp", instance_name="a3-highgpu-8g", location="us-central1-a"),
        Item(provider="azure", instance_name="Standard_ND96isr_H100_v5", location="eastus"),
        Item(provider="lambdalabs", instance_name="gpu_8x_h100", location="us-south-1", memory=None),
        Item(provider="gcp", instance_name="v5litepod-8", gpu_name="v5litepod"),
    ]
    found = catalogues.of_items(items, SOURCE)
    assert [(one.instance, one.accelerator) for one in found] == [
        ("a", "A100-40GB"),
        ("b", "A100-80GB"),
        ("c", "RTX4090"),
        ("d", ""),
        ("n1-standard-4 + 1x T4", "T4"),
        ("a3-highgpu-8g", "H100"),
        ("Standard_ND96isr_H100_v5", "H100"),
        ("gpu_8x_h100", "H100"),
    ]
    assert [one.service for one in found[4:]] == ["compute", "compute", "virtual-machines", ""]
    assert found[5].region == "us-central1"
    assert found[7].memory_gib is None


def test_zones_of_a_region_are_one_row() -> None:
    zones = [
        Item(provider="gcp", location=f"us-central1-{zone}", spot=True, price=p)
        for zone, p in zip("abc", (3, 1, 2), strict=True)
    ]
    (found,) = catalogues.of_items(zones, SOURCE)
    assert (found.usd_per_hour, found.source) == (1, "made up; the cheapest of 3 zones, us-central1-b")
    same = [Item(provider="gcp", location=f"us-central1-{zone}") for zone in "abc"]
    (found,) = catalogues.of_items(same, SOURCE)
    assert found.source == "made up"


def test_zones_that_differ_on_demand_are_refused_by_the_checks() -> None:
    zones = [Item(provider="gcp", location=f"us-central1-{zone}", price=p) for zone, p in (("a", 3), ("b", 1))]
    assert texts(*catalogues.of_items(zones, SOURCE))[0].endswith("wanted one price, found 1.0 USD/h and 3.0 USD/h")


def test_an_item_without_a_price_is_refused() -> None:
    with pytest.raises(BenchError, match=r"made up: p5\.48xlarge in us-east-1: wanted a price, found nan"):
        catalogues.of_items([Item(price=float("nan"))], SOURCE)


# --- a file in the columns of SkyPilot's catalogue --------------------------------------------------------------------

HEADER = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,SpotPrice,Region,AvailabilityZone,GpuInfo"
H100 = "p5.48xlarge,H100,8.0,192.0,2048.0,55.04,19.4933,us-east-1,us-east-1a,"
PATH = Path("vms.csv")


def of_csv(*lines: str, header: str = HEADER, provider: str = "aws") -> tuple[Price, ...]:
    return catalogues.of_csv("\n".join([header, *lines]).encode(), PATH, provider, SOURCE)


def test_a_line_is_an_on_demand_and_a_spot_price() -> None:
    dated = {"as_of": "2026-11-01", "source": "made up"}
    wanted = [replace(book.find("p5.48xlarge", price_model=model), **dated) for model in ("on_demand", "spot")]
    assert list(of_csv(H100)) == wanted
    assert [one.price_model for one in of_csv(H100.replace("55.04", ""))] == ["spot"]
    assert [one.price_model for one in of_csv(H100.replace("19.4933", ""))] == ["on_demand"]
    assert of_csv(H100.replace("55.04,19.4933", ",")) == ()


def test_columns_may_stand_in_any_order_and_others_are_passed_over() -> None:
    (found,) = of_csv("9,us-south-1,box,0.5", header="Generation,Region,InstanceType,Price", provider="lambda")
    assert (found.provider, found.service, found.instance, found.region) == ("lambda", "", "box", "us-south-1")
    assert (found.accelerator, found.accelerator_count, found.vcpus, found.memory_gib) == ("", 0, None, None)
    assert str(found.usd_per_hour) == "0.5"


@pytest.mark.parametrize(
    ("name", "info", "key"),
    [
        ("A100", "", "A100-40GB"),
        ("A100-80GB", "", "A100-80GB"),
        ("V100", "", "V100-16GB"),
        ("V100-32GB", "", "V100-32GB"),
        ("V100", "\"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 32768}}]}\"", "V100-32GB"),
        ("L40S", "", "L40S"),
        ("A6000", "", "A6000"),
    ],
)
def test_accelerators_have_the_books_names(name: str, info: str, key: str) -> None:
    found = of_csv(f"box,{name},1,8,32,1,,r,,{info}")
    assert [one.accelerator for one in found] == [key]


def test_the_cheapest_zone_of_a_region_is_its_spot_price() -> None:
    lines = [H100, H100.replace("19.4933", "17.1").replace("1a", "1b"), H100.replace("19.4933", "").replace("1a", "1c")]
    on_demand, spot = of_csv(*lines)
    assert on_demand.usd_per_hour == Decimal("55.04")
    assert (str(spot.usd_per_hour), spot.source) == ("17.1", "made up; the cheapest of 2 zones, us-east-1b")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (H100.replace("55.04", "much"), "row 3.Price: wanted a number, found 'much'"),
        (H100.replace("55.04", "nan"), "row 3.Price: wanted a number, found 'nan'"),
        (H100.replace("19.4933", "inf"), "row 3.SpotPrice: wanted a number, found 'inf'"),
        (H100.replace("8.0", "8.5"), "row 3.AcceleratorCount: wanted a whole number, found 8.5"),
        (H100.replace("8.0", "-8"), "row 3.AcceleratorCount: wanted a whole number, found -8"),
        (H100.replace("192.0", "many"), "row 3.vCPUs: wanted a number"),
        (H100.replace("p5.48xlarge", ""), "row 3.InstanceType: wanted a name"),
        ("p5.48xlarge,H100,8.0", "row 3: wanted 10 cells, found more or fewer: it is cut off"),
        (H100 + ",more", "row 3: wanted 10 cells"),
        ('"p5', "wanted CSV in UTF-8"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, message: str) -> None:
    with pytest.raises(BenchError) as caught:
        of_csv(H100, line)
    assert message in str(caught.value)
    assert "vms.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found no InstanceType, Price, Region"),
        (b"provider,service\naws,ec2\n", "found no InstanceType"),
        (b"InstanceType,Price\nbox,1\n", "found no Region"),
        (b"\xff\xfe\x00", "wanted CSV in UTF-8"),
    ],
)
def test_a_file_that_is_no_catalogue(data: bytes, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        catalogues.of_csv(data, PATH, "aws", SOURCE)


def test_a_negative_price_is_left_to_the_checks() -> None:
    assert "found -55.04" in texts(*of_csv(H100.replace("55.04", "-55.04").replace("19.4933", "")))[0]


# --- a new book from the last one -------------------------------------------------------------------------------------


def test_what_a_catalogue_knows_nothing_of_stays() -> None:
    last = (
        row("gone"),
        row("box.8x", "12"),
        row("box.8x", "8", price_model="committed_1y"),
        row("ml.box.8x", service="sagemaker"),
        row("other", provider="gcp", service="compute"),
    )
    new = (row("box.8x"), row("new"))
    assert catalogues.joined(last, new) == (*new, *last[2:])


def test_regions_are_those_of_the_last_book_or_those_asked_for() -> None:
    last = (row("a"), row("b"), row("c", region="us-east-2"), row("t", provider="gcp", service="compute", region="uc1"))
    world = tuple(row(name, region=r) for name in "abcd" for r in ("us-east-1", "us-east-2", "eu-west-1"))
    new = row("n", provider="lambda", service="", region="anywhere")
    found = catalogues.wanted_regions((*world, new), last, ())
    assert [(one.instance, one.region) for one in found] == [
        ("a", "us-east-1"),
        ("b", "us-east-1"),
        ("c", "us-east-1"),
        ("c", "us-east-2"),  # where the last book has it
        ("d", "us-east-1"),
        ("n", "anywhere"),
    ]
    found = catalogues.wanted_regions(world, (), ["eu-west-1"])
    assert {one.region for one in found} == {"eu-west-1"} and len(found) == 4
    with pytest.raises(BenchError, match="no region 'eu-west-2'; the nearest names are eu-west-1"):
        catalogues.wanted_regions(world, last, ["eu-west-2"])
