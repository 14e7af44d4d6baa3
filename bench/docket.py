"""A gate's folder at work: what is already recorded of each cell in each arm, and what a worker needs to go on."""

from pathlib import Path

from msgspec.structs import replace

from bench import feeds, measuring, programs, proofs, revisions, workloads
from bench import run as runs
from bench.arms import Arm, Launch
from bench.backends import is_own
from bench.baseline import Baseline
from bench.case import Case
from bench.errors import BenchError
from bench.messages import Failed, Opened
from bench.pairs import ArmPilot, ArmProof, Comparison, Lost, Pair, Pairing, Record, read_lines
from bench.process import Process, WorkerFailed
from bench.records import Ledger, Origin, Pilot, Proof, drop_torn_line

CONTROL_WARM_UP = 0.2  # seconds: nothing of it compiles


class Docket:
    """Records are appended, never changed. Whatever is started here, `close` ends."""

    def __init__(self, comparison: Comparison, folder: Path) -> None:
        self.comparison, self.folder = comparison, folder
        path = folder / "pairs.jsonl"
        if path.exists():
            drop_torn_line(path)
        self.records: list[Record] = list(read_lines(path))
        self.ledger = Ledger(path)
        self.alive: list[Process] = []
        self.baseline = Baseline(Path(comparison.against)) if comparison.against else None

    @property
    def arms(self) -> tuple[Arm, Arm]:
        return self.comparison.base, self.comparison.candidate

    def check_files(self) -> None:
        """`BenchError`, exit code 4, where a file, the revision here or Stepwatch itself is not what it was."""
        if (code := runs.harness()) != self.comparison.harness:
            raise BenchError(
                f"INVALID: the code of Stepwatch was {self.comparison.harness} when the gate was begun, now it is "
                f"{code}; start a new gate",
                exit_code=4,
            )
        for path, digest in self.comparison.digests.items():
            there = Path(path).exists()
            if not there or programs.digest(Path(path)) != digest:
                what = "changed" if there else "removed"
                raise BenchError(f"INVALID: {path} was {what} while the gate measured; start a new gate", exit_code=4)
        was = self.comparison.candidate.revision
        if was and (now := revisions.present()) != was:
            raise BenchError(
                f"INVALID: the working tree was {was} when the gate was begun, now it is {now}; start a new gate",
                exit_code=4,
            )

    def append(self, record: Record) -> None:
        self.ledger.append(record)
        self.records.append(record)

    def lose(self, pairing: Pairing, arm: Arm, failed: Failed, log: Path) -> None:
        """The cell has no verdict any more: INVALID, with this reason."""
        where = str(log.relative_to(self.folder))
        self.append(Lost(pairing.candidate, arm.name, failed.status, failed.reason, where))

    def lost(self, pairing: Pairing) -> bool:
        return any(isinstance(r, Lost) and r.case == pairing.candidate for r in self.records)

    def paired(self, pairing: Pairing, stage: int, number: int) -> bool:
        wanted = pairing.candidate, stage, number
        return any(isinstance(r, Pair) and (r.case, r.stage, r.number) == wanted for r in self.records)

    def finished(self, pairing: Pairing, stage: int, number: int) -> bool:
        """Whether the pair is there, or nobody wants it any more."""
        return self.paired(pairing, stage, number) or self.lost(pairing)

    def piloted(self, pairing: Pairing) -> bool:
        return self.lost(pairing) or all(self.pilot(arm, pairing) for arm in self.arms)

    def pilot(self, arm: Arm, pairing: Pairing) -> Pilot | None:
        wanted = arm.name, case_of(arm, pairing)
        found = (r.pilot for r in self.records if isinstance(r, ArmPilot) and (r.arm, r.pilot.case) == wanted)
        return next(found, None)

    def proof(self, arm: Arm, case: Case) -> Proof | None:
        wanted = arm.name, case.worker
        found = (r.proof for r in self.records if isinstance(r, ArmProof) and (r.arm, r.proof.worker) == wanted)
        return next(found, None)

    def subject(self, arm: Arm, case: Case, number: int) -> measuring.Subject:
        feed = "" if is_own(case.backend) else self.feed(case.workload, case.data, case.batch)
        proof = self.proof(arm, case)
        protocol = self.comparison.protocol
        if case.backend == "control":
            protocol = replace(protocol, warm_up_seconds=min(protocol.warm_up_seconds, CONTROL_WARM_UP))
        return measuring.Subject(protocol, case, feed, proof, self.origin(arm, case, number), 0.0, False)

    def origin(self, arm: Arm, case: Case, number: int) -> Origin:
        machine = self.comparison.machine.digest
        own = is_own(case.backend)
        digest = programs.digest(Path(arm.root, case.backend)) if own else workloads.get(case.work).digest
        return Origin(digest, machine, arm.versions_of(case.backend), self.comparison.commit, number, runs.now())

    def feed(self, name: str, data: str, batch: int) -> str:
        """The file of a case's batches, drawn when first wanted: the same for both arms."""
        workload = workloads.get(name)
        path = feeds.file(self.folder / "cache" / "feeds", workload, data, batch)
        many = self.comparison.protocol.feed
        if not path.exists():
            try:
                feeds.write(path, workload, data=data, size=batch, count=many, seed=self.comparison.seed)
            except MemoryError:
                raise WorkerFailed(Failed("oom", f"the batches of {batch} samples do not fit into memory")) from None
        return str(path)

    def log(self, what: str, arm: Arm, case: Case) -> Path:
        return self.folder / "logs" / f"{what}-{arm.name}-{case.worker_file}.log"

    def start(self, arm: Arm, case: Case, log: Path) -> Process:
        """A worker of the arm, told what to open: its answer `Opened` is still to come."""
        worker = Process(log, launch_of(arm, case))
        self.alive.append(worker)
        cache = (self.folder / "cache" / f"{arm.name}-{case.worker_file}").absolute()
        cache.mkdir(parents=True, exist_ok=True)
        settings = proofs.subject_of(case, (), self.comparison.seed).settings(str(cache))
        worker.send(measuring.opening(case.backend, settings, arm.root, arm.elsewhere))
        return worker

    def open(self, arm: Arm, case: Case, log: Path, until: float) -> Process:
        """An open worker of the arm; `WorkerFailed` where it cannot be."""
        worker = self.start(arm, case, log)
        try:
            worker.wait_for(Opened, until)
        except WorkerFailed:
            self.kill(worker)
            raise
        return worker

    def end(self, worker: Process) -> None:
        worker.close()
        self.alive.remove(worker)

    def kill(self, worker: Process) -> None:
        worker.kill()
        if worker in self.alive:
            self.alive.remove(worker)

    def close(self) -> None:
        for worker in self.alive:
            worker.kill()
        self.ledger.close()


def case_of(arm: Arm, pairing: Pairing) -> Case:
    return pairing.base if arm.name == "base" else pairing.candidate


def launch_of(arm: Arm, case: Case) -> Launch:
    """How a worker of the case is started. The control's finds the same Stepwatch in both arms.

    It tells whether the machine and the interpreters treat both alike. Another clock, which PYTHONPATH may bring, is
    what is compared: were it in the control, the slower it is the surer every FAIL would be taken back.
    """
    if case.backend != "control":
        return arm.launch
    kept = {name: value for name, value in arm.launch.environment.items() if name != "PYTHONPATH"}
    return replace(arm.launch, environment=kept)
