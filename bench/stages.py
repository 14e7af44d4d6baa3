"""In which order a gate's pairs are measured. Pure: the same seed gives the same order, so gates resume."""

import random
from collections.abc import Iterable

from msgspec import Struct

from bench import gate
from bench.pairs import Comparison, Pairing

# Seconds, before any has been timed: a proof, both arms' pilots, the start of two processes, and a cell in them.
EXPECTED = {"proof": 3.0, "pilot": 7.0, "start": 3.0, "cell": 6.0, "control": 4.0}
Group = tuple[Pairing, ...]  # cells that one process of each arm carries


class Turn(Struct, frozen=True):
    """One fresh process of each arm: its cells in their order, and which arm begins."""

    group: Group
    stage: int
    number: int
    base_first: bool

    @property
    def expected(self) -> float:
        control = self.group[0].candidate.backend == "control"
        return EXPECTED["start"] + EXPECTED["control" if control else "cell"] * len(self.group)

    def __str__(self) -> str:
        return f"{label(self.group[0])} pair {self.number + 1}" + (" of stage 2" if self.stage == 2 else "")


def groups(pairings: Iterable[Pairing]) -> list[Group]:
    """The cells by worker, in the suite's order."""
    found: dict[tuple[str, ...], list[Pairing]] = {}
    for pairing in pairings:
        found.setdefault(pairing.candidate.worker, []).append(pairing)
    return [tuple(group) for group in found.values()]


def turns(comparison: Comparison, wanted: Iterable[Pairing], stage: int) -> list[Turn]:
    """Every pair of a stage for these cells: all of them once a round, in a random order.

    Of each two rounds the base begins in one (A B, B A or the other way round, drawn), so that neither arm is the first
    more often than the other.
    """
    grouped = groups(wanted)
    many = gate.FIRST[0] if stage == 1 else gate.second_stage(len(comparison.pairings))[0]
    made: list[Turn] = []
    for number in range(many):
        draw = random.Random(f"{comparison.seed}/{stage}/{number}")
        begins = random.Random(f"{comparison.seed}/{stage}/{number // 2}/first").random() < 0.5
        order = [tuple(draw.sample(group, len(group))) for group in grouped]
        draw.shuffle(order)
        made += [Turn(group, stage, number, begins == (number % 2 == 0)) for group in order]
    return made


def label(pairing: Pairing) -> str:
    """A cell's worker, in words."""
    case = pairing.candidate
    if case.backend == "control":
        return "control"
    return " ".join((case.workload, case.backend, case.mode, *((case.layout,) if case.layout != "flat" else ())))
