"""What an hour of one's own hardware costs: its purchase spread over the hours that it is used, and its current."""

from decimal import Context, Decimal

import msgspec

from bench.errors import BenchError
from bench.prices.rows import Count, Price, check

HOURS_A_YEAR = 365 * 24
# Significant digits of the result: far finer than a share of used hours is known, and short enough to print.
DIGITS = 12
# Decimal at its usual 28 digits would round the sums of long numbers; the one division below rounds alone.
EXACT = Context(prec=200)
ROUNDED = Context(prec=DIGITS)


class Hardware(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine that was bought: a `[[hardware]]` of `prices.toml`.

    `purchase_usd` in USD, `years` until it is written off, `share_used`: of all hours, those in which it works (above
    0, up to 1). `kw`: drawn while it works, with cooling if you pay it; `usd_per_kwh`: what a kWh costs. The rest is
    as in `Price`.
    """

    instance: str
    purchase_usd: Decimal
    years: Decimal
    share_used: Decimal
    kw: Decimal | None = None
    usd_per_kwh: Decimal | None = None
    accelerator: str = ""
    accelerator_count: Count | None = None
    vcpus: Count | None = None
    memory_gib: Decimal | None = None
    as_of: str = ""
    source: str = ""


# What is accepted of each, and in which unit: beyond it is a slip of the keyboard.
RANGES = {
    "purchase_usd": (Decimal("0.01"), Decimal(1_000_000_000), "USD"),
    "years": (Decimal("0.01"), Decimal(50), "years"),
    "share_used": (Decimal("0.0001"), Decimal(1), "of all hours"),
    "kw": (Decimal("0.0001"), Decimal(10_000), "kW"),
    "usd_per_kwh": (Decimal("0.0001"), Decimal(100), "USD/kWh"),
}


def amortised(hardware: Hardware, where: str) -> Price:
    """USD per hour of work = purchase / (years x 8760 h x share used) + kW x USD per kWh, to 12 digits.

    An hour in which it idles is paid by the hours in which it works: half the use is twice the price. Interest, space
    and people are left out. `BenchError` names the value, after `where`.
    """
    for name, (least, most, unit) in RANGES.items():
        value = getattr(hardware, name)
        if value is not None and not (value.is_finite() and least <= value <= most):
            raise BenchError(f"{where}.{name}: wanted {least} to {most} {unit}, found {value}; correct it")
    kw, usd_per_kwh = hardware.kw, hardware.usd_per_kwh
    if (kw is None) != (usd_per_kwh is None):
        there, lacking = ("usd_per_kwh", "kw") if kw is None else ("kw", "usd_per_kwh")
        raise BenchError(f"{where}: wanted kw and usd_per_kwh together, found {there} alone; add {lacking}")
    hours = EXACT.multiply(EXACT.multiply(hardware.years, Decimal(HOURS_A_YEAR)), hardware.share_used)
    current, said = Decimal(0), ""
    if kw is not None and usd_per_kwh is not None:
        current = EXACT.multiply(EXACT.multiply(kw, usd_per_kwh), hours)
        said = f", {kw} kW at {usd_per_kwh} USD/kWh"
    whole = EXACT.add(hardware.purchase_usd, current)
    how = f"{hardware.purchase_usd} USD over {hardware.years} years, {hardware.share_used} of the hours used{said}"
    price = Price(
        instance=hardware.instance,
        accelerator=hardware.accelerator,
        accelerator_count=hardware.accelerator_count,
        vcpus=hardware.vcpus,
        memory_gib=hardware.memory_gib,
        price_model="amortised",
        usd_per_hour=ROUNDED.divide(whole, hours),
        as_of=hardware.as_of,
        source=f"{hardware.source}; {how}" if hardware.source else how,
    )
    check(price, where)
    return price
