"""Pure: pairs of two arms -> verdicts. It never measures and never asks which arms they were.

The rule and its error rates: docs/gate.md. A pair is `ln(candidate / base)` of one fresh process in each arm.
"""

from collections.abc import Sequence
from functools import cache
from math import ceil, comb, exp, isfinite, log, log1p
from statistics import NormalDist, median

from msgspec import Struct

from bench import stats
from bench.errors import BenchError

MARGIN = 0.02  # a pair counts against the candidate when it is slower by more
HARMLESS = 0.08  # PASS says that the candidate is not slower by so much
Rule = tuple[int, int]  # of so many pairs, how many have to be beyond the margin
FIRST: Rule = (10, 7)  # met, a cell is suspicious and gets a second stage
SECOND: dict[int, Rule] = {7: (16, 12), 14: (20, 15), 49: (20, 16)}  # by the most cells; met, the cell fails
CONTROL = log(1.03)  # the control cell does the same in both arms: beyond this the arms' environments differ
DETECTED = 0.8  # an effect is called visible that fails the cell this often
UNSTEADY = log(1.03)  # what is timed moves by more from a pair's first third to its last
WORDS = ("INVALID", "FAIL", "INCONCLUSIVE", "PASS")  # worst first


class Cell(Struct, frozen=True):
    """One case's pairs by stage. `broken` says why there can be no verdict.

    `drifts`: what the ratio, or the time of each arm, did within each pair: `ln(last third / first third)`.
    """

    name: str
    first: tuple[float, ...] = ()
    second: tuple[float, ...] = ()
    margin: float = MARGIN
    broken: str = ""
    drifts: tuple[tuple[float, ...], ...] = ()

    @property
    def pairs(self) -> tuple[float, ...]:
        return self.first + self.second


class Verdict(Struct, frozen=True):
    """`ratio` is candidate over base with its exact interval, `upper` the one-sided 95 % bound, `visible` the smallest
    ratio that these pairs would have failed 8 times in 10. `change` is `slower`, `faster` or empty."""

    name: str
    word: str
    reason: str
    ratio: float | None
    low: float | None
    high: float | None
    upper: float | None
    pairs: int
    visible: float | None
    margin: float
    change: str


class Judgement(Struct, frozen=True):
    """All cells' verdicts, the control's ratio with its interval, and the rate at which such a gate alarms falsely."""

    verdicts: tuple[Verdict, ...]
    control: Verdict
    false_alarms: float

    @property
    def word(self) -> str:
        return min((v.word for v in self.verdicts), key=WORDS.index)


def second_stage(cells: int) -> Rule:
    """Pairs of the second stage and how many must be beyond the margin; `BenchError` for more cells than 49."""
    for most, rule in SECOND.items():
        if cells <= most:
            return rule
    raise BenchError(
        f"a gate of {cells} cells would alarm falsely too often; the rule holds for up to {max(SECOND)}: "
        "name fewer with --workload, --backend, --mode or a smaller suite"
    )


def suspicious(cell: Cell) -> bool:
    """Whether the first stage asks for a second: as often for a faster candidate, so that both are said alike."""
    return not cell.broken and bool(_direction(cell.first, cell.margin, FIRST))


def judge(cells: Sequence[Cell], control: Cell) -> Judgement:
    """The verdict on every cell, and on the control, whose interval outside its band takes all of them back."""
    count = len(cells)
    rule = second_stage(count)
    guard = _described(control, rule, "PASS", "")
    differ = _beyond(control)
    verdicts = []
    for cell in cells:
        verdict = _verdict(cell, rule)
        if differ and verdict.word in ("FAIL", "PASS"):
            verdict = _described(cell, rule, "INCONCLUSIVE", f"the arms' environments differ: {differ}")
        verdicts.append(verdict)
    if lacks := _lacking(control) or _unguarded(cells, control, rule[0]):
        if not control.first and all(cell.broken for cell in cells):
            lacks = "not measured: no case was left that it could guard"
        verdicts = [_described(cell, rule, "INVALID", cell.broken or f"the control: {lacks}") for cell in cells]
        guard = _described(control, rule, "INVALID", lacks)
    elif differ:
        guard = _described(control, rule, "INCONCLUSIVE", f"the arms' environments differ: {differ}")
    return Judgement(tuple(verdicts), guard, 1 - (1 - false_alarm(rule)) ** count)


def exit_code(judgement: Judgement, *, strict: bool) -> int:
    """4 for INVALID (and for INCONCLUSIVE where that is asked for), 1 for FAIL, else 0."""
    words = {verdict.word for verdict in judgement.verdicts}
    if "INVALID" in words:
        return 4
    if "FAIL" in words:
        return 1
    return 4 if strict and "INCONCLUSIVE" in words else 0


def _verdict(cell: Cell, rule: Rule) -> Verdict:
    def said(word: str, reason: str = "", change: str = "") -> Verdict:
        return _described(cell, rule, word, reason, change)

    if reason := _invalid(cell, rule[0]):
        return said("INVALID", reason)
    change = _direction(cell.first, cell.margin, FIRST)
    if change and _direction(cell.second, cell.margin, rule) != change:
        change = ""
    if change == "slower":
        many = sum(d > log1p(cell.margin) for d in cell.second)
        return said(
            "FAIL", f"{many} of {len(cell.second)} fresh pairs are slower by over {100 * cell.margin:g}%", change
        )
    bound = upper(cell.pairs)
    if bound < log1p(HARMLESS):
        return said("PASS", "", change)
    what = (
        f"not shown to be slower, and not shown to be within {HARMLESS:.0%}: its upper bound is {exp(bound) - 1:+.1%}"
    )
    return said("INCONCLUSIVE", what, change)


