"""One cell in two live processes: their bursts take turns, so that whatever the machine does hits both alike."""

from statistics import median
from time import sleep

from msgspec import Struct
from msgspec.structs import replace

from bench import measuring
from bench.arms import Arm
from bench.messages import Burst, Bursts, Failed, Warmed
from bench.pairs import Half
from bench.process import Process, WorkerFailed
from bench.records import Pilot

# Seconds between two bursts: what the other process's idle threads still spin (libgomp's 4 to 5 ms) must be over.
SETTLE = 0.010


class Side(Struct, frozen=True):
    """An arm's open worker and its case; `pilot` is the arm's own: how silent it is after a fence."""

    arm: Arm
    worker: Process
    subject: measuring.Subject
    pilot: Pilot


class ArmFailed(Exception):
    """What went wrong in a pair, and in which arm."""

    def __init__(self, arm: Arm, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.arm, self.failed = arm, failed


def warm(side: Side, steps: int, until: float) -> Warmed:
    """The side's case warmed by so many steps; `ArmFailed` where it cannot be."""
    try:
        return measuring.warm(side.worker, side.subject, until, steps)
    except WorkerFailed as error:
        raise ArmFailed(side.arm, error.failed) from None


def alternate(sides: tuple[Side, Side], *, steps: int, first: int, until: float) -> list[list[Bursts]]:
    """The bursts of both sides, taking turns A B B A: `first` (0 or 1) begins. The last burst of each is looked after.

    Of a latency case each burst is so many single calls that all bursts make `latency_calls`.
    """
    protocol = sides[0].subject.protocol
    latency = sides[0].subject.case.measure == "latency"
    calls = -(-protocol.latency_calls // protocol.bursts) if latency else 1
    taken: list[list[Bursts]] = [[], []]
    for number in range(protocol.bursts):
        quiet_steps = steps if number == protocol.bursts - 1 else 0
        for who in (first, 1 - first) if number % 2 == 0 else (1 - first, first):
            side = sides[who]
            sleep(SETTLE)
            question = Burst(1 if latency else steps, calls, quiet_steps, side.pilot.quiet_seconds)
            try:
                taken[who].append(side.worker.expect(question, Bursts, until))
            except WorkerFailed as error:
                raise ArmFailed(side.arm, error.failed) from None
    return taken


def alone(side: Side, *, steps: int, until: float) -> list[Bursts]:
    """All bursts of one side at once, as on a GPU, which two processes would share by turns of its own."""
    protocol = side.subject.protocol
    latency = side.subject.case.measure == "latency"
    count = protocol.latency_calls if latency else protocol.bursts
    question = Burst(1 if latency else steps, count, steps, side.pilot.quiet_seconds)
    try:
        return [side.worker.expect(question, Bursts, until)]
    except WorkerFailed as error:
        raise ArmFailed(side.arm, error.failed) from None


def half(side: Side, warmed: Warmed, bursts: list[Bursts]) -> Half:
    """The side's half of the pair, once its bursts are found to be those of its steps; `ArmFailed` otherwise."""
    last = bursts[-1]
    whole = replace(
        last,
        wall_ns=tuple(ns for one in bursts for ns in one.wall_ns),
        cpu_ns=tuple(ns for one in bursts for ns in one.cpu_ns),
        switches=tuple(n for one in bursts for n in one.switches),
        compilations=sum(one.compilations for one in bursts),
        finite=all(one.finite for one in bursts),
    )
    try:
        measuring.check_bursts(side.subject.case, whole, side.pilot.quiet_seconds)
    except WorkerFailed as error:
        raise ArmFailed(side.arm, error.failed) from None
    walls = whole.wall_ns if len(bursts) == 1 else tuple(round(median(one.wall_ns)) for one in bursts)
    return Half(walls, warmed.first_calls, warmed.losses, last.left_over, last.sensed)
