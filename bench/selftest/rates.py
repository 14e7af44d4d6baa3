"""The gate's error rates: its very rule on disjoint windows of real pairs, and what it is held to.

Pairs of identical arms are scored in both directions, and again with an effect added to every one of them; arms with
real extra work, of which there are fewer pairs, have to agree with that. Of identical arms gates are counted, two a
window; what they are bounded by, and all else, are windows, which share no pair. docs/gate.md shows what was found.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from math import exp, inf, log1p
from pathlib import Path
from statistics import fmean, median

from msgspec import Struct
from msgspec.structs import replace

from bench import gate, pairs
from bench.pairs import Lost, Pair
from bench.selftest.finding import Finding
from bench.selftest.gating import EFFECTS

SCATTERED = 0.05  # pairs that scatter by more are shown, and held to no figure
# Of gates on identical arms or windows with an effect, at least so many: the share of a verdict, in words and from
# where to where.
FIGURES = (
    (0.0, 300, "FAIL", "at most 2 FAIL in 300", 0.0, 2 / 300),
    (0.0, 300, "PASS", "at least 85 % PASS", 0.85, 1.0),
    (0.0, 300, "INVALID", "at most 2 % INVALID", 0.0, 0.02),
    (0.20, 60, "FAIL", "58 of 60 FAIL", 58 / 60, 1.0),
    (0.10, 60, "FAIL", "at least 70 % FAIL", 0.7, 1.0),
    (0.10, 60, "PASS", "never PASS", 0.0, 0.0),
)
BINS = (0.01, 0.02, 0.03, 0.05, 0.08, inf)  # upper ends of a gate's pair spread, for the curves
WORDS = ("FAIL", "INCONCLUSIVE", "PASS", "INVALID")
Drifts = tuple[float, ...]  # see `bench.pairs.drifts`


class Collected(Struct, frozen=True):
    """One step's pairs in one folder, in their order: log ratios, drifts, cells lost; and where they were made.

    `seconds`: of a pair, by the mean.
    """

    step: str
    effect: float
    logs: tuple[float, ...]
    drifts: tuple[Drifts, ...]
    lost: int = 0
    seconds: float = 0.0
    cpu: str = ""
    cores: int = 0
    commit: str = ""


class Tried(Struct, frozen=True):
    """One gate. `effect`: by how much the candidate is slower; `added`: reckoned, not worked. `spread`: its pairs'
    1.4826 MAD. `seconds` that its pairs took."""

    step: str
    effect: float
    added: bool
    word: str
    spread: float
    pairs: int
    seconds: float


class Score(Struct, frozen=True):
    """All windows of one step and one effect, each with its gates: one, or one a direction.

    `spread`: 1.4826 MAD of all the pairs, `ratio` their median. `lost`: cells that were, each as good as a window.
    """

    step: str
    effect: float
    added: bool
    ratio: float
    spread: float
    pairs: int
    windows: tuple[tuple[Tried, ...], ...]
    lost: int = 0

    @property
    def gates(self) -> tuple[Tried, ...]:
        return tuple(tried for window in self.windows for tried in window)

    @property
    def verdicts(self) -> Counter[str]:
        """Of the gates: a window tried in both directions is there twice."""
        return Counter([g.word for g in self.gates] + ["INVALID"] * self.lost)

    @property
    def said(self) -> list[set[str]]:
        """What was said of each window, in whichever direction: these are independent of each other."""
        return [{tried.word for tried in window} for window in self.windows] + [{"INVALID"}] * self.lost


def collected(state: Path) -> list[Collected]:
    """What was collected under a folder such as `idle`: on whichever machines, by whichever commits."""
    found = []
    for folder in sorted(path for path in state.glob("*/*-*") if (path / "gate.json").exists()):
        step, _, effect = folder.name.rpartition("-")
        if effect == "trial":
            continue
        made, records = pairs.read(folder)
        ours = sorted((r for r in records if isinstance(r, Pair)), key=lambda pair: pair.number)
        drifts, logs = tuple(map(pairs.drifts, ours)), tuple(p.log_ratio for p in ours)
        lost = sum(isinstance(r, Lost) for r in records)
        where = (made.machine.cpu, made.machine.cores, made.commit)
        found.append(Collected(step, int(effect) / 100, logs, drifts, lost, _seconds(folder.parent), *where))
    return found


def _seconds(folder: Path) -> float:
    """From the start of a pair to that of the next, of whichever step: what one takes, with its processes' start."""
    starts = sorted(
        datetime.fromisoformat(r.started)
        for path in folder.glob("*/pairs.jsonl")
        for r in pairs.read_lines(path)
        if isinstance(r, Pair)
    )
    gaps = [(b - a).total_seconds() for a, b in pairwise(starts)]
    kept = [gap for gap in gaps if gap <= 60]  # a longer one is a pause between two sessions
    return fmean(kept) if kept else 0.0


