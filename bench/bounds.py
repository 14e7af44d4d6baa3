"""What bounds a step: the host's dispatch, arithmetic or memory; each as a share of the step's time. Pure.

The roofline model (Williams, Waterman & Patterson 2009), with ceilings that were measured in the same run.
"""

import statistics
from collections.abc import Iterable

from msgspec import Struct

from bench import backends
from bench.case import Case
from bench.patience import BUSY
from bench.records import Ceiling, Pilot
from bench.workload import Workload

MOST_THREADS = 8  # a product of the largest size that is tried may be too small to keep more of them busy


class Ceilings(Struct, frozen=True):
    """The best of all backends: rates, whose they are, and the least and the most of its bursts.

    `others_cores`: the most that other processes used beside either; None where that is not to be seen. `kind`: what
    they are ceilings of.
    """

    flops_per_second: float
    flops_by: str
    flops_spread: tuple[float, float]
    bytes_per_second: float
    bytes_by: str
    bytes_spread: tuple[float, float]
    others_cores: float | None = None
    kind: str = ""


class Bounds(Struct, frozen=True):
    """Shares of the step's time; None where it is not known."""

    utilisation: float | None = None
    memory_share: float | None = None
    dispatch_share: float | None = None
    bound_by: str | None = None


def ceilings(records: Iterable[object], *, precision: str, device: str, threads: int) -> Ceilings | None:
    """The best ceilings of that kind, or None where none was measured."""
    fitting = [
        record
        for record in records
        if isinstance(record, Ceiling)
        and (record.precision, record.device, record.threads) == (precision, device, threads)
        and not record.reason
    ]
    if not fitting:
        return None
    product = max(fitting, key=lambda c: statistics.median(c.flops_per_second))
    copy = max(fitting, key=lambda c: statistics.median(c.bytes_per_second))
    return Ceilings(
        statistics.median(product.flops_per_second),
        f"{product.backend} {product.mode}",
        (min(product.flops_per_second), max(product.flops_per_second)),
        statistics.median(copy.bytes_per_second),
        f"{copy.backend} {copy.mode}",
        (min(copy.bytes_per_second), max(copy.bytes_per_second)),
        max((seen for c in (product, copy) if (seen := c.others_cores) is not None), default=None),
        f"{precision}, {device}" + (f", {threads} threads" if device == "cpu" else ""),
    )


def idle_threads(case: Case, records: Iterable[object]) -> str:
    """What is to be said where the backend's largest product left most of its threads idle; empty otherwise.

    A thread pool may be smaller than the framework says that it is: OMP_THREAD_LIMIT does that to torch.
    """
    if not 2 <= case.threads <= MOST_THREADS:
        return ""
    wanted = case.backend, case.precision, case.device, case.threads
    for record in records:
        if not isinstance(record, Ceiling) or record.cores is None or case.device != "cpu":
            continue
        beside = (record.others_cores or 0.0) > BUSY
        ours = record.backend, record.precision, record.device, record.threads
        if ours == wanted and not beside and record.cores < (1 + case.threads) / 2:
            return (
                f"a large matrix product used {record.cores:.1f} cores of {case.threads} threads: "
                "the framework's thread pool may be smaller than it says"
            )
    return ""


def of(case: Case, workload: Workload, step: float, pilot: Pilot, found: Ceilings | None) -> Bounds:
    """`step`: seconds. The largest of the shares is what bounds it, of a host-fed step its waiting for input too."""
    if found is None:
        return Bounds()
    arithmetic, memory = _floors(case, workload, case.batch, found)
    dispatch = _dispatch(case, workload, step, pilot, found)
    shares = {"dispatch": dispatch, "arithmetic": arithmetic / step, "memory": memory / step}
    shares |= {} if pilot.input_share is None else {"input": pilot.input_share}
    bound_by = max(shares, key=lambda name: shares[name])
    return Bounds(shares["arithmetic"], shares["memory"], dispatch, bound_by)


def _floors(case: Case, workload: Workload, batch: int, found: Ceilings) -> tuple[float, float]:
    """Seconds that a step of `batch` takes at least, by its arithmetic and by the memory that it must move."""
    moved = workload.bytes_per_step(case.phase, batch, backends.ITEM_BYTES[case.precision])
    return batch * workload.flops_per_sample(case.phase) / found.flops_per_second, moved / found.bytes_per_second


def _dispatch(case: Case, workload: Workload, step: float, pilot: Pilot, found: Ceilings) -> float:
    """The host's share is at most both: until a call returns, which may have done its work by then; and what a step on
    one image takes beyond that image's own floor."""
    least = pilot.dispatch_seconds / case.steps_per_call
    alone = pilot.one_image_seconds and pilot.one_image_seconds / case.steps_per_call
    if case.batch == 1:
        alone = step
    if alone is not None:
        least = min(least, max(0.0, alone - max(_floors(case, workload, 1, found))))
    return min(1.0, least / step)
