"""The lines of `results.jsonl`: Proof, Ceiling, Pilot, Sample, Failure, Session. Appended whole or not at all."""

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from bench.case import Case
from bench.errors import BenchError, cannot_write, not_writable
from bench.sensors import Energy, Sensed

SCHEMA = 2
PILOT_ROUND = -1  # the round of a record that no round made
Positive = Annotated[int, Meta(ge=1)]  # is held to that where a record is read


class Origin(Struct, frozen=True):
    """Where a record comes from. `digest` is the workload's, `machine` the machine's (see run.json)."""

    digest: str
    machine: str
    versions: dict[str, str]
    commit: str
    round: int
    started: str


class Proof(Struct, frozen=True, tag=True):
    """What the ladder said of one worker's program. `broken` is empty where it held; `broken_feeds`: see `proofs`.

    An error that is not known (nothing to compare with) or not finite is None.
    """

    worker: tuple[str, ...]
    origin: Origin
    parity_fp64: float | None
    parity_error: float | None
    broken: str
    first_losses: dict[str, list[float]]
    cached: bool
    broken_feeds: dict[str, str] = {}
    schema: int = SCHEMA


class Pilot(Struct, frozen=True, tag=True):
    """One case alone in a fresh process, its compile cache empty: what the rounds will do, and the cold first call.

    `settled` is False where the warm-up's cap ended it; `one_image_seconds` see `bench.trial`, `left_over` and
    `quiet_seconds` (the most of it that is allowed) see `bench.quiet`. `first_others_cores`: what other processes used
    during the first calls. `input_share`: of a host-fed step, what waits for its batch. `wall_ns`: of its two bursts.
    """

    case: Case
    origin: Origin
    first_calls: tuple[float, ...]
    warm_up_steps: int
    settled: bool
    compilations: int | None
    steps_per_burst: Positive
    fence_seconds: float
    dispatch_seconds: float
    one_image_seconds: float | None
    quiet_seconds: float
    left_over: float
    peak_bytes: int | None
    sensed: Sensed
    stages: dict[str, float]
    first_others_cores: float | None = None
    input_share: float | None = None
    energy: Energy | None = None
    wall_ns: tuple[Positive, ...] = ()
    schema: int = SCHEMA


class Sample(Struct, frozen=True, tag=True):
    """One case in one process of one round: raw bursts, one entry each. `stages`: seconds by what the process did.

    `cold`: no pilot or round had filled the compile cache. `quiet_seconds`: the most work that might follow a fence
    in this process, where what its idle threads spin was measured again; 0 where its pilot's holds.
    """

    case: Case
    origin: Origin
    first_calls: tuple[float, ...]
    steps: Positive
    wall_ns: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    cpu_ns: tuple[int, ...]
    switches: tuple[int, ...]
    losses: tuple[float, ...]
    cold: bool
    compilations: int | None
    left_over: float
    sensed: Sensed
    stages: dict[str, float]
    quiet_seconds: float = 0.0
    schema: int = SCHEMA


class Ceiling(Struct, frozen=True, tag=True):
    """One backend's rates, one entry a burst; see `bench.ceilings`. `cores`: what the product used of them;
    `others_cores`: what other processes did, None where that is not to be seen."""

    backend: str
    mode: str
    precision: str
    device: str
    threads: int
    origin: Origin
    flops_per_second: tuple[float, ...]
    bytes_per_second: tuple[float, ...]
    reason: str = ""
    cores: float | None = None
    others_cores: float | None = None
    schema: int = SCHEMA


class Session(Struct, frozen=True, tag=True):
    """One command's work on the run: how long it took, how much of it the parent used and how long it waited.

    `stages`: seconds by what the processes did; see docs/measurement.md for the floor that they add up to.
    """

    started: str
    seconds: float
    parent_cpu_seconds: float
    measuring_seconds: float
    waited_seconds: float
    stages: dict[str, float]
    schema: int = SCHEMA


