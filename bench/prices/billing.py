"""How long a provider bills for: seconds rounded up to its unit, and at least its minimum."""

from decimal import ROUND_CEILING, Context, Decimal

from msgspec import Struct


class Rule(Struct, frozen=True):
    """Both in seconds. `source`: who says so."""

    unit: int
    minimum: int
    source: str


EXACT = Context(prec=60)  # whatever the caller's precision is
# Of services whose rule is not known here there is no bill, only the arithmetic of `usd_measured`.
RULES = {
    ("aws", "ec2"): Rule(1, 60, "docs.aws.amazon.com: Linux instances by the second, 60 s at least"),
    ("gcp", "compute"): Rule(1, 60, "cloud.google.com/compute: by the second, 60 s at least"),
}


def seconds(provider: str, service: str, used: float) -> Decimal | None:
    """Of so many seconds that an instance ran: what it is billed for, or None where the rule is not known."""
    rule = RULES.get((provider, service))
    if rule is None:
        return None
    units = EXACT.divide(Decimal(repr(float(used))), rule.unit).to_integral_value(ROUND_CEILING)
    return max(EXACT.multiply(units, rule.unit), Decimal(rule.minimum))
