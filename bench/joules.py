"""What a row says of its energy, from its pilot's pass. Pure."""

from msgspec import Struct

from bench.case import Case
from bench.patience import BUSY
from bench.sensors import Energy


class Joules(Struct, frozen=True):
    """`watts` are the mean over the pass. `joules_note`: why there are none, or why to doubt them."""

    joules_per_step: float | None = None
    joules_per_sample: float | None = None
    watts: float | None = None
    joules_note: str | None = None


UNKNOWN = Joules()


def of(case: Case, found: Energy | None) -> Joules:
    """Where there is no sensor nothing is said: that is no fault of the row's."""
    if found is None or found.absent:
        return UNKNOWN
    if found.joules is None or not found.steps or not found.seconds:
        return Joules(joules_note=found.reason or None)
    step, others, note = found.joules / found.steps, found.others_cores or 0.0, None
    if case.device == "cpu" and others > BUSY:
        note = f"other processes used {others:.1f} cores meanwhile, and RAPL counts them too"
    return Joules(step, step / case.batch, found.joules / found.seconds, note)
