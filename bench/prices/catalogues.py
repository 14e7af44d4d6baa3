"""From the rows of others' catalogues to price rows: gpuhunt's items, and a CSV in the columns of SkyPilot's catalogue.

Nothing is judged here but that a cell can be read: that is `checks`. A catalogue knows no term prices and no managed
services, so what the last book has of those stays.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from math import isfinite
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from bench.errors import BenchError
from bench.prices.book import nearest
from bench.prices.checks import LISTED
from bench.prices.devices import accelerator_of
from bench.prices.rows import Price

# The service that sells a provider's plain machines; of others it has no name of its own.
SERVICES = {"aws": "ec2", "gcp": "compute", "azure": "virtual-machines"}
MIB_PER_GIB = 1024
NEEDED = ("InstanceType", "Price", "Region")
ALL = (*NEEDED, "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "SpotPrice", "AvailabilityZone", "GpuInfo")
# SkyPilot writes the smaller of two sizes without its size.
BARE = {"A100": "A100-40GB", "V100": "V100-16GB"}
GOOGLE_ZONE = re.compile(r"([a-z]+-[a-z]+\d+)-[a-z]")


class Item(Protocol):
    """What is read of a gpuhunt `CatalogItem`: USD per hour of the whole instance, memory in GB, of each GPU its."""

    provider: str
    instance_name: str
    location: str
    price: float
    cpu: int | None
    memory: float | None
    gpu_count: int | None
    gpu_name: str | None
    gpu_memory: float | None
    spot: bool


class Source(Struct, frozen=True):
    """Where rows come from: what to call it, and of which day its prices are ("" where that is not known)."""

    name: str
    as_of: str


class Placed(Struct, frozen=True):
    """A price in one zone of its region; "" where the catalogue names none."""

    price: Price
    zone: str


def of_items(items: Iterable[Item], source: Source) -> tuple[Price, ...]:
    """gpuhunt's items as rows, one a region. Google's TPUs are left out: it names them otherwise than the book does."""
    placed = []
    for item in items:
        if re.match(r"(tpu-)?v\d", item.instance_name):
            continue
        count = item.gpu_count or 0
        name = item.instance_name
        if item.provider == "gcp" and count and name.startswith("n1-"):
            name = f"{name} + {count}x {item.gpu_name}"  # a host to which any GPU can be attached
        if not isfinite(item.price):
            raise BenchError(
                f"{source.name}: {name} in {item.location}: wanted a price, found {item.price}; get another"
            )
        zone = GOOGLE_ZONE.fullmatch(item.location) if item.provider == "gcp" else None
        memory = round((item.gpu_memory or 0) * MIB_PER_GIB)
        price = Price(
            provider=item.provider,
            service=SERVICES.get(item.provider, ""),
            instance=name,
            region=zone[1] if zone else item.location,
            accelerator=(accelerator_of(item.gpu_name or "", memory) or item.gpu_name or "") if count else "",
            accelerator_count=count,
            vcpus=item.cpu,
            memory_gib=_shortest(item.memory),
            price_model="spot" if item.spot else "on_demand",
            usd_per_hour=Decimal(repr(float(item.price))),  # its digits as they were printed, before it was a float
            as_of=source.as_of,
            source=source.name,
        )
        placed.append(Placed(price, item.location if zone else ""))
    return _by_region(placed)


def of_csv(data: bytes, path: Path, provider: str, source: Source) -> tuple[Price, ...]:
    """The rows of a SkyPilot catalogue of that provider, one a region and price model; `BenchError` names row and cell.

    A row without a price has only a spot price, or the other way round. Other columns than `ALL` are passed over.
    """
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        rows = list(reader)
    except (ValueError, csv.Error) as error:
        raise BenchError(f"catalogue {path}: wanted CSV in UTF-8, found: {error}; export it again") from None
    header = reader.fieldnames or []
    if lacking := [name for name in NEEDED if name not in header]:
        raise BenchError(
            f"catalogue {path}: wanted the columns {', '.join(NEEDED)}, and any of {', '.join(ALL[len(NEEDED) :])}; "
            f"found no {', '.join(lacking)}; rename its columns"
        )
    placed = []
    for number, row in enumerate(rows, 2):
        where = f"catalogue {path}: row {number}"
        if None in row or None in row.values():
            raise BenchError(
                f"{where}: wanted {len(header)} cells, found more or fewer: it is cut off; export it again"
            )
        placed += _of_row(row, where, provider, source)
    return _by_region(placed)


def wanted_regions(rows: Sequence[Price], last: Sequence[Price], regions: Sequence[str]) -> tuple[Price, ...]:
    """Of a catalogue of the whole world: the rows that the last book has, and those of the regions asked for.

    Where none is asked for: of each seller the region that the last book has most rows of, all of a new seller's.
    """
    old = {row.key for row in last}
    home: dict[tuple[str, str], str] = {}
    for seller in {(row.provider, row.service) for row in last}:
        names = [row.region for row in last if (row.provider, row.service) == seller]
        home[seller] = max(names, key=names.count)
    there = {row.region for row in rows}
    if unknown := [name for name in regions if name not in there]:
        raise BenchError(
            f"the catalogue has no region {unknown[0]!r}; the nearest names are {nearest(unknown[0], there)}"
        )

    def taken(row: Price) -> bool:
        if regions:
            return row.region in regions
        return row.region == home.get((row.provider, row.service), row.region)

    return tuple(row for row in rows if row.key in old or taken(row))


def joined(last: Sequence[Price], new: Sequence[Price]) -> tuple[Price, ...]:
    """The new rows, and those of the last book that such a catalogue knows nothing of: other sellers, other models."""
    sellers = {(row.provider, row.service) for row in new}
    kept = [row for row in last if (row.provider, row.service) not in sellers or row.price_model not in LISTED]
    return (*new, *kept)


def _of_row(row: dict[str, str], where: str, provider: str, source: Source) -> list[Placed]:
    count = _number(row, "AcceleratorCount", where) or Decimal(0)
    vcpus = _number(row, "vCPUs", where)
    for name, value in (("AcceleratorCount", count), ("vCPUs", vcpus)):
        if value is not None and (value < 0 or value != value.to_integral_value()):
            raise BenchError(f"{where}.{name}: wanted a whole number, found {value}; correct it")
    memory = re.search(r"'SizeInMiB': (\d+)", row.get("GpuInfo", ""))
    printed = row.get("AcceleratorName", "").strip()
    key = accelerator_of(printed, int(memory[1]) if memory else 0) or BARE.get(printed, printed)
    base = Price(
        provider=provider,
        service=SERVICES.get(provider, ""),
        instance=row["InstanceType"].strip(),
        region=row["Region"].strip(),
        accelerator=key if count else "",
        accelerator_count=int(count),
        vcpus=None if vcpus is None else int(vcpus),
        memory_gib=_number(row, "MemoryGiB", where),
        usd_per_hour=Decimal(0),
        as_of=source.as_of,
        source=source.name,
    )
    if not base.instance:
        raise BenchError(f"{where}.InstanceType: wanted a name, found none; correct it or take the row out")
    found = [("on_demand", _number(row, "Price", where)), ("spot", _number(row, "SpotPrice", where))]
    zone = row.get("AvailabilityZone", "").strip()
    return [Placed(replace(base, price_model=model, usd_per_hour=usd), zone) for model, usd in found if usd is not None]


def _number(row: dict[str, str], name: str, where: str) -> Decimal | None:
    text = row.get(name, "").strip()
    if not text:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise BenchError(f"{where}.{name}: wanted a number, found {text!r}; correct it or take the row out") from None
    if not value.is_finite():
        raise BenchError(f"{where}.{name}: wanted a number, found {text!r}; correct it or take the row out")
    return value


def _by_region(placed: Iterable[Placed]) -> tuple[Price, ...]:
    """One row a region. Spot: its cheapest zone, named in the source. On demand: zones that differ stay two rows, which
    `checks` refuses.
    """
    groups: dict[tuple[str, ...], list[Placed]] = {}
    for one in placed:
        groups.setdefault(one.price.key, []).append(one)
    rows: list[Price] = []
    for same in groups.values():
        by_price = {one.price.usd_per_hour: one for one in reversed(same)}
        if len(by_price) > 1 and same[0].price.price_model == "spot" and all(one.zone for one in same):
            low = by_price[min(by_price)]
            cheapest = f"{low.price.source}; the cheapest of {len(same)} zones, {low.zone}"
            rows.append(replace(low.price, source=cheapest))
        else:
            rows += [by_price[usd].price for usd in sorted(by_price)]
    return tuple(rows)


def _shortest(number: float | None) -> Decimal | None:
    if number is None:
        return None
    return Decimal(int(number)) if number == int(number) else Decimal(repr(float(number)))
