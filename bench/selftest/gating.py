"""Real pairs for the gate's own error rates: of identical arms, and of arms with a known amount of extra work.

They are collected for the time there is, on top of those that are there; `rates` scores gates on them.
"""

import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import exp
from pathlib import Path
from statistics import median
from time import monotonic

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
from bench.pairs import Comparison, Pair, Pairing
from bench.patience import Patience
from bench.stages import Turn
from bench.suite import Protocol

EFFECTS = (0.0, 0.05, 0.10, 0.20)
# Shortened, for more pairs in the time there is: what scatters a pair is its processes, not the length of its bursts.
PROTOCOL = Protocol(warm_up_seconds=0.3, bursts=10)
WORK = Path(__file__).parent / "work"
TRIAL, TRIED = 200, 3  # products, and pairs, that tell what one product adds
WORKED = 30  # pairs with real extra work, of each step and effect: enough for what the work really adds
DEADLINE = 300.0
Cell = tuple[str, float]  # a step's file, and by how much the candidate is to be slower
# A process that takes one core for a while and leaves it, again and again.
NEIGHBOUR = "import time\nwhile True:\n e = time.monotonic() + 7\n while time.monotonic() < e: pass\n time.sleep(7)"


def steps() -> list[str]:
    """The steps whose framework is here: paths of `work`'s files."""
    here = [row.name for row in backends.NATIVE.values() if not row.missing()]
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
            visited = [*same, *due(number, slower, {cell: _taken(docket) for cell, docket in dockets.items()})]
            for cell in random.Random(number).sample(visited, len(visited)):
                if monotonic() > until:
                    return
                docket = dockets[cell]
                if docket.lost(docket.comparison.pairings[0]):
                    continue
                pairing = docket.comparison.pairings[0]
                begins = random.Random(f"{number // 2}").random() < 0.5
                Pairer(docket, Patience(0.0)).take(Turn((pairing,), 1, number, begins == (number % 2 == 0)))
    finally:
        if beside:
            beside.kill()
        for docket in dockets.values():
            docket.close()


def due(number: int, slower: Sequence[Cell], taken: Mapping[Cell, int]) -> list[Cell]:
    """Besides the identical arms a round has one that is slower in the candidate, in turn, until it has its pairs."""
    cell = slower[number % len(slower)]
    return [cell] if taken[cell] < WORKED else []


def _taken(docket: Docket) -> int:
    return sum(isinstance(record, Pair) for record in docket.records)


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
