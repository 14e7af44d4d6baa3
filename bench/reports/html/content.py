"""Reports to what the page shows: verdicts, tables, remarks. Text stays text, the template escapes it. Pure.

A cell of money carries seconds: what it costs at a price of 1 USD a second. The page multiplies.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from html import unescape

from msgspec import Struct
from msgspec.structs import replace

from bench import table
from bench.prices.cost import UNKNOWN, Cost
from bench.prices.rows import Price
from bench.reports import groups, markdown
from bench.reports import money as together
from bench.reports import overheads as over
from bench.reports import searches as sought
from bench.reports.markdown import digits
from bench.reports.names import called
from bench.reports.winners import winners
from bench.table import Report, Row

A_SECOND = Price(instance="1 USD a second", usd_per_hour=Decimal(3600))


class Cell(Struct, frozen=True):
    """A text; and, where it is money, how the page finds it anew. `kind`: whole, share, billed, `per` dollar, `under`.

    Of `kind` price the text is the price's own name, and `seconds` is the number of the run.
    """

    text: str
    kind: str = ""
    seconds: str = ""
    report: int = 0


class Line(Struct, frozen=True):
    """A row of a table: its name, its backend for the colour, and the other cells."""

    name: str
    backend: str
    cells: tuple[Cell, ...]


class Table(Struct, frozen=True):
    """`heads` without that of the name, which is `head`."""

    title: str
    head: str
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    caption: str = ""
    remarks: tuple[str, ...] = ()

    def words(self, place: int) -> bool:
        """Whether that column holds words, not numbers."""
        return any(line.cells[place].text[:1].isalpha() for line in self.lines)


class Verdict(Struct, frozen=True):
    """Who is fastest among rivals: named where it is proved."""

    title: str
    said: str
    name: str = ""
    backend: str = ""
    time: str = ""


def text(escaped: str) -> str:
    """What `markdown.plain` made of a text, undone."""
    return unescape(escaped.replace("\\|", "|"))


def verdicts(reports: Sequence[Report]) -> list[Verdict]:
    found = []
    for group in groups.rivals(reports):
        for said in winners(list(group.rows)):
            best = next(row for row in group.rows if row.relative == 1.0)
            time = f"{digits(best.step_ms)}{markdown.interval(best.step_ms_low, best.step_ms_high)} ms a step"
            named = called(best, list(group.rows)) if said.startswith("Fastest") else ""
            found.append(Verdict(group.title, said, named, best.case.backend, time if named else ""))
    return found


def results(reports: Sequence[Report]) -> list[Table]:
    """A table a section: the columns of `table.md`, with money whether or not there is a price."""
    found = []
    for group in groups.sections(reports):
        rows = list(group.rows)
        place = next(i for i, report in enumerate(reports) if report is group.report)
        (_, name), *columns, status = markdown.columns_of(replace(group.report, price=None), rows)
        lines = [
            Line(
                name(row),
                row.case.backend,
                (
                    *(Cell(form(row)) for _, form in columns),
                    usd(group.report, place, row, lambda cost: (cost.usd_per_million_samples,)),
                    Cell(status[1](row)),
                ),
            )
            for row in rows
        ]
        heads = (*(head for head, _ in columns), "USD/M samples", status[0])
        found.append(
            Table(group.title, "backend", heads, tuple(lines), markdown.caption(group.report, rows), remarks(rows))
        )
    return found


def remarks(rows: list[Row]) -> tuple[str, ...]:
    """What is to be said of rows that have a time."""
    said = []
    for row in (row for row in rows if row.step_ms is not None):
        reason = f"{row.status}, {row.reason}" if row.reason else ""
        # Without its dollars: the tables of money have them, and there they follow the price.
        even = markdown.repaid(replace(row, cost=UNKNOWN)) if row.break_even_steps is not None else ""
        said += [f"{called(row, rows)}: {what}" for what in (reason, markdown.too_few(row), even) if what]
    return tuple(said)


def usd(
    report: Report, place: int, row: Row, pick: Callable[[Cost], Sequence[Decimal | None]], kind: str = "whole"
) -> Cell:
    """A cell of money: an amount and, where there are three, its interval. A dash where there is none at any price."""
    mark = "~" if report.price_age == "stale" else ""
    middle, *ends = pick(row.cost)
    shown = markdown.money(middle, mark)
    if len(ends) == 2 and None not in ends:
        shown += f" ({markdown.money(ends[0], '')}-{markdown.money(ends[1], '')})"
    seconds = [amount for amount in pick(table.priced(row, A_SECOND).cost) if amount is not None]
    return Cell(shown, kind, " ".join(f"{amount:.17g}" for amount in seconds), place) if seconds else Cell("-")


def costs(reports: Sequence[Report]) -> list[Table]:
    """A table a section of what its rows cost: all reports together, cheapest first."""
    found = []
    several = len(reports) > 1
    for lines in groups.gathered(together.lines(reports), lambda line: groups.titled(line.row)):
        made, beside = [], together.Beside(lines)
        for line in sorted(lines, key=lambda line: (line.usd is None, line.usd or 0, line.seconds)):
            place = next(i for i, report in enumerate(reports) if report is line.report)
            number, mark = str(line.number), "~" if line.report.price_age == "stale" else ""
            at = (Cell(f"{number}: {together.named(line.report.price)}", "price", number, place),) if several else ()
            under = markdown.money(beside.under(line), mark)
            last = (Cell(under, "under", number, place),) if len(groups.runs(reports)) > 1 else ()
            cells = (*at, Cell(digits(line.seconds * 1e6)), *_amounts(line.report, place, line.row), *last)
            made.append(Line(beside.name(line), line.row.case.backend, cells))
        heads = ("run: price",) if several else ()
        ends = (UNDER,) if len(groups.runs(reports)) > 1 else ()
        made_of = Table(groups.titled(lines[0].row), "row", (*heads, *MONEY, *ends), tuple(made))
        found.append(_without_empty(made_of))
    return found


UNDER = "cheapest under USD/h"
MONEY = (
    *("us/sample", "USD/M samples (95 %)", "one accelerator's share (95 %)", "USD/epoch (95 %)"),
    "inferences/USD (95 %)",
    *("USD measured", "USD billed", "USD to break-even"),
)


def _amounts(report: Report, place: int, row: Row) -> Iterable[Cell]:
    def million(c: Cost) -> Sequence[Decimal | None]:
        return c.usd_per_million_samples, c.usd_per_million_samples_low, c.usd_per_million_samples_high

    yield usd(report, place, row, million)
    share = usd(report, place, row, million, "share")
    mark = "~" if report.price_age == "stale" else ""
    yield replace(share, text=together.amount(row.cost, "usd_per_million_samples_share", mark)) if share.kind else share
    yield usd(report, place, row, lambda c: (c.usd_per_epoch, c.usd_per_epoch_low, c.usd_per_epoch_high))
    answered = ("inferences_per_usd", "inferences_per_usd_low", "inferences_per_usd_high")
    yield usd(report, place, row, lambda c: [getattr(c, name) for name in answered], "per")
    yield usd(report, place, row, lambda c: (c.usd_measured,))
    billed = usd(report, place, row, lambda c: (c.usd_measured,), "billed")
    seconds = "" if row.occupied_seconds is None else repr(row.occupied_seconds)
    yield replace(billed, text=markdown.money(row.cost.usd_billed, mark), seconds=seconds) if billed.kind else billed
    yield usd(report, place, row, lambda c: (c.usd_break_even,))


def _without_empty(made: Table) -> Table:
    """Without the columns that would be dashes at every price."""
    kept = [
        i
        for i in range(len(made.heads))
        if any(line.cells[i].seconds or line.cells[i].text != "-" for line in made.lines)
    ]
    lines = tuple(replace(line, cells=tuple(line.cells[i] for i in kept)) for line in made.lines)
    return replace(made, heads=tuple(made.heads[i] for i in kept), lines=lines)


def proofs(reports: Sequence[Report]) -> Table:
    """What each worker's program was proved to compute."""
    lines = []
    for report in groups.runs(reports):
        for rows in groups.gathered(report.rows, lambda row: row.case.worker):
            row = rows[0]
            if row.parity_fp64 is None and row.parity_error is None and row.status != "parity_failed":
                continue
            case, broken = row.case, row.status == "parity_failed"
            said = "broken" if broken else "held"
            errors = (markdown.error(row.parity_fp64), markdown.error(row.parity_error))
            cells = (
                case.workload,
                case.mode,
                case.precision,
                case.layout,
                case.device,
                str(case.threads),
                *errors,
                said,
            )
            lines.append(Line(case.backend, row.case.backend, tuple(map(Cell, cells))))
    heads = ("workload", "mode", "precision", "layout", "device", "threads", "fp64", "as timed", "proof")
    return Table("Largest relative difference of any tensor", "backend", heads, tuple(lines))