class Failure(Struct, frozen=True, tag=True):
    """A case that could not be measured in this round (or in its pilot), why, and where the log is."""

    case: Case
    origin: Origin
    status: str
    reason: str
    log: str
    schema: int = SCHEMA


Record = Proof | Ceiling | Pilot | Sample | Failure | Session
Key = tuple[object, ...]
RECORDS = msgspec.json.Decoder[Record](Record)  # made once: a report may read many thousand lines


def key(record: Record) -> Key:
    """Records with the same key are the same measurement: the later one holds."""
    if isinstance(record, Proof):
        return record.worker
    if isinstance(record, Ceiling):
        return ("ceiling", record.backend, record.mode, record.precision, record.device, record.threads)
    if isinstance(record, Session):
        return ("session", record.started)
    return (record.case, record.origin.round)


class Ledger:
    """The open file of a run's or a gate's records: each is one `write` of one line, on disk before the next begins."""

    def __init__(self, path: Path) -> None:
        self.path, self.written = path, 0
        try:
            self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise not_writable(path, error) from None

    def append(self, record: Struct) -> None:
        """`BenchError` with exit code 74, naming what was kept, if the line cannot be written whole."""
        line = msgspec.json.encode(record) + b"\n"
        try:
            while line:
                line = line[os.write(self.descriptor, line) :]
            os.fsync(self.descriptor)
        except OSError as error:
            raise cannot_write(
                self.path, error, f"{self.written} records of this session are kept", self.path.parent
            ) from None
        self.written += 1

    def close(self) -> None:
        os.close(self.descriptor)


def read(path: Path) -> tuple[list[Record], str]:
    """All records of a file, and its torn last line ("" if it ends well); `BenchError` naming the line otherwise."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from None
    *lines, rest = text.split(b"\n")
    return [_decode(line, path, number) for number, line in enumerate(lines, 1)], rest.decode(errors="replace")


def drop_torn_line(path: Path) -> None:
    """Cuts the file after its last whole line; `BenchError` where it may not be written."""
    whole = path.read_bytes().rpartition(b"\n")
    try:
        with open(path, "r+b") as file:
            file.truncate(len(whole[0]) + len(whole[1]))
    except OSError as error:
        raise not_writable(path, error) from None


class _Schema(Struct):
    schema: int = 0


def _decode(line: bytes, path: Path, number: int) -> Record:
    try:
        try:
            record: Record = RECORDS.decode(line)
            schema = record.schema
        except msgspec.ValidationError:  # another schema's has other fields
            schema = msgspec.json.decode(line, type=_Schema).schema
            if schema == SCHEMA:
                raise
        if schema != SCHEMA:
            raise BenchError(
                f"{path} line {number}: wanted schema version {SCHEMA}, found {schema}; "
                "read it with the Stepwatch that wrote it"
            )
        return record
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BenchError(
            f"{path} line {number} is not a record: {error}; delete that line to go on without it"
        ) from None


def failed(record: Record) -> bool:
    """Whether `--retry` makes it again."""
    match record:
        case Proof():
            return bool(record.broken or record.broken_feeds)
        case Ceiling():
            return bool(record.reason)
        case _:
            return isinstance(record, Failure)


def latest(found: list[Record], path: Path | str = "results.jsonl") -> dict[Key, Record]:
    """The record that holds for each key: a later one, made by --retry, replaces one that failed.

    `BenchError` where a good measurement is there a second time: nobody could say which one to believe.
    """
    holding: dict[Key, Record] = {}
    for record in found:
        name = key(record)
        earlier = holding.get(name)
        if earlier is not None and not failed(earlier) and not isinstance(record, Session):
            what = getattr(record, "case", None) or " ".join(map(str, name))
            where = f" round {record.origin.round + 1}" if isinstance(record, Sample | Failure) else ""
            raise BenchError(
                f"the {type(record).__name__} of {what}{where} is there twice in {path}; remove one of the lines"
            )
        holding[name] = record
    return holding
