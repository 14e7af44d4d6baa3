"""What work costs at one price: USD a million samples, an epoch, a million inferences, a measurement. Exact decimals.

Every amount is USD per hour / 3600 x seconds; seconds count as the shortest decimal that is the float, and the one
division comes last. On one machine the price cancels: the ratio of two costs is that of the two times.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import reduce
from math import isfinite

from msgspec import Struct

from bench.errors import BenchError
from bench.prices import billing
from bench.prices.rows import Price

MILLION = 10**6
HOUR = 3600
# The caller's own precision changes no amount: products keep every digit, and a quotient is rounded once.
PRODUCT, QUOTIENT = Context(prec=200), Context(prec=28, rounding=ROUND_HALF_EVEN)


class Timed(Struct, frozen=True):
    """What there is to pay for. Seconds: of a step with the ends of its interval, of all timed bursts (`measured`), of
    the processes with start, compilation and warm-up (`occupied`), until a compilation is repaid.

    `batch`: samples a step. `epoch`: samples of one pass over the training data, None where that is not known.
    """

    step: float
    low: float | None
    high: float | None
    batch: int
    inference: bool
    epoch: int | None = None
    measured: float | None = None
    occupied: float | None = None
    break_even: float | None = None
    break_even_warm: float | None = None


class Cost(Struct, frozen=True):
    """In USD; None is "not known". `_low`, `_high`: at the ends of the 95 % interval of the time.

    What was measured and billed are sums of times that were, and have none.
    `_share`: of one accelerator, if somebody rents the rest. `usd_billed` rounds as the provider does.
    """

    usd_per_million_samples: Decimal | None = None
    usd_per_million_samples_low: Decimal | None = None
    usd_per_million_samples_high: Decimal | None = None
    usd_per_million_samples_share: Decimal | None = None
    usd_per_million_samples_share_low: Decimal | None = None
    usd_per_million_samples_share_high: Decimal | None = None
    usd_per_epoch: Decimal | None = None
    usd_per_epoch_low: Decimal | None = None
    usd_per_epoch_high: Decimal | None = None
    usd_per_million_inferences: Decimal | None = None
    usd_per_million_inferences_low: Decimal | None = None
    usd_per_million_inferences_high: Decimal | None = None
    inferences_per_usd: Decimal | None = None
    inferences_per_usd_low: Decimal | None = None
    inferences_per_usd_high: Decimal | None = None
    usd_measured: Decimal | None = None
    usd_billed: Decimal | None = None
    usd_break_even: Decimal | None = None
    usd_break_even_warm: Decimal | None = None


UNKNOWN = Cost()


def of(price: Price, timed: Timed) -> Cost:
    """What it costs at that price; `BenchError` unless a step takes a finite time above 0."""
    ends = (timed.step, timed.low, timed.high)
    million, low, high = (_samples(price.usd_per_hour, end, timed.batch, MILLION) for end in ends)
    nothing: Sequence[Decimal | None] = (None,) * 3
    shares = epochs = answered = nothing
    if count := price.accelerator_count:
        shares = [_samples(price.usd_per_hour, end, timed.batch * count, MILLION) for end in ends]
    if timed.inference:
        # The longer a step, the fewer for a dollar: the ends change places.
        turned = (timed.step, timed.high, timed.low)
        answered = [None if s is None else inferences(price.usd_per_hour, s, timed.batch) for s in turned]
    if timed.epoch is not None and not timed.inference:
        epochs = [_samples(price.usd_per_hour, end, timed.batch, timed.epoch) for end in ends]
    return Cost(
        usd_per_million_samples=million,
        usd_per_million_samples_low=low,
        usd_per_million_samples_high=high,
        usd_per_million_samples_share=shares[0],
        usd_per_million_samples_share_low=shares[1],
        usd_per_million_samples_share_high=shares[2],
        usd_per_epoch=epochs[0],
        usd_per_epoch_low=epochs[1],
        usd_per_epoch_high=epochs[2],
        usd_per_million_inferences=million if timed.inference else None,
        usd_per_million_inferences_low=low if timed.inference else None,
        usd_per_million_inferences_high=high if timed.inference else None,
        inferences_per_usd=answered[0],
        inferences_per_usd_low=answered[1],
        inferences_per_usd_high=answered[2],
        usd_measured=usd(price, timed.measured),
        usd_billed=billed(price, timed.occupied),
        usd_break_even=usd(price, timed.break_even),
        usd_break_even_warm=usd(price, timed.break_even_warm),
    )


def usd(price: Price, seconds: float | None) -> Decimal | None:
    """What the whole instance costs for so long, to the digit; None where the time is not known, or never comes."""
    return None if seconds is None or not isfinite(seconds) else _over(HOUR, price.usd_per_hour, _decimal(seconds))


def billed(price: Price, seconds: float | None) -> Decimal | None:
    """What its provider would bill for so long; None where its rule, or the time, is not known."""
    if seconds is None or not isfinite(seconds):
        return None
    whole = billing.seconds(price.provider, price.service, seconds)
    return None if whole is None else _over(HOUR, price.usd_per_hour, whole)


def inferences(usd_per_hour: Decimal, step: float, batch: int) -> Decimal:
    """Inferences for one dollar: the reciprocal of USD an inference, from the same exact product."""
    return _over(_product(usd_per_hour, _step(step)), Decimal(HOUR * batch))


def break_even_price(usd_per_hour: Decimal, seconds: float, other: float) -> Decimal:
    """B is cheaper than A while its hour costs less than this: A's price x A's seconds a sample / B's."""
    return _over(_step(other), usd_per_hour, _step(seconds))


def _samples(usd_per_hour: Decimal, step: float | None, batch: int, samples: int) -> Decimal | None:
    return None if step is None else _over(batch * HOUR, usd_per_hour, _step(step), Decimal(samples))


def _over(divisor: Decimal | int, *factors: Decimal) -> Decimal:
    return QUOTIENT.divide(_product(*factors), divisor)


def _product(*factors: Decimal) -> Decimal:
    return reduce(PRODUCT.multiply, factors)


def _step(seconds: float) -> Decimal:
    found = _decimal(seconds)
    if not found.is_finite() or found <= 0:
        raise BenchError(f"cost: wanted a step of finite seconds above 0, found {found}; give the row no cost")
    return found


def _decimal(seconds: float) -> Decimal:
    return Decimal(repr(float(seconds)))  # float(): the repr of a NumPy float is not a number
