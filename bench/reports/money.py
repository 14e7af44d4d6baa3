"""What rows cost, of one run or of several side by side: who is beaten by nobody in time and money."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct
from tabulate import tabulate

from bench.prices import cost, pareto
from bench.prices.book import Price
from bench.reports import groups
from bench.reports.markdown import digits, interval, machine_line, money, money_lines, plain
from bench.reports.names import called
from bench.reports.winners import SOUND
from bench.table import Report, Row

HEAD = (
    *("", "run", "price of an hour", "row", "us/sample (95 %)", "USD/M samples (95 %)", "share (95 %)"),
    *("USD/epoch (95 %)", "inferences/USD (95 %)", "USD measured", "USD billed", "cheapest under USD/h", "status"),
)
LEFT = 4
MATRIX = 8  # break-even prices between so many at most: a wider table is read by nobody
BEST = "`*`: no other row here is as good in time and money a sample and better in one."
SHARE = "`share`: one accelerator of the instance, if somebody rents the rest."
SPENT = "`measured`: what was timed; `billed`: a row's processes from start to end, as a rental of their own."
UNDER = "`cheapest under`: what an hour must cost less than for this run's cheapest row to be the cheapest of all."
CANCELS = "Between rows of one run at one price the price cancels: their costs are as their times a sample."


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


def one(report: Report) -> str:
    """What each row of one report costs; empty without a price."""
    if report.price is None or not lines([report]):
        return ""
    return "\n\n".join(["## Money", *_sections([report], "###"), " ".join(_notes([report]))]) + "\n"


class Beside:
    """What the lines of one table are held against, reckoned once for all: of 1,000 runs there are thousands."""

    def __init__(self, found: Sequence[Line]) -> None:
        self.rows: dict[int, list[Row]] = {}
        self.quickest: dict[int, float] = {}
        cheapest: dict[int, Line] = {}
        for line in found:
            report = id(line.report)
            self.rows.setdefault(report, []).append(line.row)
            self.quickest[report] = min(line.seconds, self.quickest.get(report, line.seconds))
            if line.usd is not None:
                first = cheapest.setdefault(line.number, line)
                if first.usd is not None and line.usd < first.usd:
                    cheapest[line.number] = line
        self.cheapest = sorted(cheapest.values(), key=lambda line: (line.usd or 0, line.seconds))

    def name(self, line: Line) -> str:
        """What the row is called among those of its own report."""
        return called(line.row, self.rows[id(line.report)])

    def under(self, line: Line) -> Decimal | None:
        """The price of an hour below which the line, its report's quickest, is cheaper than all of another run."""
        other = next((o for o in self.cheapest[:2] if o.number != line.number), None)
        if other is None or other.price is None or line.usd is None:
            return None
        if line.seconds > self.quickest[id(line.report)]:
            return None
        return cost.break_even_price(other.price.usd_per_hour, other.seconds, line.seconds)


def render(reports: Sequence[Report]) -> str:
    """Several runs, or one at several prices, beside each other."""
    sections = _sections(reports, "##") or ["No row has a time."]
    parts = ["# Stepwatch: time and money", *_origins(reports), *sections, " ".join(_notes(reports))]
    return "\n\n".join(parts) + "\n"


def _sections(reports: Sequence[Report], level: str) -> list[str]:
    parts = []
    for found in groups.gathered(lines(reports), lambda line: groups.titled(line.row)):
        parts += [f"{level} {plain(groups.titled(found[0].row))}", table(found)]
        parts += between(found) if len(groups.runs(reports)) > 1 else []
    return parts


def _notes(reports: Sequence[Report]) -> list[str]:
    several = len(groups.runs(reports)) > 1
    shared = any(not _one(report.price) for report in reports)
    return [BEST, *([SHARE] if shared else []), SPENT, *([UNDER] if several else []), CANCELS]


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
    beside = Beside(found)
    body = [_cells(line, marked[id(line)], beside) for line in ordered]
    several = {"run": len({o.number for o in found}) > 1, "price of an hour": len({o.price for o in found}) > 1}
    used = [
        place
        for place, name in enumerate(HEAD)
        if any(row[place] not in ("-", "") for row in body) and several.get(name, True)
    ]
    align = ["left" if place < LEFT or place == len(HEAD) - 1 else "right" for place in used]
    return tabulate(
        [[row[place] for place in used] for row in body],
        [HEAD[place] for place in used],
        tablefmt="pipe",
        colalign=align,
        disable_numparse=True,
    )


