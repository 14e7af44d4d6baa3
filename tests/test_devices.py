"""From a device's name, as drivers print it, to the price book's key; from a machine to the instance that it is."""

import pytest
from msgspec.structs import replace

from bench.machine import Gpu, Machine
from bench.prices import book
from bench.prices.book import Price
from bench.prices.devices import MIB_PER_GIB, PATTERNS, accelerator_of, detect, is_slice

# As drivers and their tools print them; memory in GiB as they report it, 0 where nobody said.
NAMES: list[tuple[str, float, str]] = [
    ("NVIDIA H200", 139.8, "H200"),
    ("NVIDIA H100 80GB HBM3", 79.1, "H100"),
    ("NVIDIA H100 NVL", 93.6, "H100NVL"),
    ("NVIDIA H100 PCIe", 79.1, "H100"),
    ("NVIDIA A100-SXM4-40GB", 39.4, "A100-40GB"),
    ("NVIDIA A100-SXM4-80GB", 79.1, "A100-80GB"),
    ("NVIDIA A100 80GB PCIe", 0, "A100-80GB"),
    ("A100-SXM4-40GB", 0, "A100-40GB"),
    ("NVIDIA A10G", 22.1, "A10G"),
    ("NVIDIA A10", 22.5, "A10"),
    ("NVIDIA L4", 22.0, "L4"),
    ("NVIDIA L40S", 44.4, "L40S"),
    ("Tesla T4", 14.6, "T4"),
    ("Tesla V100-SXM2-16GB", 15.8, "V100-16GB"),
    ("Tesla V100-SXM2-32GB", 0, "V100-32GB"),
    ("NVIDIA B200", 178.3, "B200"),
    ("NVIDIA GB200", 184.0, "GB200"),
    ("NVIDIA B300 SXM6 AC", 0, "B300"),
    ("NVIDIA GH200 480GB", 94.5, "GH200"),
    ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 95.0, "RTXPRO6000"),
    ("AMD Instinct MI300X", 191.5, "MI300X"),
    ("TPU v5 lite", 16, "TPU-v5e"),
    ("TPU v6 lite", 32, "TPU-v6e"),
    ("NVIDIA H200 MIG 1g.18gb", 16.0, ""),
    ("NVIDIA GeForce RTX 4090", 23.5, ""),
    ("cpu", 0, ""),
]
OTHERS = [
    ("NVIDIA L40", 44.4, "L40"),
    ("NVIDIA H200 NVL", 140.0, "H200NVL"),
    ("NVIDIA A100-PCIE-40GB", 39.4, "A100-40GB"),
    ("NVIDIA A100", 79.1, "A100-80GB"),
    ("NVIDIA A100", 39.4, "A100-40GB"),
    ("Tesla V100", 31.7, "V100-32GB"),
    ("Tesla V100", 0, ""),  # neither its name nor its memory says which
    ("NVIDIA A100", 19.5, ""),  # neither of the two sizes
    ("NVIDIA A10-4Q", 3.9, ""),  # a virtual GPU: a sixth of an A10
    ("GRID T4-8C", 8, ""),
    ("NVIDIA T4G", 14.6, ""),
    ("NVIDIA GB300", 270, ""),
    ("NVIDIA H20", 95, ""),
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 95.0, ""),
    ("", 0, ""),
]


@pytest.mark.parametrize(("name", "gib", "key"), [*NAMES, *OTHERS])
def test_a_name_has_this_key(name: str, gib: float, key: str) -> None:
    assert accelerator_of(name, round(gib * MIB_PER_GIB)) == key


def test_the_order_of_the_patterns_matters_nowhere_but_where_it_is_kept() -> None:
    order = [key for _, key in PATTERNS]
    assert len(set(order)) == len(order)
    for first, second in (("GB200", "B200"), ("H100NVL", "H100"), ("H200NVL", "H200"), ("A10G", "A10")):
        assert order.index(first) < order.index(second)
    assert order.index("L40S") < order.index("L40") < order.index("L4")


def test_every_key_of_the_bundled_book_that_a_driver_prints_is_found() -> None:
    keys = {row.accelerator for row in book.bundled()} - {""}
    printed = {key for *_, key in NAMES}
    assert keys - printed == {"Inferentia2", "Trainium", "TPU-v2", "TPU-v3", "TPU-v4"}


def test_a_slice_is_told_from_a_device() -> None:
    assert [name for name, *_ in [*NAMES, *OTHERS] if is_slice(name)] == [
        "NVIDIA H200 MIG 1g.18gb",
        "NVIDIA A10-4Q",
        "GRID T4-8C",
    ]


