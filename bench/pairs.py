"""The records of a gate: `gate.json`, what was compared, and the lines of `pairs.jsonl`. And what cells they make."""

from collections import Counter
from collections.abc import Iterable
from math import isfinite, log, nan
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

from bench import backends, gate, stats
from bench.arms import Arm
from bench.case import Case
from bench.errors import BenchError
from bench.machine import Machine
from bench.patience import BUSY
from bench.records import Pilot, Proof
from bench.sensors import Sensed
from bench.suite import Protocol
from bench.workload import Workload

SCHEMA = 1


class Pairing(Struct, frozen=True):
    """One cell of the gate: the case as each arm measures it, and how much slower is too slow."""

    base: Case
    candidate: Case
    margin: float

    @property
    def sides(self) -> tuple[tuple[str, Case], ...]:
        """Each arm's name with the case that it measures."""
        return ("base", self.base), ("candidate", self.candidate)


class Comparison(Struct, frozen=True):
    """Everything that was decided before the first pair.

    `left_out`: cases of the suite that are no cells, with the reason. `digests`: of files that must not change
    meanwhile, by path. `against`: the folder of a stored run that is the base, empty where both arms are measured.
    `inherited`: what the candidate finds in the variables that count, see `arms.inherited`. `declared`: the
    workloads of other packages, the same for both arms.
    """

    name: str
    pairings: tuple[Pairing, ...]
    control: Pairing
    base: Arm
    candidate: Arm
    differences: tuple[str, ...]
    protocol: Protocol
    machine: Machine
    commit: str
    harness: str
    seed: int
    deadline: float
    started: str
    left_out: tuple[str, ...] = ()
    digests: dict[str, str] = {}
    against: str = ""
    inherited: dict[str, str] = {}
    declared: tuple[Workload, ...] = ()
    schema: int = SCHEMA

    @property
    def cells(self) -> tuple[Pairing, ...]:
        return (*self.pairings, self.control)


class ArmProof(Struct, frozen=True, tag=True):
    """What the ladder of proof said of one worker in one arm."""

    arm: str
    proof: Proof


class ArmPilot(Struct, frozen=True, tag=True):
    arm: str
    pilot: Pilot


class Half(Struct, frozen=True):
    """One arm's process in a pair: the nanoseconds of each burst, or of single calls the median of each burst's."""

    wall_ns: tuple[int, ...]
    first_calls: tuple[float, ...]
    losses: tuple[float, ...]
    left_over: float
    sensed: Sensed


class Pair(Struct, frozen=True, tag=True):
    """One cell in one fresh process of each arm. `case` is the candidate's; `alternating`: the bursts took turns.

    `steps`: in each of the times. `others_cores`, `stolen_cores`: what other processes used and the hypervisor took
    meanwhile (None: not to be seen).
    """

    case: Case
    stage: int
    number: int
    base_first: bool
    alternating: bool
    steps: int
    base: Half
    candidate: Half
    others_cores: float | None
    stolen_cores: float | None
    started: str

    @property
    def ratios(self) -> list[float]:
        """Candidate over base, burst by burst."""
        return [c / b for c, b in zip(self.candidate.wall_ns, self.base.wall_ns, strict=True)]

    @property
    def log_ratio(self) -> float:
        """`ln(candidate / base)`: of bursts that took turns the median of each two, else of the medians."""
        both = self.base.wall_ns, self.candidate.wall_ns
        if not all(both) or min(map(min, both)) <= 0 or (self.alternating and len(both[0]) != len(both[1])):
            return nan
        if self.alternating:
            return log(median(self.ratios))
        return log(median(self.candidate.wall_ns) / median(self.base.wall_ns))


class Lost(Struct, frozen=True, tag=True):
    """A cell that could not be measured: in which arm, why, and where the log is. Its verdict is INVALID."""

    case: Case
    arm: str
    status: str
    reason: str
    log: str


Record = ArmProof | ArmPilot | Pair | Lost


class Report(Struct, frozen=True):
    """What a gate's folder comes to."""

    comparison: Comparison
    judgement: gate.Judgement
    records: tuple[Record, ...]


def cells(comparison: Comparison, records: Iterable[Record]) -> tuple[list[gate.Cell], gate.Cell]:
    """The cells of the gate with their pairs, and the control's, in the comparison's order."""
    found = list(records)
    made = [_cell(pairing, found, stored=bool(comparison.against)) for pairing in comparison.cells]
    return made[:-1], made[-1]


def _cell(pairing: Pairing, found: list[Record], *, stored: bool) -> gate.Cell:
    ours = [r for r in found if isinstance(r, Pair) and r.case == pairing.candidate]
    # Their order in the file says nothing: the same pairs give the same verdict.
    ours.sort(key=lambda pair: (pair.stage, pair.number))
    broken = _broken(pairing, ours, found) or (_beside(ours) if stored else "")
    return gate.Cell(
        name=str(pairing.candidate),
        first=tuple(pair.log_ratio for pair in ours if pair.stage == 1),
        second=tuple(pair.log_ratio for pair in ours if pair.stage == 2),
        margin=pairing.margin,
        broken=broken,
        # Pairs that were measured in different ways have not equally many.
        drifts=() if broken else tuple(zip(*map(drifts, ours), strict=True)),
    )