def _invalid(cell: Cell, second: int) -> str:
    """Why the pairs allow no verdict; empty where they do."""
    if lacks := _lacking(cell):
        return lacks
    if suspicious(cell) and len(cell.second) < second:
        return f"the first stage was suspicious and only {len(cell.second)} of {second} pairs of the second are there"
    return next(filter(None, map(_moving, cell.drifts)), "")


def _moving(drifts: Sequence[float]) -> str:
    """Whether an arm is not steady yet: pair after pair moves the same way.

    What has no direction is noise, which scatters the pairs and is reckoned with there. A pair alone cannot tell:
    neighbouring bursts are too much alike.
    """
    low, high, _ = stats.sign_interval(drifts)
    if low <= UNSTEADY and high >= -UNSTEADY:
        return ""
    return (
        f"unsteady: what is timed moves by {exp(median(drifts)) - 1:+.1%} while it is timed, in pair after pair "
        f"({exp(low) - 1:+.1%} to {exp(high) - 1:+.1%})"
    )


def _lacking(cell: Cell) -> str:
    """Why there is not even a first stage; empty where there is."""
    if cell.broken:
        return cell.broken
    if not all(map(isfinite, cell.pairs)):
        return "a pair has no finite ratio"
    if len(cell.first) < FIRST[0]:
        return f"{len(cell.first)} pairs are there, the first stage wants {FIRST[0]}"
    return ""


def _unguarded(cells: Sequence[Cell], control: Cell, second: int) -> str:
    """Whether a second stage was measured without the control, which is in every round of it."""
    if not any(cell.second for cell in cells) or len(control.second) >= second:
        return ""
    return f"a case has a second stage, and only {len(control.second)} of the control's {second} pairs of it are there"


def _direction(pairs: Sequence[float], margin: float, rule: Rule) -> str:
    """`slower` or `faster` where so many pairs, or more, are beyond the margin; scaled where there are more pairs."""
    wanted, needed = rule
    needed = ceil(needed * max(1.0, len(pairs) / wanted))
    if sum(d > log1p(margin) for d in pairs) >= needed:
        return "slower"
    return "faster" if sum(d < -log1p(margin) for d in pairs) >= needed else ""


def upper(pairs: Sequence[float], confidence: float = 0.95) -> float:
    """The one-sided upper bound of the median by order statistics; infinite under 5 pairs at 95 %."""
    ordered, n = sorted(pairs), len(pairs)
    at_least = next((j for j in range(1, n + 1) if at_most(j - 1, n, 0.5) >= confidence), None)
    return ordered[at_least - 1] if at_least else float("inf")


def _beyond(control: Cell) -> str:
    """How far the control's whole interval is outside the band; empty where it is not."""
    if _lacking(control):
        return ""
    low, high, _ = stats.sign_interval(control.pairs)
    if low <= CONTROL and high >= -CONTROL:
        return ""
    return f"framework-free NumPy takes {exp(median(control.pairs)):.3f} times as long in the candidate's"


def _described(cell: Cell, rule: Rule, word: str, reason: str, change: str = "") -> Verdict:
    finite = [d for d in cell.pairs if isfinite(d)]
    low, high, _ = stats.sign_interval(finite)
    bounded = isfinite(low)
    bound = upper(finite)
    return Verdict(
        name=cell.name,
        word=word,
        reason=reason,
        ratio=exp(median(finite)) if finite else None,
        low=exp(low) if bounded else None,
        high=exp(high) if bounded else None,
        upper=exp(bound) if isfinite(bound) else None,
        pairs=len(cell.pairs),
        visible=visible(finite, cell.margin, rule),
        margin=cell.margin,
        change=change,
    )


def visible(pairs: Sequence[float], margin: float, rule: Rule) -> float | None:
    """The smallest ratio that pairs of this spread (1.4826 MAD) fail 8 times in 10; None under 5 pairs."""
    if len(pairs) < 5:
        return None
    middle = median(pairs)
    spread = 1.4826 * median(abs(d - middle) for d in pairs)
    return exp(log1p(margin) + NormalDist().inv_cdf(share_beyond(rule)) * spread)


@cache
def share_beyond(rule: Rule, detected: float = DETECTED) -> float:
    """The share of pairs beyond the margin with which both stages are met this often."""
    low, high = 0.5, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _fails(middle, rule) < detected else (low, middle)
    return high


def false_alarm(rule: Rule) -> float:
    """How often a cell fails that is slower by exactly the margin: every pair is beyond it with probability 1/2."""
    return _fails(0.5, rule)


def _fails(share: float, rule: Rule) -> float:
    first, second = (1 - at_most(needed - 1, pairs, share) for pairs, needed in (FIRST, rule))
    return first * second


def at_most(k: int, n: int, share: float) -> float:
    """P(Bin(n, share) <= k)."""
    return sum(comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k + 1))