def scores(found: Iterable[Collected]) -> list[Score]:
    """By step and effect; what was collected in several folders together, no window over two of them."""
    made: dict[tuple[str, float, bool], list[Collected]] = {}
    for one in found:
        made.setdefault((one.step, one.effect, False), []).append(one)
        for effect in EFFECTS[1:] if one.effect == 0 else ():
            made.setdefault((one.step, effect, True), []).append(slowed(one, effect))
    return [score(parts, added) for (_, _, added), parts in sorted(made.items()) if any(len(p.logs) > 9 for p in parts)]


def slowed(one: Collected, effect: float) -> Collected:
    """As if each of these pairs of identical arms had been slower in the candidate by the effect."""
    logs = tuple(d + log1p(effect) for d in one.logs)
    return replace(one, effect=effect, logs=logs, lost=0)


def score(parts: Sequence[Collected], added: bool) -> Score:
    logs = [d for part in parts for d in part.logs]
    step, effect = parts[0].step, parts[0].effect
    tried = tuple(window for part in parts for window in tried_in(part, added))
    lost = sum(part.lost for part in parts)
    return Score(step, effect, added, exp(median(logs)), spread(logs), len(logs), tried, lost)


def spread(logs: Sequence[float]) -> float:
    middle = median(logs)
    return 1.4826 * median(abs(d - middle) for d in logs)


def tried_in(one: Collected, added: bool) -> Iterator[tuple[Tried, ...]]:
    """The rule's verdicts on each window; of identical arms in both directions, which share its pairs."""
    shift = log1p(one.effect) if added else 0.0
    directions = (1.0, -1.0) if added or not one.effect else (1.0,)
    turned = [[direction * (d - shift) + shift for d in one.logs] for direction in directions]
    for first, second in windows(turned):
        yield tuple(_tried(one, added, logs, first, second) for logs in turned)


def _tried(one: Collected, added: bool, logs: Sequence[float], first: range, second: range) -> Tried:
    """What the rule says of a window in one direction, which may want no second stage where the other does."""
    quiet = gate.Cell("control", (0.0,) * gate.FIRST[0], (0.0,) * gate.second_stage(1)[0])
    second = second if _suspicious(logs, first) else range(0)
    taken = [*first, *second]
    cell = gate.Cell(
        one.step,
        tuple(logs[i] for i in first),
        tuple(logs[i] for i in second),
        drifts=tuple(zip(*(one.drifts[i] for i in taken), strict=True)),
    )
    (verdict,) = gate.judge([cell], quiet).verdicts
    scatter = spread([logs[i] for i in taken])
    return Tried(one.step, one.effect, added, verdict.word, scatter, len(taken), len(taken) * one.seconds)


