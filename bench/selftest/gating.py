"""The gate's own error rates, from real pairs: identical arms, and arms with a known amount of extra work.

Pairs are collected for the time there is; gates are then scored on disjoint windows of them, by the very rule. Most are
pairs of identical arms. These are also scored with an effect added to every one of them, which real extra work, of
which there are fewer, has to agree with. docs/gate.md shows what was found.
"""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import exp, log1p
from pathlib import Path
from statistics import median
from time import monotonic

from msgspec import Struct
from msgspec.structs import replace

from bench import backends, gate, interpreters, machine, pairs, programs
from bench import comparison as comparisons
from bench import folder as folders
from bench import run as runs
from bench.arms import Launch
from bench.docket import Docket
from bench.errors import BenchError
from bench.gatekeeper import Gatekeeper
from bench.pairer import Pairer
from bench.pairs import Comparison, Lost, Pair, Pairing
from bench.patience import Patience
from bench.selftest.finding import Finding
from bench.stages import Turn
from bench.suite import Protocol

EFFECTS = (0.0, 0.05, 0.10, 0.20)
# Shortened, for more pairs in the time there is: what scatters a pair is its processes, not the length of its bursts.
PROTOCOL = Protocol(warm_up_seconds=0.3, bursts=10)
WORK = Path(__file__).parent / "work"
TRIAL, TRIED = 200, 3  # products, and pairs, that tell what one product adds
DEADLINE = 300.0
# A process that takes one core for a while and leaves it, again and again.
NEIGHBOUR = "import time\nwhile True:\n e = time.monotonic() + 7\n while time.monotonic() < e: pass\n time.sleep(7)"
SCATTERED = 0.05  # pairs that scatter by more are shown, and held to no figure
# Of gates with an effect, and at least so many of them: the share of a verdict, in words and from where to where.
FIGURES = (
    (0.0, 300, "FAIL", "at most 2 FAIL in 300", 0.0, 2 / 300),
    (0.0, 300, "PASS", "at least 85 % PASS", 0.85, 1.0),
    (0.0, 300, "INVALID", "at most 2 % INVALID", 0.0, 0.02),
    (0.20, 60, "FAIL", "58 of 60 FAIL", 58 / 60, 1.0),
    (0.10, 60, "FAIL", "at least 70 % FAIL", 0.7, 1.0),
    (0.10, 60, "PASS", "never PASS", 0.0, 0.0),
)


class Score(Struct, frozen=True):
    """Gates on the windows of one step and one effect. `spread`: 1.4826 MAD of the pairs' log ratios.

    `added`: the effect was added to the pairs of identical arms, not worked.
    """

    step: str
    effect: float
    ratio: float
    spread: float
    pairs: int
    verdicts: dict[str, int]
    pairs_used: int
    added: bool = False

    @property
    def gates(self) -> int:
        return sum(self.verdicts.values())


def steps() -> list[str]:
    """The steps whose framework is here: paths of `work`'s files."""
    here = [row.name for row in backends.REGISTRY.values() if row.packages and not row.missing()]
    return [str(path) for path in sorted(WORK.glob("*_work.py")) if path.stem.removesuffix("_work") in here]


def collect(folder: Path, seconds: float, *, neighbour: bool) -> None:
    """Pairs for that long, on top of those that are there; beside a neighbour that comes and goes if that is asked."""
    until = monotonic() + seconds
    same = [(step, 0.0) for step in steps()]
    slower = [(step, effect) for effect in EFFECTS[1:] for step in steps()]
    cells = [*same, *slower]
    extra = {step: _products(folder, step) for step in steps()}
    dockets = {cell: _docket(_path(folder, *cell), cell[0], round(cell[1] * extra[cell[0]])) for cell in cells}
    beside = subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) if neighbour else None
    try:
        for number in _numbers(dockets.values()):
            if all(docket.lost(docket.comparison.pairings[0]) for docket in dockets.values()):
                return
            # In each round every step with identical arms, and one that is slower in the candidate, in turn.
            visited = [*same, slower[number % len(slower)]]
            for cell in random.Random(number).sample(visited, len(visited)):
                if monotonic() > until:
                    return
                docket = dockets[cell]
                if docket.lost(docket.comparison.pairings[0]):
                    continue
                pairing = docket.comparison.pairings[0]
                begins = random.Random(f"{number // 2}").random() < 0.5
                turn = Turn((pairing,), 1, number, begins == (number % 2 == 0))
                Pairer(docket, Patience(0.0)).take(turn)
    finally:
        if beside:
            beside.kill()
        for docket in dockets.values():
            docket.close()


def _numbers(dockets: Iterable[Docket]) -> Iterator[int]:
    """The rounds to come: after the last of which there is a pair."""
    number = max((r.number + 1 for docket in dockets for r in docket.records if isinstance(r, Pair)), default=0)
    while True:
        yield number
        number += 1


def _path(folder: Path, step: str, effect: float | None) -> Path:
    """A step's pairs of this machine, commit and code: others are not added to."""
    what = "trial" if effect is None else f"{100 * effect:.0f}"
    here = f"{machine.read().digest}-{runs.commit()}-{runs.harness()}"
    return folder / here / f"{Path(step).stem.removesuffix('_work')}-{what}"


