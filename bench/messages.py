"""What parent and worker say to each other: one JSON object a line, on a pipe of their own. Plain data."""

import msgspec
from msgspec import Struct

from bench.backend import PHASES
from bench.program import Facts, Settings
from bench.sensors import Energy, Sensed
from bench.workload import Workload

VERSION = 6
DISK = "disk"  # the status of a worker that cannot write: no row's, for it ends the run


class Open(Struct, frozen=True, tag=True):
    """Import the backend's framework, set everything, run the canaries.

    A backend that is a file of the user's own is at `file`; modules may be imported from `root` too, and none of them
    may come from `elsewhere`, the other arm's checkout.
    """

    backend: str
    settings: Settings
    file: str = ""
    root: str = ""
    elsewhere: str = ""
    version: int = VERSION


class Warm(Struct, frozen=True, tag=True):
    """Build a case's program and warm it up: `steps` exactly, or where it is 0 until it is detected that it is warm.

    `feed` is a file of `bench.feeds`; `foretold`: a proof says what the first losses are. With `steps` 0 the worker
    also finds how many make a burst of `burst_seconds`. `declared`: the workload where it is another package's, so that
    both arms of a gate do the same, whichever version of that package they have.
    """

    workload: str
    phase: str
    measure: str
    feed: str
    steps: int = 0
    minimum_steps: int = 0
    minimum_seconds: float = 0.0
    cap_seconds: float = 0.0
    burst_seconds: float = 0.0
    input: str = "resident"
    foretold: bool = True
    declared: Workload | None = None


class Burst(Struct, frozen=True, tag=True):
    """Time `count` bursts of `steps` steps of the case that was warmed last, then see whether it falls silent.

    That is seen after a burst of `quiet_steps`, which has a queue to leave behind also where one call is timed at a
    time; it is looked at again where more than `quiet_seconds` of work go on. With `quiet_steps` 0 it is not looked at,
    nor whether all weights are finite.
    """

    steps: int
    count: int
    quiet_steps: int
    quiet_seconds: float


class Inspect(Struct, frozen=True, tag=True):
    """Of the case that was warmed last: what its calls cost the host, and how silent it is after certain ends.

    Its energy too, in bursts of `energy_calls` calls (0: it is not wanted), for `energy_seconds` at most.
    """

    energy_calls: int = 0
    energy_seconds: float = 0.0


class Measure(Struct, frozen=True, tag=True):
    """The best matrix-product rate and copy bandwidth of the open backend, in the open precision."""


class Prove(Struct, frozen=True, tag=True):
    """Climb the ladder with this workload and save the evidence in `file`; `feeds`: name to file of cases' batches.

    `phases`: those whose first losses on these are wanted; where a process is to be `timed`, it makes those as measured
    itself, but with dropout. `declared`: see `Warm`.
    """

    workload: str
    feeds: dict[str, str]
    file: str
    declared: Workload | None = None
    phases: tuple[str, ...] = PHASES
    timed: bool = False


class Describe(Struct, frozen=True, tag=True):
    """The native module of a workload, as the framework itself prints it. `declared`: see `Warm`."""

    workload: str
    declared: Workload | None = None


class Look(Struct, frozen=True, tag=True):
    """What the open file of a user's own offers."""


class Close(Struct, frozen=True, tag=True):
    """No more questions: end with exit code 0."""


class Opened(Struct, frozen=True, tag=True):
    facts: Facts
    versions: dict[str, str]
    import_seconds: float


class Warmed(Struct, frozen=True, tag=True):
    """`first_calls`: seconds of calls 1, 2 and 3, each fenced. `losses`: of the first steps.

    `steps`: of the warm-up after the first five calls; `settled`: it ended by itself, not by its cap. `compilations`:
    since the program was built, None where the framework cannot say. `kinds`: dtype and place of every tensor.
    `first_others_cores`: what other processes used during the first calls.
    """

    first_calls: tuple[float, ...]
    steps: int
    settled: bool
    compilations: int | None
    kinds: dict[str, str]
    fence_seconds: float
    steps_per_burst: int
    losses: tuple[float, ...]
    build_seconds: float
    warm_seconds: float
    first_others_cores: float | None = None


class Bursts(Struct, frozen=True, tag=True):
    """One entry a burst; the rest speaks of all of them, `peak_bytes` of the case from its start.

    `left_over`: seconds of work that went on after the fence, see `bench.quiet`; `quiet_seconds`: what this process is
    allowed of it, where it seemed more than the pilot's and was measured again. `seconds`: what the bursts took.
    """

    wall_ns: tuple[int, ...]
    cpu_ns: tuple[int, ...]
    switches: tuple[int, ...]
    compilations: int
    finite: bool
    peak_bytes: int | None
    left_over: float
    sensed: Sensed
    seconds: float
    quiet_seconds: float = 0.0


class Inspected(Struct, frozen=True, tag=True):
    """`dispatch_seconds`: until a call returns. `one_image_seconds`: of a step on one image; None where not tried.

    `quiet_seconds`: the most work that may go on after a fence. `input_share`: of a host-fed step, what the same step
    does not take on batches that are on the device; None where it is fed from there. `fed_losses`: of the first
    training steps by the loader, where the case is inference.
    """

    dispatch_seconds: float
    one_image_seconds: float | None
    quiet_seconds: float
    input_share: float | None = None
    energy: Energy | None = None
    fed_losses: tuple[float, ...] = ()


class Measured(Struct, frozen=True, tag=True):
    """One entry a burst at the best size: FLOP per second of a product, bytes per second read and written by a copy.

    `cores`: what the process used of them in that product; `others_cores`: what other processes used meanwhile.
    """

    flops_per_second: tuple[float, ...]
    bytes_per_second: tuple[float, ...]
    cores: float
    others_cores: float | None


class Proved(Struct, frozen=True, tag=True):
    file: str


class Described(Struct, frozen=True, tag=True):
    text: str


class Looked(Struct, frozen=True, tag=True):
    """`batch`: samples a step; `proves`: whether it offers the proof methods."""

    batch: int
    phases: tuple[str, ...]
    proves: bool


class Closed(Struct, frozen=True, tag=True):
    pass


class Failed(Struct, frozen=True, tag=True):
    """The worker could not do it and says why: a status of the design, and one line."""

    status: str
    reason: str


Question = Open | Warm | Burst | Inspect | Measure | Prove | Describe | Look | Close
Answer = Opened | Warmed | Bursts | Inspected | Measured | Proved | Described | Looked | Closed | Failed


def encode(message: Question | Answer) -> bytes:
    return msgspec.json.encode(message) + b"\n"


decode_question = msgspec.json.Decoder(Question).decode
decode_answer = msgspec.json.Decoder(Answer).decode
