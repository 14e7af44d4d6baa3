"""Which price a command line asks for: its own number, then the user's file, then the bundled book, else none."""

from pathlib import Path

from msgspec import Struct

from bench.errors import BenchError
from bench.prices import book
from bench.prices.book import Price

OWN_FILE = Path("prices.toml")


class Asked(Struct, frozen=True):
    """The price flags of a command line."""

    instance: str | None = None
    region: str | None = None
    service: str | None = None
    price_model: str = "on_demand"
    price_per_hour: str | None = None
    prices: Path | None = None


def price(asked: Asked) -> Price | None:
    """The price that applies, or None if none is asked for; `BenchError` for one that does not exist."""
    if asked.price_per_hour is not None:
        return book.hourly(asked.price_per_hour)
    if asked.instance is None:
        given = [name for name in ("region", "service", "prices") if getattr(asked, name) is not None]
        if given or asked.price_model != "on_demand":
            flag = given[0] if given else "price-model"
            raise BenchError(f"--{flag} wants an --instance whose price it chooses; name one, or leave it out")
        return None
    own = asked.prices or (OWN_FILE if OWN_FILE.exists() else None)
    user = book.user_prices(own) if own else ()
    return book.find(
        asked.instance, service=asked.service, region=asked.region, price_model=asked.price_model, user=user
    )
