"""In which order who measures, and what of it is left. Pure: the same seed gives the same order, so runs resume."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from bench import backends, search
from bench.backends import is_own
from bench.case import Case
from bench.records import PILOT_ROUND, Failure, Key, Proof, Record
from bench.run import Run
from bench.suite import Planned

# What a process is expected to take, in seconds, before any has been timed: for the time left and for --dry-run.
EXPECTED = {"proof": 5.0, "ceiling": 4.5, "start": 2.5, "case": 2.5}


class Work(Struct, frozen=True):
    """One process to come: what it is for, its cases, and its round."""

    kind: str
    cases: tuple[Case, ...]
    round: int = PILOT_ROUND
    most: int = 0  # so many of the cases come to be measured, where not all do

    @property
    def count(self) -> int:
        return self.most or len(self.cases)

    @property
    def expected(self) -> float:
        if self.kind in ("proof", "ceiling"):
            return EXPECTED[self.kind]
        return EXPECTED["start"] + EXPECTED["case"] * self.count


def works(run: Run) -> list[Work]:
    """Every process of a run, in order."""
    cases = [p.case for p in run.planned if not p.status]
    wanted = [g for g in groups(cases) if backends.get(g[0].backend).packages or g[0].backend in run.proved]
    proofs_ = [Work("proof", tuple(group)) for group in wanted]
    first = for_ceilings(cases) if run.suite.protocol.ceilings else []
    ceilings = [Work("ceiling", (case,)) for case in first]
    pilots = [Work("pilot", (case,)) for case in search.rising(cases)]
    ordered = rounds(cases, count=run.suite.rounds, seed=run.suite.seed)
    rounds_ = [
        Work("round", tuple(group), n, search.most(run.planned, group)) for n, order in ordered for group in order
    ]
    return proofs_ + ceilings + pilots + rounds_


def left(run: Run, work: Work, made: dict[Key, Record]) -> list[Case]:
    """The cases of a process that still need it, given the records there are."""
    if work.kind == "proof":
        known = work.cases[0].worker in made
        return [] if known else [case for case in work.cases if (case, PILOT_ROUND) not in made]
    proof = made.get(work.cases[0].worker)
    if isinstance(proof, Proof) and proof.broken:
        return []  # also where a kill fell between the broken proof and its cases' failures
    if work.kind == "ceiling":
        known = ceiling_key(work.cases[0]) in made or not any(_measurable(p, made) for p in run.planned)
        return [] if known else list(work.cases)
    open_cases = [c for c in work.cases if (c, work.round) not in made and not search.why_not(run, c, made)]
    if work.kind == "pilot":
        return open_cases
    failures = Counter(r.case for r in made.values() if isinstance(r, Failure))
    broken = {case for case in open_cases if isinstance(made.get((case, PILOT_ROUND)), Failure)}
    # Once most of a case's rounds have failed no number can come of it; the others need not wait for its deadlines.
    return [case for case in open_cases if case not in broken and 2 * failures[case] <= run.suite.rounds]


def _measurable(planned: Planned, made: dict[Key, Record]) -> bool:
    """Whether a time may still come of it: neither its proof nor its pilot has failed."""
    proof = made.get(planned.case.worker)
    broken = isinstance(proof, Proof) and bool(proof.broken)
    return not (planned.status or broken or isinstance(made.get((planned.case, PILOT_ROUND)), Failure))


def together(work: Work, following: Work) -> bool:
    """Whether the second one's process may be opened beside the first's, to wait there for its turn.

    Not on a GPU, where it would hold memory; not a file of the user's own, which may do anything while it waits; and
    not a round of the same worker, which is to find what this one leaves in the compile cache.
    """
    first, second = work.cases[0], following.cases[0]
    apart = first.worker != second.worker or following.kind != "round"
    own = any(is_own(case.backend) for case in (first, second))
    return apart and not own and "gpu" not in (first.device, second.device)


def ceiling_key(case: Case) -> Key:
    """What one measurement of the ceilings holds for."""
    return ("ceiling", case.backend, case.mode, case.precision, case.device, case.threads)


def first_of_each_backend(cases: Iterable[Case]) -> list[Case]:
    """A case for each backend, precision, device and number of threads: in its headline mode, if there is one."""
    found: dict[tuple[object, ...], Case] = {}
    for case in cases:
        row = backends.get(case.backend)
        if row.packages:
            same = (case.backend, case.precision, case.device, case.threads)
            if same not in found or (case.mode == row.headline(case.device) != found[same].mode):
                found[same] = case
    return list(found.values())


def for_ceilings(cases: list[Case]) -> list[Case]:
    """A case for each installed backend, whatever was filtered out: a machine's ceilings are nobody's in particular."""
    firsts = first_of_each_backend(cases)
    found = [c for c in firsts if not backends.get(c.backend).engine]  # Keras reaches no more than what it runs on
    for like in {(c.precision, c.device, c.threads): c for c in firsts}.values():
        kind = like.precision, like.device, like.threads
        here = {c.backend for c in found if (c.precision, c.device, c.threads) == kind}
        for row in backends.NATIVE.values():
            if row.name not in here and like.device in row.devices and not row.missing():
                found.append(replace(like, backend=row.name, mode=row.headline(like.device), layout="flat"))
    return found


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
