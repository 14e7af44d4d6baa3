"""Time and money of several runs, or of one run at several prices, in one table: who is beaten by nobody in both."""

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct
from tabulate import tabulate

from bench.prices import cost, pareto
from bench.prices.book import Price
from bench.reports import groups
from bench.reports.markdown import SOUND, digits, interval, machine_line, money, money_lines, plain
from bench.table import Report, Row

HEAD = (
    *("", "run", "USD/h", "backend", "mode", "precision", "batch", "step ms (95 %)", "samples/s"),
    *("USD/M samples (95 %)", "share", "USD/epoch", "inferences/USD", "cheapest under USD/h", "status"),
)
LEFT = 6
MATRIX = 8  # break-even prices between so many at most: a wider table is read by nobody
BEST = "`*`: no other row here takes less time and less money a sample."
SHARE = "`share`: one accelerator of the instance, if somebody rents the rest."
UNDER = "`cheapest under`: what an hour must cost less than for the row to be the cheapest."
CANCELS = "Between rows of one run at one price the price cancels: their costs are as their times."


class Line(Struct, frozen=True):
    """One row of one report, with what it is measured by here. `number`: its run's, from 1."""

    number: int
    report: Report
    row: Row
    seconds: float
    usd: Decimal | None

    @property
    def price(self) -> Price | None:
        return self.report.price


def render(reports: Sequence[Report]) -> str:
    parts = ["# Stepwatch: time and money", *_origins(reports)]
    sections: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines(reports):
        case = line.row.case
        sections.setdefault((case.workload, case.phase, case.measure), []).append(line)
    for (workload, phase, measure), found in sections.items():
        title = f"## {plain(workload)}, {phase}" + (", latency" if measure == "latency" else "")
        parts += [title, table(found), *(between(found) if len(groups.runs(reports)) > 1 else [])]
    if not sections:
        parts.append("No row has a time.")
    several = len(groups.runs(reports)) > 1
    shared = any(not _one(report.price) for report in reports)
    notes = [BEST, *([SHARE] if shared else []), *([UNDER] if several else []), CANCELS]
    return "\n\n".join([*parts, " ".join(notes)]) + "\n"


def lines(reports: Sequence[Report]) -> list[Line]:
    """Every row that has a time."""
    return [
        Line(number, report, row, row.step_ms / 1e3 / row.case.batch, row.cost.usd_per_million_samples)
        for number, report in zip(groups.numbers(reports), reports, strict=True)
        for row in report.rows
        if row.step_ms is not None
    ]


def best(found: Sequence[Line]) -> list[bool]:
    """Which lines are on the Pareto line of time and money; one of unknown cost, or that failed a check, is not."""
    kept = [line for line in found if line.usd is not None and line.row.status in SOUND]
    on = pareto.front([(line.seconds, line.usd) for line in kept if line.usd is not None])
    chosen = {id(line) for line, best in zip(kept, on, strict=True) if best}
    return [id(line) in chosen for line in found]


def table(found: Sequence[Line]) -> str:
    """Cheapest first; what has no cost comes last, fastest first."""
    marked = dict(zip(map(id, found), best(found), strict=True))
    ordered = sorted(found, key=lambda line: (line.usd is None, line.usd or 0, line.seconds))
    body = [_cells(line, marked[id(line)], ordered) for line in ordered]
    used = [place for place in range(len(HEAD)) if place < LEFT or any(row[place] != "-" for row in body)]
    align = ["left" if place < LEFT or place == len(HEAD) - 1 else "right" for place in used]
    return tabulate(
        [[row[place] for place in used] for row in body],
        [HEAD[place] for place in used],
        tablefmt="pipe",
        colalign=align,
        disable_numparse=True,
    )


def _cells(line: Line, marked: bool, ordered: Sequence[Line]) -> list[str]:
    row, made = line.row, line.row.cost
    old = "~" if line.report.price_age == "stale" else ""
    case = row.case
    under = _under(line, ordered)
    return [
        "*" if marked else "",
        str(line.number),
        plain(_price(line.price)),
        plain(case.backend),
        case.mode,
        case.precision,
        str(case.batch),
        digits(row.step_ms) + interval(row.step_ms_low, row.step_ms_high),
        digits(row.samples_per_second),
        money(made.usd_per_million_samples, old)
        + _between(made.usd_per_million_samples_low, made.usd_per_million_samples_high),
        "-" if _one(line.price) else money(made.usd_per_million_samples_share, old),
        money(made.usd_per_epoch, old),
        money(made.inferences_per_usd, old),
        "-" if under is None else money(under, old),
        row.status,
    ]


def _under(line: Line, ordered: Sequence[Line]) -> Decimal | None:
    """The price of an hour below which the line is cheaper than the cheapest other of another run."""
    other = next((o for o in ordered if o.usd is not None and o.number != line.number), None)
    if other is None or other.price is None or line.usd is None:
        return None
    return cost.break_even_price(other.price.usd_per_hour, other.seconds, line.seconds)


def between(found: Sequence[Line]) -> list[str]:
    """Of the cheapest row of each price: below which price of an hour it is cheaper than each of the others."""
    cheapest: dict[tuple[int, Price], Line] = {}
    for line in sorted((line for line in found if line.usd is not None), key=lambda line: (line.usd, line.seconds)):
        if line.price:
            cheapest.setdefault((line.number, line.price), line)
    chosen = list(cheapest.values())[:MATRIX]
    if len({line.price for line in chosen}) < 2:
        return []
    names = [f"{line.number}: {plain(_price(line.price))}, {plain(line.row.case.backend)}" for line in chosen]
    body = []
    for name, line in zip(names, chosen, strict=True):
        cells = []
        for other in chosen:
            same = other is line or other.price is None
            usd = None if same or other.price is None else other.price.usd_per_hour
            cells.append("-" if usd is None else money(cost.break_even_price(usd, other.seconds, line.seconds), ""))
        body.append([name, *cells])
    align = ["left", *("right",) * len(names)]
    drawn = tabulate(body, ["cheaper than ... below USD/h", *names], "pipe", colalign=align, disable_numparse=True)
    return ["The row on the left is cheaper than the one above while its hour costs less than:", drawn]


def _origins(reports: Sequence[Report]) -> list[str]:
    """Each run once, with every price that its times are held against."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for report in reports:
        told = said.setdefault(groups.run_of(report), [machine_line(report)])
        told += [line for line in money_lines(report, alone=False) if line not in told]
    return [f"{number}. " + "\n   - ".join(told) for number, told in enumerate(said.values(), 1)]


def _price(price: Price | None) -> str:
    if price is None:
        return "-"
    what = " ".join(filter(None, (price.instance, price.price_model, price.region)))
    return f"{what or 'given'}: {price.usd_per_hour}"


def _one(price: Price | None) -> bool:
    """Whether there is no share, or the whole is it."""
    return price is None or price.usd_per_hour_share is None or price.accelerator_count == 1


def _between(low: Decimal | None, high: Decimal | None) -> str:
    return "" if low is None or high is None else f" ({money(low, '')}-{money(high, '')})"
