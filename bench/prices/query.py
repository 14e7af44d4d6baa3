"""Which rows of a price book somebody means: by filters, by an instance's name, by an accelerator and how many."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from bench.errors import BenchError
from bench.prices.book import PRICE_MODELS, SERVICE_ALIASES, nearest, service_of
from bench.prices.devices import accelerator_of, is_slice
from bench.prices.rows import Price


class Filters(Struct, frozen=True):
    """What a row must be; None leaves it open. `accelerator`: a key, a part of one, or a device as drivers print it."""

    provider: str | None = None
    service: str | None = None
    region: str | None = None
    price_model: str | None = None
    accelerator: str | None = None


def select(rows: Sequence[Price], filters: Filters) -> tuple[Price, ...]:
    """The rows that pass every filter; `BenchError` for a name that no row has, with the nearest, and for none left."""
    found = list(rows)
    service = filters.service and SERVICE_ALIASES.get(filters.service, filters.service)
    tests: tuple[tuple[str, str | None, Callable[[Price], str], Iterable[str]], ...] = (
        ("provider", filters.provider, lambda row: row.provider, ()),
        ("service", service, service_of, SERVICE_ALIASES),
        ("region", filters.region, lambda row: row.region, ()),
        ("price model", filters.price_model, lambda row: row.price_model, PRICE_MODELS),
    )
    for name, wanted, field, others in tests:
        if wanted is not None:
            there = {field(row) for row in rows} - {""}
            if wanted not in {*there, *others}:
                close, every = nearest(wanted, {*there, *others}), sorted({*there, *others})
                named = f"the nearest names are {close}" if len(every) > 12 else f"there are {', '.join(every)}"
                raise BenchError(f"no {name} {wanted!r}; {named}")
            found = [row for row in found if field(row) == wanted]
    if filters.accelerator is not None:
        keys = accelerators(filters.accelerator, rows)
        found = [row for row in found if row.accelerator in keys]
    if not found:
        raise BenchError("no price passes all of these filters; leave one out")
    return tuple(found)


def of_instance(rows: Sequence[Price], instance: str) -> tuple[Price, ...]:
    """Every price of an instance, by service, region and price model; `BenchError` with the nearest names for none."""
    found = [row for row in rows if row.instance == instance]
    if not found:
        names = nearest(instance, [row.instance for row in rows])
        raise BenchError(
            f"no price for instance {instance!r}; the nearest names are {names}; see: stepwatch prices list"
        )
    return tuple(sorted(found, key=lambda row: (service_of(row), row.region, PRICE_MODELS.index(row.price_model))))


def of_accelerator(rows: Sequence[Price], filters: Filters, count: int | None) -> tuple[Price, ...]:
    """The rows with at least so many of an accelerator, the cheapest whole instance first."""
    if count is not None and count < 1:
        raise BenchError(f"--count wants a whole number from 1, found {count}")
    found = select(rows, filters)
    enough = [row for row in found if count is None or (row.accelerator_count or 0) >= count]
    if not enough:
        most = max(row.accelerator_count or 0 for row in found)
        has = f"the largest has {most}" if most else "how many there are in an instance is not known"
        raise BenchError(f"no instance with {count} x {filters.accelerator}; {has}; ask for fewer")
    return tuple(sorted(enough, key=lambda row: (row.usd_per_hour, row.key)))


def accelerators(asked: str, rows: Iterable[Price]) -> set[str]:
    """The keys that somebody means by it: `a100` is both sizes; `NVIDIA H100 NVL` is what its driver prints."""
    known = {row.accelerator for row in rows} - {""}
    named = {key for key in known if key.lower() == asked.lower() or key.lower().startswith(f"{asked.lower()}-")}
    if named or (key := accelerator_of(asked, 0)) in known:
        return named or {key}
    if is_slice(asked):
        raise BenchError(f"no price for {asked!r}: it is a slice of a device, and nobody sells one by itself")
    raise BenchError(f"no price book lists the accelerator {asked!r}; the nearest names are {nearest(asked, known)}")