def overheads(reports: Sequence[Report]) -> list[Table]:
    """What Keras costs over its engine and a recipe over none, a table a kind and run."""
    found, several = [], len(groups.runs(reports)) > 1
    for number, report in enumerate(groups.runs(reports), 1):
        for kind in over.KINDS:
            lines, pairs = [], kind.found(report)
            varied = kind.varied(pairs)
            for one in pairs:
                name, *rest = kind.cells(one, varied)
                lines.append(Line(name, one.row.case.backend, tuple(map(Cell, rest))))
            if lines:
                title = kind.title + (f" (run {number})" if several else "")
                first, *heads = kind.head(varied)
                found.append(Table(title, first, tuple(heads), tuple(lines), kind.note.replace("`", "")))
    return found


def searches(reports: Sequence[Report]) -> list[Table]:
    """What each search for a batch found, a table a run."""
    found, several = [], len(groups.runs(reports)) > 1
    for number, report in enumerate(groups.runs(reports), 1):
        lines: list[Line] = []
        said: list[str] = []
        for one in report.searches:
            workload, phase, name, *rest = sought.cells(report, one)
            lines.append(Line(name, one.cases[0].backend, tuple(map(Cell, (workload, phase, *rest)))))
            said += sought.remarks(report, one)
        if lines:
            title = sought.TITLE + (f" (run {number})" if several else "")
            heads = (*sought.HEAD[:2], *sought.HEAD[3:])
            found.append(Table(title, sought.HEAD[2], heads, tuple(lines), sought.NOTE.replace("`", ""), tuple(said)))
    return found


