"""Which batches of a family are not tried, and what a search for the best one found. Pure: it reads pilots' records.

A family is the same case at several batches. Nothing here is stored: a resumed run derives the same from its records.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from bench.case import Case
from bench.records import PILOT_ROUND, Failure, Key, Pilot, Record
from bench.run import Run
from bench.suite import Planned

BEST = 4  # as many of a search's batches are measured in rounds, by their pilots, and the largest that fits
# Seconds. A pilot makes about a hundred steps: of the next batch, whose step takes twice as long, in a third of its
# deadline.
LONGEST_STEP = 0.5
PASSED_OVER = ("error", "parity_failed")  # such a failure says nothing of larger batches
PROOF_DID_NOT_FIT = "its proof, in fp64, did not fit into memory; the case itself was not tried"


class Search(Struct, frozen=True):
    """One searched family. `rates`: samples per second by the pilots of the batches that fit.

    `slow`: of these, the last one, where its step took too long to be measured. `end`: why none larger was tried, ""
    while the search goes on; `oom`: the batch that did not fit.
    """

    cases: tuple[Case, ...]
    rates: dict[int, float]
    slow: int = 0
    end: str = ""
    oom: int = 0

    @property
    def measured(self) -> list[int]:
        """The batches for the rounds: those of the best pilots and the largest, but for one that is slow."""
        quick = [batch for batch in self.rates if batch != self.slow] or list(self.rates)
        best = sorted(quick, key=lambda batch: -self.rates[batch])[:BEST]
        return sorted({*best, *quick[-1:]})


def rising(cases: Iterable[Case]) -> list[Case]:
    """The cases in their order, but that in the places of each family its batches rise."""
    listed, families = list(cases), dict[Case, list[Case]]()
    for case in sorted(listed, key=lambda case: case.batch):
        families.setdefault(replace(case, batch=0), []).append(case)
    return [families[replace(case, batch=0)].pop(0) for case in listed]


def without_largest(cases: list[Case]) -> list[Case]:
    """Those of a smaller batch than the largest of them."""
    largest = max(case.batch for case in cases)
    return [case for case in cases if case.batch < largest]


def most(planned: Iterable[Planned], cases: Iterable[Case]) -> int:
    """How many of these cases may be measured in rounds: of a search no more than its best and the largest."""
    wanted = {p.case for p in planned if p.searched}
    families: dict[Case, int] = {}
    alone = 0
    for case in cases:
        if case in wanted:
            families[replace(case, batch=0)] = families.get(replace(case, batch=0), 0) + 1
        else:
            alone += 1
    return alone + sum(min(count, BEST + 1) for count in families.values())


def foretold(run: Run, case: Case) -> bool:
    """Whether a proof covers the case's own batches too: all but the large ones of a search."""
    return not _planned(run, case).searched or case.batch <= run.workload(case.workload).proof.foretold


def why_not(run: Run, case: Case, records: dict[Key, Record]) -> str:
    """Why the case is not measured, given what its family has shown; "" where it is, or failed by itself."""
    own = records.get((case, PILOT_ROUND))
    if isinstance(own, Failure) or any((case, number) in records for number in range(run.suite.rounds)):
        return ""
    family = _family(run, case)
    if _planned(run, case).searched:
        found = _search([p.case for p in family], records)
        if not isinstance(own, Pilot):
            return f"{found.end}; larger batches are not tried" if found.end else ""
        if not found.end or case.batch in found.measured:
            return ""
        if case.batch == found.slow:
            return f"it fits; {found.end}"
        return f"it fits; its pilot was slower than those of the {BEST} batches that are measured"
    for smaller in (p.case for p in family if p.case.batch < case.batch and own is None):
        record = records.get((smaller, PILOT_ROUND))
        if isinstance(record, Failure) and record.status == "oom":
            return f"batch {smaller.batch} {_did_not_fit(record)}"
    return ""


def of(run: Run, records: dict[Key, Record]) -> tuple[Search, ...]:
    """The searches of a run, in the suite's order."""
    families: dict[Case, list[Case]] = {}
    for planned in run.planned:
        if planned.searched and not planned.status:
            families.setdefault(replace(planned.case, batch=0), []).append(planned.case)
    return tuple(_search(cases, records) for cases in families.values())


def results(searches: Iterable[Search]) -> set[Case]:
    """The cases whose want of memory is what a search has found, and no failure of the run."""
    return {case for one in searches if one.rates for case in one.cases if case.batch == one.oom}


def _planned(run: Run, case: Case) -> Planned:
    return next((planned for planned in run.planned if planned.case == case), Planned(case))


def _family(run: Run, case: Case) -> list[Planned]:
    """Those that will be measured, in rising order of batch."""
    alike = [
        p
        for p in run.planned
        if not p.status and p.case.backend == case.backend and replace(p.case, batch=case.batch) == case
    ]
    return sorted(alike, key=lambda planned: planned.case.batch)


def _search(cases: list[Case], records: dict[Key, Record]) -> Search:
    """`cases` in rising order of batch."""
    rates: dict[int, float] = {}
    found = tuple(cases)
    for case in cases:
        record = records.get((case, PILOT_ROUND))
        if isinstance(record, Failure) and record.status in PASSED_OVER:
            continue
        if isinstance(record, Failure):
            oom = case.batch if record.status == "oom" else 0
            what = _did_not_fit(record) if oom else f"is {record.status}"
            return Search(found, rates, 0, f"batch {case.batch} {what}", oom)
        if not isinstance(record, Pilot):
            return Search(found, rates)
        seconds = _step_seconds(record)
        rates[case.batch] = case.batch / seconds
        if seconds > LONGEST_STEP:
            what = f"a step of batch {case.batch} took {seconds:.2g} s, over the search's limit of {LONGEST_STEP:g} s"
            return Search(found, rates, case.batch, what)
    end = f"batch {cases[-1].batch} is the largest that is tried" if rates else "no batch could be measured"
    return Search(found, rates, 0, end)


def _did_not_fit(record: Failure) -> str:
    return "did not fit" + (", as its proof has it" if record.reason == PROOF_DID_NOT_FIT else "")


def _step_seconds(pilot: Pilot) -> float:
    """By the faster of its two bursts: whatever else the machine does makes a burst slower, never faster."""
    return min(pilot.wall_ns) / 1e9 / pilot.steps_per_burst / pilot.case.steps_per_call