def _cells(line: Line, marked: bool, beside: Beside) -> list[str]:
    row, made = line.row, line.row.cost
    old = "~" if line.report.price_age == "stale" else ""
    micro = 1e3 / row.case.batch
    ends = [None if ms is None else ms * micro for ms in (row.step_ms_low, row.step_ms_high)]
    return [
        "*" if marked else "",
        str(line.number),
        plain(_price(line.price)),
        plain(beside.name(line)),
        digits(line.seconds * 1e6) + interval(*ends),
        amount(made, "usd_per_million_samples", old),
        "-" if _one(line.price) else amount(made, "usd_per_million_samples_share", old),
        amount(made, "usd_per_epoch", old),
        amount(made, "inferences_per_usd", old),
        money(made.usd_measured, old),
        money(made.usd_billed, old),
        money(beside.under(line), old),
        row.status,
    ]


def amount(made: cost.Cost, which: str, mark: str) -> str:
    """An amount with its interval."""
    middle, low, high = (getattr(made, which + end) for end in ("", "_low", "_high"))
    return money(middle, mark) + ("" if low is None or high is None else f" ({money(low, '')}-{money(high, '')})")


def between(found: Sequence[Line]) -> list[str]:
    """Of the cheapest row of each price: below which price of an hour it is cheaper than each of the others."""
    cheapest: dict[tuple[int, Price], Line] = {}
    for line in sorted((line for line in found if line.usd is not None), key=lambda line: (line.usd, line.seconds)):
        if line.price:
            cheapest.setdefault((line.number, line.price), line)
    chosen = list(cheapest.values())[:MATRIX]
    if len({line.price for line in chosen}) < 2:
        return []
    beside = Beside(found)
    names = [f"{line.number}: {plain(_price(line.price))}, {plain(beside.name(line))}" for line in chosen]
    body = []
    for title, line in zip(names, chosen, strict=True):
        cells = []
        for other in chosen:
            same = other is line or other.price is None
            usd = None if same or other.price is None else other.price.usd_per_hour
            cells.append("-" if usd is None else money(cost.break_even_price(usd, other.seconds, line.seconds), ""))
        body.append([title, *cells])
    align = ["left", *("right",) * len(names)]
    drawn = tabulate(body, ["cheaper than ... below USD/h", *names], "pipe", colalign=align, disable_numparse=True)
    return ["The row on the left is cheaper than the one above while its hour costs less than:", drawn]


def _origins(reports: Sequence[Report]) -> list[str]:
    """Each run once, with every price that its times are held against."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for report in reports:
        told = said.setdefault(groups.run_of(report), [machine_line(report)])
        told += [line for line in money_lines(report, alone=False) if line not in told]
    for report in groups.runs(reports):
        said[groups.run_of(report)] += _without_time(report)
    return [f"{number}. " + "\n   - ".join(told) for number, told in enumerate(said.values(), 1)]


def _without_time(report: Report) -> list[str]:
    """The cases that are not in the tables below, by their status."""
    missing = Counter(row.status for row in report.rows if row.step_ms is None)
    words = ", ".join(f"{count} {status}" for status, count in missing.items())
    return [f"Without a time, and in no table here: {words}; its own report says why."] if missing else []


def named(price: Price | None) -> str:
    """A price without its amount."""
    if price is None:
        return "-"
    return (
        "given"
        if price.from_command_line
        else " ".join(filter(None, (price.instance, price.price_model, price.region)))
    )


def _price(price: Price | None) -> str:
    return "-" if price is None else f"{named(price)}: {price.usd_per_hour}"


def _one(price: Price | None) -> bool:
    """Whether there is no share, or the whole is it."""
    return price is None or price.usd_per_hour_share is None or price.accelerator_count == 1