# --- machines ---------------------------------------------------------------------------------------------------------

CPU = Machine("Testor 9000", 4, 8, 16.0, (), "Testix 1", "6.1", "3.11.7", "")
BOOK = book.bundled()


def of(*names: str, instance: str = "") -> Machine:
    return replace(CPU, gpus=tuple(Gpu(name, 81_000, "570") for name in names), instance=instance)


def test_the_machines_own_word_wins_where_the_book_knows_it() -> None:
    found = detect(of("Tesla T4", instance="p5.48xlarge"), BOOK)
    assert found.instance == "p5.48xlarge"
    assert found.origin == "the machine says it is p5.48xlarge (DMI)"
    assert found.reason == ""


def test_a_word_that_the_book_does_not_know_is_passed_over() -> None:
    for word in ("Google Compute Engine", "Virtual Machine", "Standard PC (Q35 + ICH9, 2009)", ""):
        assert detect(of("NVIDIA B300 SXM6 AC", instance=word), BOOK).instance == "p6-b300.48xlarge"
        assert detect(of(instance=word), BOOK).instance == ""


def test_a_users_own_row_is_known_too() -> None:
    mine = Price(instance="Blade 7", usd_per_hour=BOOK[0].usd_per_hour)
    assert detect(of(instance="Blade 7"), [*BOOK, mine]).instance == "Blade 7"


def test_one_device_of_many_is_the_whole_instance() -> None:
    found = detect(of("NVIDIA B300 SXM6 AC"), BOOK)
    assert (found.instance, found.candidates) == ("p6-b300.48xlarge", ("p6-b300.48xlarge",))
    assert found.origin == "the device is a B300, and p6-b300.48xlarge is the only instance of the price book with one"
    price = book.find(found.instance)
    assert price.usd_per_hour_share is not None and price.usd_per_hour_share * 8 == price.usd_per_hour


def test_several_instances_are_named_and_none_is_picked() -> None:
    found = detect(of("NVIDIA H100 80GB HBM3"), BOOK)
    assert found.instance == found.origin == ""
    assert found.candidates == (
        "p5.4xlarge",
        "p5.48xlarge",
        "ml.p5.48xlarge",
        "a3-highgpu-1g",
        "a3-highgpu-8g",
        "a3-megagpu-8g",
        "Standard_ND96isr_H100_v5",
    )
    assert "--instance NAME" in found.reason and "p5.4xlarge" in found.reason


def test_an_instance_with_fewer_devices_is_none_of_them() -> None:
    found = detect(of(*["NVIDIA H100 80GB HBM3"] * 2), BOOK)
    assert "p5.4xlarge" not in found.candidates and "p5.48xlarge" in found.candidates
    found = detect(of(*["NVIDIA H100 NVL"] * 2), BOOK)
    assert (found.instance, found.candidates) == ("", ())
    assert found.reason.startswith(
        "the devices are 2 x H100NVL, and no price book lists an instance with so many; "
        "it lists Standard_NC40ads_H100_v5, which have fewer"
    )
    assert detect(of("NVIDIA H100 NVL"), BOOK).instance == "Standard_NC40ads_H100_v5"


def test_an_instance_whose_count_is_not_known_may_be_it() -> None:
    assert detect(of(*["NVIDIA GB200"] * 4), BOOK).instance == "Standard_ND128isr_NDR_GB200_v6"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ["no GPU", "instance = ", "--price-per-hour"]),
        (["NVIDIA H200 MIG 1g.18gb"], ["slice", "1g.18gb", "--price-per-hour"]),
        (["NVIDIA A10-4Q"], ["slice"]),
        (["NVIDIA GeForce RTX 4090"], ["no price book lists the device NVIDIA GeForce RTX 4090", "[[price]]"]),
        (["NVIDIA GH200 480GB"], ["GH200", "no price book lists"]),
        (["NVIDIA L4", "Tesla T4"], ["different devices", "NVIDIA L4, Tesla T4", "--instance"]),
    ],
)
def test_why_there_is_none(names: list[str], words: list[str]) -> None:
    found = detect(of(*names), BOOK)
    assert (found.instance, found.candidates) == ("", ())
    for word in words:
        assert word in found.reason


def test_an_empty_book_knows_nobody() -> None:
    assert detect(of("NVIDIA B200", instance="p5.48xlarge"), ()).instance == ""
