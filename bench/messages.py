"""What parent and worker say to each other: one JSON object a line, on a pipe of their own. Plain data."""

import msgspec
from msgspec import Struct

from bench.program import Facts, Settings

VERSION = 1


class Open(Struct, frozen=True, tag=True):
    """Import the backend's framework, set everything, run the canaries."""

    backend: str
    settings: Settings
    version: int = VERSION


class Warm(Struct, frozen=True, tag=True):
    """Build a case's program and warm it up: `steps` exactly, or where it is 0 until both minima are reached.

    `feed` is a file of `bench.feeds`. With `steps` 0 the worker also finds how many make a burst of `burst_seconds`.
    """

    workload: str
    phase: str
    measure: str
    feed: str
    steps: int = 0
    minimum_steps: int = 0
    minimum_seconds: float = 0.0
    burst_seconds: float = 0.0


class Burst(Struct, frozen=True, tag=True):
    """Time `count` bursts of `steps` steps of the case that was warmed last."""

    steps: int
    count: int


class Prove(Struct, frozen=True, tag=True):
    """Climb the ladder with this workload and save the evidence in `file`; `feeds`: name to file of cases' batches."""

    workload: str
    feeds: dict[str, str]
    file: str


class Describe(Struct, frozen=True, tag=True):
    """The native module of a workload, as the framework itself prints it."""

    workload: str


class Close(Struct, frozen=True, tag=True):
    """No more questions: end with exit code 0."""


class Opened(Struct, frozen=True, tag=True):
    facts: Facts
    versions: dict[str, str]
    import_seconds: float


class Warmed(Struct, frozen=True, tag=True):
    """`first_calls`: seconds of calls 1, 2 and 3, each fenced. `losses`: of the first steps."""

    first_calls: tuple[float, ...]
    steps: int
    fence_seconds: float
    steps_per_burst: int
    losses: tuple[float, ...]


class Bursts(Struct, frozen=True, tag=True):
    """One entry a burst; `compilations` and `finite` speak of all of them, `peak_bytes` of the case from its start."""

    wall_ns: tuple[int, ...]
    cpu_ns: tuple[int, ...]
    switches: tuple[int, ...]
    compilations: int
    finite: bool
    peak_bytes: int | None


class Proved(Struct, frozen=True, tag=True):
    file: str


class Described(Struct, frozen=True, tag=True):
    text: str


class Closed(Struct, frozen=True, tag=True):
    pass


class Failed(Struct, frozen=True, tag=True):
    """The worker could not do it and says why: a status of the design, and one line."""

    status: str
    reason: str


Question = Open | Warm | Burst | Prove | Describe | Close
Answer = Opened | Warmed | Bursts | Proved | Described | Closed | Failed


def encode(message: Question | Answer) -> bytes:
    return msgspec.json.encode(message) + b"\n"


decode_question = msgspec.json.Decoder(Question).decode
decode_answer = msgspec.json.Decoder(Answer).decode
