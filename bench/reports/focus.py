"""FOCUS 1.2 (focus.finops.org, Open Cost and Usage Specification): a priced row as a charge, for cost tools. CSV.

An estimate is no invoice: BilledCost, whose sum must be an invoice's, and EffectiveCost are 0 and InvoiceId is empty,
so beside a real bill no sum changes. ListCost is what the row's processes took, at list price; ContractedCost, which
may not be empty, is the same, as the specification has it where no contract is known. No price, no line.
"""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import ceil

import msgspec

from bench.prices.book import Price
from bench.prices.cost import UNKNOWN
from bench.run import Run
from bench.table import Report, Row

COLUMNS = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency"),
    *("ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost"),
    *("EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory"),
    *("PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName"),
    *("ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter"),
    *("SkuPriceDetails", "SkuPriceId", "Tags"),
    *("x_Backend", "x_Mode", "x_PriceAsOf", "x_PriceModel", "x_PriceSource", "x_Workload"),
)
# Every other model is "Other": blocks, calendars, own hardware, a bare price per hour.
CATEGORIES = {"on_demand": "Standard", "spot": "Dynamic", "committed_1y": "Committed", "committed_3y": "Committed"}
# As the providers' own FOCUS exports name them.
PROVIDERS = {"aws": "AWS", "azure": "Microsoft", "gcp": "Google Cloud", "": "not stated"}
SERVICES = {
    "ec2": "Amazon Elastic Compute Cloud",
    "sagemaker": "Amazon SageMaker",
    "virtual-machines": "Virtual Machines",
    "azure-ml": "Azure Machine Learning",
    "compute": "Compute Engine",
    "cloud-tpu": "Cloud TPU",
    "vertex-ai-training": "Vertex AI",
    "": "Compute",
}
MACHINE_LEARNING = ("sagemaker", "azure-ml", "vertex-ai-training")
ACCOUNT = ("stepwatch-estimate", "Stepwatch list-price estimates")
GIVEN = "price-per-hour"  # the SKU of a price without an instance
HOURS = Decimal("1e-9")  # a quantity is rounded to so much of an hour, 3.6 microseconds: then its product is exact
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def render(reports: Sequence[Report]) -> str:
    """A line for every row that has a time and a price, in the order of the reports."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for report in reports:
        for row in report.rows:
            if report.price and row.occupied_seconds is not None and charged(row):
                writer.writerow(charge(report.run, report.price, row, row.occupied_seconds))
    return text.getvalue()


def charged(row: Row) -> bool:
    """Whether it has a line: a time and a price."""
    return row.occupied_seconds is not None and row.cost != UNKNOWN


def charge(run: Run, price: Price, row: Row, occupied: float) -> dict[str, str]:
    """One row: its processes' time, in seconds as consumed and in hours as priced."""
    began = datetime.fromisoformat(run.started).astimezone(UTC)
    ended = began + timedelta(seconds=max(1, ceil(occupied)))
    month = began.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    consumed = Decimal(repr(float(occupied)))
    hours = EXACT.divide(consumed, 3600).quantize(HOURS, context=EXACT)
    usd = plain(EXACT.multiply(hours, price.usd_per_hour))
    provider = PROVIDERS.get(price.provider, price.provider)
    learning = price.service in MACHINE_LEARNING
    sku = (price.provider, price.service, price.instance or GIVEN, price.region, price.price_model)
    case = row.case
    found = {
        "BilledCost": "0.0",
        "BillingAccountId": ACCOUNT[0],
        "BillingAccountName": ACCOUNT[1],
        "BillingCurrency": "USD",
        "BillingPeriodEnd": stamp((month + timedelta(days=32)).replace(day=1)),
        "BillingPeriodStart": stamp(month),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"List-price estimate of a benchmark, not invoiced: {case}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": stamp(ended),
        "ChargePeriodStart": stamp(began),
        "ConsumedQuantity": plain(consumed),
        "ConsumedUnit": "Seconds",
        "ContractedCost": usd,
        "EffectiveCost": "0.0",
        "InvoiceIssuerName": "Stepwatch (estimate, no invoice)",
        "ListCost": usd,
        "ListUnitPrice": plain(price.usd_per_hour),
        "PricingCategory": CATEGORIES.get(price.price_model, "Other"),
        "PricingQuantity": plain(hours),
        "PricingUnit": "Hours",
        "ProviderName": provider,
        "PublisherName": provider,
        "RegionId": price.region,
        "RegionName": price.region,
        "ServiceCategory": "AI and Machine Learning" if learning else "Compute",
        "ServiceName": SERVICES.get(price.service, price.service),
        "ServiceSubcategory": "AI Platforms" if learning else "Virtual Machines",
        "SkuId": price.instance or GIVEN,
        "SkuMeter": "Instance hours",
        "SkuPriceDetails": details(price),
        "SkuPriceId": "/".join(filter(None, sku)),
        "Tags": msgspec.json.encode({name: str(getattr(case, name)) for name in case.__struct_fields__}).decode(),
        "x_Backend": case.backend,
        "x_Mode": case.mode,
        "x_PriceAsOf": price.as_of,
        "x_PriceModel": price.price_model,
        "x_PriceSource": price.source,
        "x_Workload": case.workload,
    }
    return {column: found.get(column, "") for column in COLUMNS}


def details(price: Price) -> str:
    """What is known of the instance, as JSON; names of our own begin with x_."""
    known = {
        "CoreCount": price.vcpus,
        "GpuCount": price.accelerator_count,
        "x_Accelerator": price.accelerator or None,
        "x_PriceModel": price.price_model or None,
    }
    return msgspec.json.encode({name: value for name, value in known.items() if value is not None}).decode()


def plain(number: Decimal) -> str:
    """In full, without a power of ten, and with a point even where nothing follows: readers guess types by it."""
    whole, _, rest = f"{number:f}".partition(".")
    return f"{whole}.{rest.rstrip('0') or '0'}"


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
