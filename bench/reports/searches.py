"""What each search for a batch found, as a table: the largest that fitted, why it ended, and the best throughput."""

from collections.abc import Iterable

from tabulate import tabulate

from bench.reports.markdown import digits, plain
from bench.reports.names import called
from bench.reports.winners import SOUND
from bench.search import BEST, LONGEST_STEP, Search
from bench.table import Report, Row

TITLE = "The search for a batch"
HEAD = ("workload", "phase", "program", "largest that fitted", "it ended because", "best batch", "samples/s (95 %)")
NOTE = (
    f'`batch = "auto"`: each batch is twice the one before, until one does not fit or its step takes over '
    f"{LONGEST_STEP:g} s. What fits, fits beside the batches of its feed. The pilots choose the {BEST} best; these and "
    "the largest are measured in rounds. First losses of batches over 64, of most large models over 16, are not held "
    "against a proof."
)


def render(report: Report) -> str:
    """Empty where nothing was searched."""
    if not report.searches:
        return ""
    lines = [list(map(plain, cells(report, one))) for one in report.searches]
    align = ["left"] * 3 + ["right", "left", "right", "right"]
    table = tabulate(lines, HEAD, tablefmt="pipe", colalign=align, disable_numparse=True)
    said = "\n".join(f"- {plain(line)}" for one in report.searches for line in remarks(report, one))
    return "\n\n".join(part for part in (f"## {TITLE}", table, said, NOTE) if part) + "\n"


def cells(report: Report, search: Search) -> list[str]:
    case, best = search.cases[0], best_of(report, search)
    phase = case.phase + (", latency" if case.measure == "latency" else "")
    fits = str(max(search.rates)) if search.rates else "none"
    found = ["-", "-"] if best is None else [str(best.case.batch), f"{digits(best.samples_per_second)}{ends(best)}"]
    return [case.workload, phase, name(report, search), fits, search.end or "it has not ended", *found]


def remarks(report: Report, search: Search) -> Iterable[str]:
    """What the best row is not told apart from, what is not held against it, and what the pilots saw of all."""
    of = f"{search.cases[0].workload}, {search.cases[0].phase}, {name(report, search)}"
    best, rows = best_of(report, search), timed(report, search)
    if best is not None:
        others = [row for row in rows if row is not best and row.status in SOUND]
        if others and (bare := [row for row in (best, *others) if interval(row) is None]):
            fewest = min(row.rounds for row in bare)
            yield f"{of}: {fewest} rounds are too few for an interval, so that no batch is proved the best."
        elif close := [str(row.case.batch) for row in others if overlap(row, best)]:
            yield f"{of}: batch {best.case.batch} is not told apart from {', '.join(close)}."
        if best.case.batch == search.measured[-1] and not search.oom:
            yield f"{of}: the best batch is the largest that was measured; a larger one might be faster."
    for row in rows:
        if row.status not in SOUND:
            yield f"{of}: batch {row.case.batch} is {row.status}, and is not held against the others."
        elif row.status != "ok":
            yield f"{of}: batch {row.case.batch} is {row.status}."
    if search.rates:
        pilots = "; ".join(f"{batch}: {digits(rate)}" for batch, rate in search.rates.items())
        yield f"{of}, samples/s of the pilots by batch: {pilots}."


def timed(report: Report, search: Search) -> list[Row]:
    return [row for row in report.rows if row.case in search.cases and row.samples_per_second is not None]


def best_of(report: Report, search: Search) -> Row | None:
    sound = [row for row in timed(report, search) if row.status in SOUND]
    return max(sound, key=lambda row: row.samples_per_second or 0.0, default=None)


def interval(row: Row) -> tuple[float, float] | None:
    """Samples per second at the ends of the step's interval."""
    if row.step_ms_low is None or row.step_ms_high is None:
        return None
    return row.case.batch / row.step_ms_high * 1e3, row.case.batch / row.step_ms_low * 1e3


def ends(row: Row) -> str:
    found = interval(row)
    return "" if found is None else f" ({digits(found[0])}-{digits(found[1])})"


def overlap(row: Row, best: Row) -> bool:
    """Whether their intervals do, which both have."""
    ours, theirs = interval(row), interval(best)
    assert ours and theirs
    return ours[1] >= theirs[0]


def name(report: Report, search: Search) -> str:
    """As short as tells the searches of this workload, phase and measure apart."""
    case = search.cases[0]
    firsts = {one.cases[0] for one in report.searches}
    beside = [row for row in report.rows if row.case in firsts and row.case.workload == case.workload]
    return called(next(row for row in beside if row.case == case), beside)
