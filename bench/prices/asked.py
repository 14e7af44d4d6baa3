"""Which price applies, and why: the command line's, the run's own, the standing choice, the machine's, or none.

A price that is not known is None, which is a dash, and never 0.
"""

from pathlib import Path

from msgspec import Struct

from bench.errors import BenchError
from bench.machine import Machine
from bench.prices import book, devices
from bench.prices.checks import spot_above
from bench.prices.rows import Price
from bench.prices.user_file import Choice, UserFile, read

OWN_FILE = Path("prices.toml")
# The flags that narrow down which price of an instance it is, and those which instance may be meant.
NARROWING = ("region", "service", "prices", "price_model")


class Asked(Struct, frozen=True):
    """The price flags of a command line."""

    instance: str | None = None
    region: str | None = None
    service: str | None = None
    price_model: str | None = None
    price_per_hour: str | None = None
    prices: Path | None = None


class Chosen(Struct, frozen=True):
    """The price, None where it is not known, and in one line which source won and why."""

    price: Price | None
    origin: str


def own(path: Path | None) -> UserFile:
    """The user's file: the one named, else the one in this folder, else one that says nothing.

    `BenchError` for one whose spot price is above the on-demand price that the book has.
    """
    path = path or (OWN_FILE if OWN_FILE.exists() else None)
    if path is None:
        return UserFile()
    file = read(path)
    theirs = {price.key for price in file.prices}
    others = [price for price in (book.bundled() if file.book is None else file.book) if price.key not in theirs]
    for spot, on_demand in spot_above((*others, *file.prices)):
        if spot.key in theirs:
            raise BenchError(
                f"prices file {path}: {spot.instance}: wanted a spot price of up to {on_demand.usd_per_hour} USD/h, "
                f"its on-demand price in the book, found {spot.usd_per_hour}; correct it or give its on-demand price"
            )
    return file


def known(file: UserFile) -> tuple[Price, ...]:
    """Every price there is: the user's own first, then those of the book."""
    return (*file.prices, *(book.bundled() if file.book is None else file.book))


def choose(asked: Asked, machine: Machine | None = None, used: Path | None = None) -> Chosen:
    """The price that applies; `BenchError` for one that is asked for and does not exist.

    `machine`: whose identity is looked at where nothing else says what it is; None for no look. `used`: the
    `prices.csv` of a run, if it is there.
    """
    if asked.price_per_hour is not None:
        named = [name for name in ("instance", *NARROWING) if name != "prices" and getattr(asked, name) is not None]
        if named:
            both = f"--{named[0].replace('_', '-')} and --price-per-hour"
            raise BenchError(f"{both} both say the price; leave one out, or give the instance its price in prices.toml")
        price = book.hourly(asked.price_per_hour)
        return Chosen(price, f"price: {price.usd_per_hour} USD/h, given by --price-per-hour")
    narrowed = next((name.replace("_", "-") for name in NARROWING if getattr(asked, name) is not None), None)
    if asked.instance is None and narrowed is None and used is not None and used.exists():
        return _used(used)
    file = own(asked.prices)
    if asked.instance is not None:
        choice = Choice(asked.instance, asked.service, asked.region, asked.price_model)
        return _chosen(choice, file, "named by --instance")
    if used is not None and used.exists() and not _from_command_line(used):
        choice = _narrowed(_choice_of(_one_used(used)), asked)
        return _chosen(choice, file, f"the run's own instance, in {used}, asked for anew")
    if file.choice is not None:
        try:
            return _chosen(_narrowed(file.choice, asked), file, f"the standing choice of {file.path}")
        except BenchError as error:
            raise BenchError(f"prices file {file.path}: instance: {error}") from None
    reason = "none is asked for"
    if machine is not None:
        found = devices.detect(machine, known(file))
        reason = found.reason
        if found.instance:
            try:
                return _chosen(_narrowed(Choice(found.instance), asked), file, found.origin)
            except BenchError as error:
                if narrowed:
                    raise
                reason = f"{found.origin}, but {error}"  # nobody asked: it is no mistake of theirs
    if narrowed:
        raise BenchError(
            f"--{narrowed} wants an --instance whose price it chooses; name one, or leave it out"
            + (f" ({reason})" if machine else "")
        )
    return Chosen(None, f"no price: {reason}")


def _narrowed(choice: Choice, asked: Asked) -> Choice:
    return Choice(
        choice.instance,
        choice.service if asked.service is None else asked.service,
        choice.region if asked.region is None else asked.region,
        choice.price_model if asked.price_model is None else asked.price_model,
    )


def _chosen(choice: Choice, file: UserFile, why: str) -> Chosen:
    price = book.find(
        choice.instance,
        service=choice.service,
        region=choice.region,
        price_model=choice.price_model,
        user=file.prices,
        bundle=file.book,
    )
    return Chosen(price, f"price: {_words(price)}: {why}")


def _used(path: Path) -> Chosen:
    price = _one_used(path)
    return Chosen(price, f"price: {_words(price)}: the run's own, in {path}")


def _one_used(path: Path) -> Price:
    prices = book.read_used(path)
    if len(prices) != 1:
        raise BenchError(f"prices file {path}: wanted the one price of a run, found {len(prices)}; restore it")
    return prices[0]


def _from_command_line(path: Path) -> bool:
    return _one_used(path).from_command_line


def _choice_of(price: Price) -> Choice:
    return Choice(price.instance, price.service or None, price.region or None, price.price_model)


def _words(price: Price) -> str:
    if price.from_command_line:
        return f"{price.usd_per_hour} USD/h"
    text = f"{price.instance} {book.offer(price)}, {price.usd_per_hour} USD/h"
    share, count = price.usd_per_hour_share, price.accelerator_count
    if share is None or count == 1:
        return text
    return f"{text} for the whole instance, {share:.6g} for one of its {count} accelerators"