def noise(reports: Sequence[Report]) -> list[Table]:
    """What the sensors saw beside each row that has a time."""
    found = []
    for group in groups.sections(reports):
        rows = [row for row in group.rows if row.step_ms is not None]
        if not rows:
            continue
        lines = []
        for row in rows:
            seen = (_cores(row.others_cores), _cores(row.stolen_cores))
            beside = {None: "-", True: "yes", False: "no"}[row.disturbed]
            cells = (
                *seen,
                beside,
                str(row.rounds),
                f"{row.samples:,}",
                row.status,
                row.reason or "-",
                row.evidence or "-",
            )
            lines.append(Line(called(row, rows), row.case.backend, tuple(map(Cell, cells))))
        heads = ("others' cores", "stolen cores", "disturbed", "processes", "bursts", "status", "why", "evidence")
        found.append(Table(group.title, "row", heads, tuple(lines)))
    return found


def without_number(reports: Sequence[Report]) -> list[tuple[str, str, list[str]]]:
    """Status, reason, and the cases of it, of rows that have no time."""
    rows = [row for report in groups.runs(reports) for row in report.rows if row.step_ms is None]
    alike = groups.gathered(rows, lambda row: (row.status, row.reason))
    return [(same[0].status, same[0].reason or "no reason is known", [str(row.case) for row in same]) for same in alike]


def _cores(seen: float | None) -> str:
    return "-" if seen is None else f"{seen:.2f}"


def plain_lines(lines: Iterable[str]) -> list[str]:
    return [text(line) for line in lines]