def windows(turned: Sequence[Sequence[float]]) -> Iterator[tuple[range, range]]:
    """Disjoint windows of pairs, by place: ten, and where they are suspicious the second stage's behind them.

    `turned`: the same pairs in each direction; a window that is suspicious in one of them is as long in the other.
    """
    at, (first, _), (second, _) = 0, gate.FIRST, gate.second_stage(1)
    while at + first <= len(turned[0]):
        one = range(at, at + first)
        at += first
        if not any(_suspicious(logs, one) for logs in turned):
            yield one, range(0)
        elif at + second <= len(turned[0]):
            yield one, range(at, at + second)
            at += second
        else:
            return  # suspicious, and the pairs for a second stage are still to come


def _suspicious(logs: Sequence[float], first: range) -> bool:
    return gate.suspicious(gate.Cell("", tuple(logs[i] for i in first)))


def alarms(scores: Sequence[Score]) -> tuple[int, int, int, float]:
    """Of identical arms: gates that FAIL, gates, windows, and the 95 % upper bound of a gate's rate of FAIL.

    Windows alone are independent, and at most one direction of one can FAIL: its rate is shared among its gates.
    """
    said = [words for score in scores for words in score.said]
    verdicts = sum((score.verdicts for score in scores), Counter[str]())
    failing = sum("FAIL" in words for words in said)
    gates, windows = verdicts.total(), len(said)
    return verdicts["FAIL"], gates, windows, upper_rate(failing, windows) * windows / max(gates, 1)


def findings(scores: Sequence[Score]) -> list[Finding]:
    """The figures that the gate is held to, over the steps whose pairs scatter by no more than `SCATTERED`.

    Of windows what is to be frequent counts where one has it in every direction, what is to be rare where it has it in
    one; but for FAIL on identical arms: see `alarms`.
    """
    made = []
    for effect, fewest, word, wanted, low, high in FIGURES:
        for added in (False, True) if effect else (False,):
            ours = [s for s in scores if (s.effect, s.added) == (effect, added) and s.spread <= SCATTERED]
            said = [words for score in ours for words in score.said]
            windows, having = len(said), sum(words == {word} if high == 1 else word in words for words in said)
            verdicts = sum((score.verdicts for score in ours), Counter[str]())
            unit, count, seen = ("windows", windows, having) if effect else ("gates", verdicts.total(), verdicts[word])
            share = seen / max(count, 1)
            verdict = "not settled" if count < fewest else "holds" if low <= share <= high else "broken"
            name = f"{effect:.0%} slower, {'added' if added else 'worked'}" if effect else "identical arms"
            asked = f"{wanted}, over {fewest} {unit} where pairs scatter by at most {SCATTERED:.0%}"
            found = f"{seen} of {count} {unit}" + (f" on {windows} windows" if unit == "gates" else "")
            if count:
                rare = alarms(ours)[-1] if (effect, word) == (0, "FAIL") else upper_rate(having, windows)
                bound = f"at most {rare:.1%}"
                if high == 1:
                    bound = f"at least {1 - upper_rate(windows - having, windows):.1%}"
                found += f" (95 %: {bound})"
            made.append(Finding("gate", name, asked, found, verdict))
    return made


def upper_rate(seen: int, of: int) -> float:
    """The one-sided 95 % upper bound of a rate (Clopper & Pearson 1934), by bisection."""
    low, high = 0.0, 1.0
    while seen < of and high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if gate.at_most(seen, of, middle) > 0.05 else (low, middle)
    return high


def curves(scores: Iterable[Score]) -> list[tuple[float, bool, float, Counter[str]]]:
    """Verdicts by effect, worked or added, and the spread of a gate's own pairs (the upper end of its bin)."""
    found: dict[tuple[float, bool, float], Counter[str]] = {}
    for one in (tried for score in scores for tried in score.gates):
        end = next(end for end in BINS if one.spread <= end)
        found.setdefault((one.effect, one.added, end), Counter())[one.word] += 1
    return [(*key, counts) for key, counts in sorted(found.items())]