def drifts(pair: Pair) -> tuple[float, ...]:
    """How the time moved within the pair: of bursts that took turns that of the ratio, else that of each process."""
    if not isfinite(pair.log_ratio):  # which is INVALID for that
        return (0.0,) if pair.alternating else (0.0, 0.0)
    return tuple(map(stats.drift, [pair.ratios] if pair.alternating else [pair.base.wall_ns, pair.candidate.wall_ns]))


def _beside(ours: list[Pair]) -> str:
    """Whether a neighbour was there in more than a quarter of the pairs, where it meets only one of the arms."""
    seen = [cores for pair in ours if (cores := pair.others_cores or 0.0) > BUSY]
    if 4 * len(seen) <= len(ours):
        return ""
    return (
        f"other processes used {median(seen):.1f} cores beside {len(seen)} of {len(ours)} pairs, and met one arm alone"
    )


def _broken(pairing: Pairing, ours: list[Pair], found: list[Record]) -> str:
    """Why there can be no verdict, in the same words in whichever order the records lie; empty where there can."""
    if lost := [r for r in found if isinstance(r, Lost) and r.case == pairing.candidate]:
        first = min(lost, key=lambda r: (r.arm, r.reason, r.status, r.log))  # "base" is before "candidate"
        where = f" (see {first.log})" if first.log else ""
        return f"the {first.arm} arm: {first.status}: {first.reason}{where}"
    for arm, case in pairing.sides:
        pilots = [r.pilot for r in found if isinstance(r, ArmPilot) and (r.arm, r.pilot.case) == (arm, case)]
        if steps := [pilot.warm_up_steps for pilot in pilots if not pilot.settled]:
            return f"the {arm} arm is unsteady: {min(steps)} steps did not warm it up"
    if ours and (missing := _unproved(pairing, found)):
        return missing
    twice = [name for name, many in Counter((p.stage, p.number) for p in ours).items() if many > 1]
    if twice:
        stage, number = twice[0]
        return (
            f"pair {number + 1} of stage {stage} is there {Counter((p.stage, p.number) for p in ours)[twice[0]]} times"
        )
    alternating = 2 * sum(pair.alternating for pair in ours) > len(ours)
    if odd := next((pair for pair in ours if pair.alternating != alternating), None):
        return f"pair {odd.number + 1} of stage {odd.stage} was measured in another way than the rest"
    return ""


def _unproved(pairing: Pairing, found: list[Record]) -> str:
    """Which arm has no pilot on record, or no proof that held where its backend can be proved."""
    for arm, case in pairing.sides:
        if not any(isinstance(r, ArmPilot) and (r.arm, r.pilot.case) == (arm, case) for r in found):
            return f"the {arm} arm has no pilot on record"
        if not backends.recorded(case.backend).packages:
            continue
        proofs = [r.proof for r in found if isinstance(r, ArmProof) and (r.arm, r.proof.worker) == (arm, case.worker)]
        if not proofs:
            return f"the {arm} arm has no proof on record"
        feed = f"{case.phase}/{case.data}/{case.batch}"
        if broken := {proof.broken or proof.broken_feeds.get(feed, "") for proof in proofs} - {""}:
            return f"the {arm} arm: parity_failed: {min(broken)}"
    return ""


def read(folder: Path) -> tuple[Comparison, list[Record]]:
    """What a gate's folder holds; `BenchError` naming the file and line that is missing or is no gate's."""
    if not folder.is_dir():
        raise BenchError(f"no gate folder {folder}; a gate's folder holds gate.json and pairs.jsonl")
    path = folder / "gate.json"
    try:
        text = path.read_bytes()
        found = msgspec.json.decode(text, type=dict).get("schema")
        if found != SCHEMA:
            raise BenchError(f"{path}: wanted schema version {SCHEMA}, found {found}; use the Stepwatch that wrote it")
        comparison = msgspec.json.decode(text, type=Comparison)
    except FileNotFoundError:
        raise BenchError(f"{folder} is not a gate's folder: it has no gate.json") from None
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not a gate's: {error}") from None
    if not comparison.pairings:
        raise BenchError(f"{path} holds no case, so there is nothing to judge; start a new gate", exit_code=4)
    return comparison, read_lines(folder / "pairs.jsonl")


def read_lines(path: Path) -> list[Record]:
    """The whole lines of a `pairs.jsonl`; a torn last one is left out, its pair is simply missing."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from None
    records: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(msgspec.json.decode(line, type=Record))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BenchError(f"{path} line {number} is not a gate's record: {error}", exit_code=4) from None
    return records
