"""What the sensors say of a row: was it measured beside a busy neighbour, did it drift, did a process stand still."""

import statistics
from collections.abc import Sequence

from msgspec import Struct

from bench import sensors, stats
from bench.patience import BUSY
from bench.records import Pilot, Sample

THROTTLED = 0.01  # seconds that a control group's quota may hold a process back while it is timed
COUNTED = 0.5  # seconds of which the kernel's counters, in steps of 10 ms, say something
STALL_RATIO, STALL_SECONDS = 10, 0.5  # a burst this many times the median, and this long at least


class Noise(Struct, frozen=True):
    """Cores that others used and that the hypervisor took, each the median over processes (None: not to be seen).

    `disturbed`: more than a quarter of the processes had a busy neighbour; `words` says all that makes it unsteady.
    """

    others_cores: float | None
    stolen_cores: float | None
    disturbed: bool
    words: str


def of(samples: Sequence[Sample], cores: int, pilot: Pilot | None = None) -> Noise:
    """`samples`: one a process. `cores`: those that the processes may use, where the sensors did not count them."""
    others = [found for s in samples if (found := sensors.others(s.sensed.readings)) is not None]
    stolen = [found for s in samples if (found := sensors.stolen(s.sensed.readings)) is not None]
    said = []
    busy = [found for s in samples if (found := _neighbour(s)) is not None]
    cores = next((s.sensed.cores for s in samples if s.sensed.cores), cores)
    taken = [cores_ for cores_ in stolen if cores_ > BUSY]
    foreign = [s.sensed.gpu.foreign for s in samples if s.sensed.gpu and s.sensed.gpu.foreign]
    if beside := 4 * len(busy) > len(samples):
        most = statistics.median(busy)
        said.append(f"other processes used {most:.1f} of {cores} cores beside {len(busy)} of {len(samples)} processes")
    if robbed := 4 * len(taken) > len(samples):
        most = statistics.median(taken)
        said.append(f"the hypervisor took {most:.1f} of {cores} cores from {len(taken)} of {len(samples)} processes")
    if shared := 4 * len(foreign) > len(samples):
        said.append(f"{max(foreign)} other processes computed on the GPU beside {len(foreign)} of {len(samples)}")
    throttled = [t for s in samples if (t := s.sensed.throttled_seconds or 0.0) > THROTTLED]
    if held := 4 * len(throttled) > len(samples):
        most = statistics.median(throttled)
        said.append(f"a quota held back {len(throttled)} of {len(samples)} processes, {most:.2g} s each")
    drifting = sum(stats.drifting(sample.wall_ns) for sample in samples)
    if 4 * drifting > len(samples):
        said.append(f"{drifting} of {len(samples)} processes grew faster or slower by over 3 % while they were timed")
    if pilot and (beside_pilot := _neighbour(pilot)) is not None:
        said.append(f"others used {beside_pilot:.1f} cores beside the pilot: doubt its cold first call and memory")
    if pilot and sum(pilot.first_calls) >= COUNTED and (pilot.first_others_cores or 0.0) > BUSY:
        said.append(f"others used {pilot.first_others_cores:.1f} cores beside the pilot's first calls: doubt them")
    if stalls := [words for sample in samples if (words := _stall(sample))]:
        said.append(stalls[0])
    return Noise(
        others_cores=statistics.median(others) if others else None,
        stolen_cores=statistics.median(stolen) if stolen else None,
        disturbed=beside or robbed or shared or held,
        words="; ".join(said),
    )


def _neighbour(record: Sample | Pilot) -> float | None:
    """Cores that others used, where that leaves this process less than the threads it was given."""
    found = sensors.others(record.sensed.readings)
    room = (record.sensed.cores or record.case.threads) - record.case.threads
    return found if found is not None and found > room + BUSY else None


def _stall(sample: Sample) -> str:
    """A burst in which the process stood still: stopped by a signal, say. Medians survive it; the row says so."""
    longest, middle = max(sample.wall_ns) / 1e9, statistics.median(sample.wall_ns) / 1e9
    if longest < STALL_SECONDS or longest < STALL_RATIO * middle:
        return ""
    return f"a process stood still: one burst took {longest:.1f} s, their median is {middle:.3f} s"