def _products(folder: Path, step: str) -> float:
    """How many products make a step twice as long, by a few pairs with many of them and without any."""
    docket = _docket(_path(folder, step, None), step, TRIAL)
    try:
        pairing = docket.comparison.pairings[0]
        for number in range(TRIED):
            Pairer(docket, Patience(0.0)).take(Turn((pairing,), 1, number, number % 2 == 0))
        ratios = [exp(r.log_ratio) for r in docket.records if isinstance(r, Pair)]
        if not ratios:
            raise BenchError(f"{step} could not be measured: see {docket.folder / 'logs'}", exit_code=3)
        return TRIAL / max(median(ratios) - 1, 1e-3)
    finally:
        docket.close()


def _docket(folder: Path, step: str, products: int) -> Docket:
    """The folder of one step's pairs with so many products more in the candidate: begun, or gone on with."""
    if not folder.exists():
        here = machine.read()
        told = interpreters.candidate([step])
        base = replace(told, name="base", launch=Launch(environment={"STEPWATCH_EXTRA": "0"}))
        candidate = replace(told, launch=Launch(environment={"STEPWATCH_EXTRA": str(products)}))
        looked = [programs.look(step, device="cpu", threads=here.cores, deadline=DEADLINE)]
        case = programs.plan(looked, here, "cpu")[0].case
        comparison = Comparison(
            name=folder.name,
            pairings=(Pairing(case, case, gate.MARGIN),),
            control=comparisons.control(here.cores),
            base=base,
            candidate=candidate,
            differences=(f"{products} products more",),
            protocol=PROTOCOL,
            machine=here,
            commit=runs.commit(),
            harness=runs.harness(),
            seed=1,
            deadline=DEADLINE,
            started=runs.now(),
        )
        folders.make(folder, "gate.json", comparison)
    comparison, _ = pairs.read(folder)
    keeper = Gatekeeper(comparison, folder, patience=0.0)
    keeper.pilot(comparison.pairings[0])
    return keeper.docket


def scores(folder: Path) -> list[Score]:
    """What the rule says on every disjoint window of the pairs that are there; identical arms in both directions."""
    made = []
    for step in steps():
        for effect in EFFECTS:
            path = _path(folder, step, effect)
            if not path.exists():
                continue
            _, records = pairs.read(path)
            found = [r for r in records if isinstance(r, Pair)]
            found.sort(key=lambda pair: pair.number)
            lost = sum(isinstance(r, Lost) for r in records)
            if len(found) >= gate.FIRST[0]:
                name = Path(step).stem.removesuffix("_work")
                logs, drifting = [p.log_ratio for p in found], [pairs.drifting(p) for p in found]
                made.append(score(name, effect, logs, drifting, lost))
                made += [added(name, more, logs, drifting) for more in EFFECTS[1:] if effect == 0]
    return made


def added(step: str, effect: float, logs: Sequence[float], drifting: Sequence[bool]) -> Score:
    """As if each of these pairs of identical arms had been slower in the candidate by the effect."""
    return replace(score(step, effect, [d + log1p(effect) for d in logs], drifting), added=True)


def score(step: str, effect: float, logs: Sequence[float], drifting: Sequence[bool], lost: int = 0) -> Score:
    """`lost`: cells that could not be measured at all, each an INVALID."""
    found: Counter[str] = Counter({"INVALID": lost} if lost else {})
    used = 0
    quiet = gate.Cell("control", first=(0.0,) * gate.FIRST[0])
    for direction in (1.0, -1.0) if effect == 0 else (1.0,):
        turned = [direction * d for d in logs]
        for first, second in windows(turned):
            one, two = tuple(turned[i] for i in first), tuple(turned[i] for i in second)
            cell = gate.Cell(step, one, two, drifting=sum(drifting[i] for i in (*first, *second)))
            (verdict,) = gate.judge([cell], quiet).verdicts
            found[verdict.word] += 1
            used += len(first) + len(second)
    middle = median(logs)
    spread = 1.4826 * median(abs(d - middle) for d in logs)
    return Score(step, effect, exp(middle), spread, len(logs), dict(found), round(used / max(sum(found.values()), 1)))


def findings(scores: Sequence[Score]) -> list[Finding]:
    """The figures that the gate is held to, over the steps whose pairs scatter by no more than `SCATTERED`."""
    made = []
    for effect, gates, word, wanted, low, high in FIGURES:
        for how in (False, True) if effect else (False,):
            pool: Counter[str] = Counter()
            for score in scores:
                if (score.effect, score.added) == (effect, how) and score.spread <= SCATTERED:
                    pool.update(score.verdicts)
            share = pool[word] / max(pool.total(), 1)
            verdict = "not settled" if pool.total() < gates else "holds" if low <= share <= high else "broken"
            name = f"{effect:.0%} slower, {'added' if how else 'worked'}" if effect else "identical arms"
            asked = f"{wanted}, over {gates} gates where pairs scatter by at most {SCATTERED:.0%}"
            made.append(Finding("gate", name, asked, f"{pool[word]} of {pool.total()} gates", verdict))
    return made


def windows(logs: Sequence[float]) -> Iterator[tuple[range, range]]:
    """Disjoint windows of pairs, by place: ten, and where they are suspicious the second stage's behind them."""
    at, (first, _), (second, _) = 0, gate.FIRST, gate.second_stage(1)
    while at + first <= len(logs):
        one = range(at, at + first)
        at += first
        if not gate.suspicious(gate.Cell("", tuple(logs[i] for i in one))):
            yield one, range(0)
        elif at + second <= len(logs):
            yield one, range(at, at + second)
            at += second
        else:
            return  # suspicious, and the pairs for a second stage are still to come
