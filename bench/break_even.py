"""After how many steps a compiled mode has repaid its compilation against another mode of its backend. Pure."""

from collections.abc import Sequence
from math import inf
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from bench.case import Case
from bench.records import PILOT_ROUND, Key, Pilot, Record, Sample

DRAWS = 10_000
FEWEST_ROUNDS = 5  # as for every bootstrap here


class BreakEven(Struct, frozen=True):
    """`steps` from which on the compiled mode is ahead, `inf` where never; `seconds` that it has run by then."""

    steps: float
    seconds: float
    low: float | None
    high: float | None


class Course(Struct, frozen=True):
    """One mode's course: seconds to start beyond as many steady steps, and of a steady step, one entry a round.

    A cold start happened once: then `extra` has one entry, and its own spread is not in the interval.
    """

    extra: tuple[float, ...]
    step: tuple[float, ...]


def step_ns(sample: Sample) -> float:
    """A process's steady step, the median of its bursts, in nanoseconds."""
    return float(median(sample.wall_ns)) / sample.steps


def warm(samples: dict[int, Sample], rounds: list[int]) -> Course | None:
    """The course of processes that found their compile caches filled; None without any."""
    if not rounds:
        return None
    steps = [step_ns(samples[number]) / 1e9 for number in rounds]
    extra = [_extra(samples[number], step) for number, step in zip(rounds, steps, strict=True)]
    return Course(tuple(extra), tuple(steps))


def cold(case: Case, records: dict[Key, Record], samples: dict[int, Sample], rounds: list[int]) -> Course | None:
    """The course of the pilot, whose compile caches were empty, with the rounds' steady steps; None without one."""
    pilot = records.get((case, PILOT_ROUND))
    if not rounds or not isinstance(pilot, Pilot):
        return None
    steps = tuple(step_ns(samples[number]) / 1e9 for number in rounds)
    return Course((_extra(pilot, float(np.median(steps))),), steps)


def _extra(record: Pilot | Sample, step: float) -> float:
    """Seconds until the program is built and has made its first calls, less what these take later."""
    steps = len(record.first_calls) * record.case.steps_per_call
    return record.stages["build"] + sum(record.first_calls) - steps * step


def between(compiled: Course, base: Course, *, seed: int = 0) -> BreakEven:
    """Where the two cumulative times cross: `(extra_c - extra_b) / (step_b - step_c)`; rounds resampled, 95 %.

    Both are drawn with the same rounds, since a round is a pair; None for the bounds of under five rounds.
    """
    estimate = _cross(*(np.array([np.median(x)]) for x in (compiled.extra, base.extra, compiled.step, base.step)))[0]
    seconds = float(np.median(compiled.extra) + estimate * np.median(compiled.step)) if estimate != inf else inf
    rounds = len(compiled.step)
    if rounds < FEWEST_ROUNDS or rounds != len(base.step):
        return BreakEven(float(estimate), seconds, None, None)
    chosen = np.random.Generator(np.random.PCG64(seed)).integers(0, rounds, (DRAWS, rounds))
    drawn = _cross(*(_medians(x, chosen) for x in (compiled.extra, base.extra, compiled.step, base.step)))
    ordered = np.sort(drawn)  # sorted, not interpolated: infinity has no neighbours
    return BreakEven(float(estimate), seconds, float(ordered[int(0.025 * DRAWS)]), float(ordered[int(0.975 * DRAWS)]))


def _medians(values: Sequence[float], chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    if len(values) == 1:
        return np.full(len(chosen), values[0])
    return np.asarray(np.median(np.asarray(values, np.float64)[chosen], axis=1))


def _cross(
    extra: npt.NDArray[np.float64],
    base_extra: npt.NDArray[np.float64],
    step: npt.NDArray[np.float64],
    base_step: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Steps at which the two are level; 0 where the compiled mode is ahead from the start, `inf` where never."""
    owed, gained = extra - base_extra, base_step - step
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = owed / gained
    return np.where(owed <= 0, np.where(gained >= 0, 0.0, inf), np.where(gained > 0, steps, inf))


def of(case: Case, base: Case, records: dict[Key, Record], samples: dict[Case, dict[int, Sample]]) -> dict[str, Any]:
    """What a row says of it, by its fields, where `base` is the same work in the mode that compiles less."""
    rounds = sorted(samples[case].keys() & samples[base].keys())
    filled = [number for number in rounds if not (samples[case][number].cold or samples[base][number].cold)]
    courses = {
        "break_even": [cold(one, records, samples[one], rounds) for one in (case, base)],
        "break_even_warm": [warm(samples[one], filled) for one in (case, base)],
    }
    said: dict[str, Any] = {"break_even_against": base.mode}
    for name, (ours, theirs) in courses.items():
        if ours and theirs:
            found = between(ours, theirs)
            said |= {f"{name}_steps": found.steps, f"{name}_seconds": found.seconds}
            said |= {f"{name}_steps_low": found.low, f"{name}_steps_high": found.high}
    return said
