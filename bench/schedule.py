"""In which order who measures. Pure: the same seed gives the same order, so a resumed run goes on where it stopped."""

import random
from collections.abc import Iterable, Iterator

from bench.records import Case


def groups(cases: Iterable[Case]) -> list[list[Case]]:
    """The cases by worker: those that one process carries, in the suite's order."""
    found: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        found.setdefault(case.worker, []).append(case)
    return list(found.values())


def rounds(cases: Iterable[Case], *, count: int, seed: int) -> Iterator[tuple[int, list[list[Case]]]]:
    """Each round's processes in a random order, and each process's cases in one: drift hits every backend alike."""
    grouped = groups(cases)
    for number in range(count):
        draw = random.Random(f"{seed}/{number}")
        order = [draw.sample(group, len(group)) for group in grouped]
        draw.shuffle(order)
        yield number, order
