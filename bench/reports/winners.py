"""Who is fastest among rows that may be held against each other, in sentences. Pure."""

from collections.abc import Iterable

from bench.reports.names import called
from bench.table import SAME, Row, rival

# Drift moves a median by some hundredths, which the interval over processes has seen; a failed check may mean anything.
SOUND = ("ok", "unsteady", "skipped")
PLACES = {
    "batch": "at batch {}",
    "precision": "in {}",
    "data": "on {}",
    "device": "on the {}",
    "input": "with input {}",
    "recipe": "with recipe {}",
}


def winners(rows: list[Row]) -> Iterable[str]:
    """Who is fastest of each group of rivals; groups of which the same is to be said are named in one sentence."""
    settled: list[Row] = []
    said: dict[tuple[str, str], list[str]] = {}
    for base in (row for row in rows if row.relative == 1.0 and row.relative_low is None):
        if any(rival(base.case) == rival(other.case) for other in settled):
            continue  # two rows of exactly the same time
        settled.append(base)
        rivals = [r for r in rows if r.relative is not None and r is not base and rival(r.case) == rival(base.case)]
        if rivals:
            said.setdefault(_winner(base, rivals), []).append(_where(base, rows))
    for (begin, end), places in said.items():
        throughout = len(places) > 1 and len(said) == 1
        yield begin + (" throughout" if throughout else " and".join(places)) + end


def _winner(base: Row, rivals: list[Row]) -> tuple[str, str]:
    """The sentence before and after where it holds: the fastest is so if the interval of every rival excludes 1."""
    rows = [base, *rivals]
    if doubtful := [f"{called(r, rows)} is {r.status}" for r in rows if r.status not in SOUND]:
        return "No row is called fastest", f": {', '.join(doubtful)}."
    if noisy := [called(r, rows) for r in rows if r.disturbed]:
        beside = ", ".join(noisy)
        return "No row is called fastest", f": {beside} had a busy neighbour, which slows some more than others."
    close = [r for r in rivals if r.relative_low is None or r.relative_low <= 1]
    if not close:
        return "Fastest", f": {called(base, rows)}" + (" (unsteady)." if base.status == "unsteady" else ".")
    if any(r.relative_low is None for r in close):
        return "Too few rounds to say which is fastest", "."
    names = ", ".join(called(r, rows) for r in close)
    return "No row is proved fastest", f": {called(base, rows)} and {names} are too close."


def _where(base: Row, rows: list[Row]) -> str:
    """The batch, input and so on of one group of rivals, as far as the others' are otherwise."""
    differing = [axis for axis in SAME if len({getattr(r.case, axis) for r in rows}) > 1]
    return "".join(f" {PLACES[axis].format(getattr(base.case, axis))}" for axis in differing)
