"""Runs a plan: proofs, pilots, then rounds of fresh processes. Appends records; computes nothing from them."""

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

from msgspec import Struct

from bench import backends, measuring, proofs, schedule, workloads
from bench.evidence import Evidence
from bench.feeds import write as write_feed
from bench.messages import Failed, Open, Opened
from bench.process import Process, WorkerFailed
from bench.progress import Watch
from bench.records import (
    PILOT_ROUND,
    Case,
    Failure,
    Ledger,
    Origin,
    Pilot,
    Proof,
    Record,
    drop_torn_line,
    latest,
    read,
)
from bench.run import Run, now

# What a process is expected to take, in seconds, before any has been timed: for the time left and for --dry-run.
EXPECTED = {"proof": 6.0, "start": 2.5, "case": 2.5}


class Work(Struct, frozen=True):
    """One process to come: what it is for, its cases, and its round."""

    kind: str
    cases: tuple[Case, ...]
    round: int = PILOT_ROUND

    @property
    def expected(self) -> float:
        if self.kind == "proof":
            return EXPECTED["proof"]
        return EXPECTED["start"] + EXPECTED["case"] * len(self.cases)


def works(run: Run) -> list[Work]:
    """Every process of a run, in order."""
    cases = [p.case for p in run.planned if not p.status]
    proofs_ = [Work("proof", tuple(g)) for g in schedule.groups(cases) if backends.get(g[0].backend).packages]
    pilots = [Work("pilot", (case,)) for case in cases]
    rounds = schedule.rounds(cases, count=run.suite.rounds, seed=run.suite.seed)
    return proofs_ + pilots + [Work("round", tuple(group), n) for n, order in rounds for group in order]


class Runner:
    """One run folder at work."""

    def __init__(self, run: Run, folder: Path, *, retry: bool = False) -> None:
        self.run, self.folder = run, folder
        path = folder / "results.jsonl"
        found, self.torn = read(path)
        if self.torn:
            drop_torn_line(path)
        self.records = latest(found)
        if retry:
            self.records = {key: record for key, record in self.records.items() if not _failed(record)}
        self.ledger = Ledger(path)
        self.evidence: dict[str, Evidence] = {}
        self.log = folder / "logs"

    def execute(self) -> None:
        """Makes every record that is not there yet. Whatever happens, no worker outlives this call."""
        todo = [(work, left) for work in works(self.run) if (left := self._left(work))]
        watch = Watch(sum(work.expected for work, _ in todo), len(todo))
        self.process: Process | None = None
        try:
            for work, _ in todo:
                left = self._left(work)  # a failed proof or pilot has meanwhile taken its cases out
                watch.begin(self._label(work, left), work.expected)
                outcome = self._do(work, left) if left else "not needed"
                watch.end(outcome)
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        finally:
            watch.close()
            if self.process:
                self.process.kill()
            self.ledger.close()

    def _left(self, work: Work) -> list[Case]:
        """The cases of a process that still need it."""
        if work.kind == "proof":
            known = work.cases[0].worker in self.records
            return [] if known else [case for case in work.cases if (case, PILOT_ROUND) not in self.records]
        open_cases = [case for case in work.cases if (case, work.round) not in self.records]
        proof = self._proof(work.cases[0])
        if proof and proof.broken:
            return []  # also where a kill fell between the broken proof and its cases' failures
        if work.kind == "pilot":
            return open_cases
        failures = Counter(r.case for r in self.records.values() if isinstance(r, Failure))
        broken = {case for case in open_cases if isinstance(self.records.get((case, PILOT_ROUND)), Failure)}
        # Once most of a case's rounds have failed no number can come of it; the others need not wait for its deadlines.
        return [case for case in open_cases if case not in broken and 2 * failures[case] <= self.run.suite.rounds]

    def _label(self, work: Work, cases: Iterable[Case]) -> str:
        case = work.cases[0]
        what = "pilot" if work.kind == "pilot" else "proof" if work.kind == "proof" else f"round {work.round + 1}"
        name = " ".join((case.workload, case.backend, case.mode, *((case.layout,) if case.layout != "flat" else ())))
        return name + f" {what}" + (f" {case.phase} {case.measure} {case.batch}" if work.kind == "pilot" else "")

    def _do(self, work: Work, cases: list[Case]) -> str:
        before = len([r for r in self.records.values() if isinstance(r, Failure)])
        match work.kind:
            case "proof":
                self._prove(cases)
            case "pilot":
                self._measure(cases, PILOT_ROUND)
            case _:
                self._measure(cases, work.round)
        failed = [r for r in self.records.values() if isinstance(r, Failure)][before:]
        return "; ".join(sorted({f"{r.status}: {r.reason}" for r in failed}))

    def _prove(self, cases: list[Case]) -> None:
        case = cases[0]
        subject = self._subject(cases)
        path = proofs.path_of(subject, self.run.machine)
        cached = path.exists()
        if not cached:
            log = self.log / f"proof-{'-'.join(case.worker)}.log"
            try:
                files = {f"{data}/{batch}": self._feed(data, batch) for data, batch in subject.feeds}
                proofs.make(subject, path, files, log=log, deadline=self.run.deadline)
            except WorkerFailed as error:
                for case in cases:
                    self._fail(case, PILOT_ROUND, error.failed, log)
                return
        found = proofs.load(path)
        verdict = proofs.judge(subject, found, self._reference(case))
        if verdict.broken:
            path.unlink()  # only a proof that held is kept
        else:
            self.evidence.setdefault(case.workload, found)
        self._append(
            Proof(
                case.worker,
                self._origin(case, PILOT_ROUND),
                verdict.parity_fp64,
                verdict.parity_error,
                verdict.broken,
                verdict.first_losses,
                cached,
            )
        )
        if verdict.broken:
            for case in cases:
                self._fail(case, PILOT_ROUND, Failed("parity_failed", verdict.broken), Path())

    def _reference(self, case: Case) -> Evidence | None:
        """Another backend's evidence of the same workload: this session's, or that of a proof made before a resume."""
        for group in schedule.groups(p.case for p in self.run.planned):
            proof = self._proof(group[0])
            if case.workload in self.evidence:
                break
            if group[0].workload == case.workload and proof and not proof.broken:
                path = proofs.path_of(self._subject(group), self.run.machine)
                if path.exists():
                    self.evidence[case.workload] = proofs.load(path)
        return self.evidence.get(case.workload)

    def _subject(self, group: list[Case]) -> proofs.Subject:
        feeds = tuple(sorted({(case.data, case.batch) for case in group}))
        return proofs.subject_of(group[0], feeds, self.run.suite.seed)

    def _measure(self, cases: list[Case], number: int) -> None:
        """The cases one after another in one process, and in a fresh one after a case that failed in it."""
        pilot = number == PILOT_ROUND
        for case in cases:
            until = monotonic() + self.run.deadline
            name = f"pilot-{_file(case)}" if pilot else f"round{number}-{'-'.join(case.worker)}"
            log = self.log / f"{name}.log"
            try:
                if self.process is None:
                    self.process = Process(log)
                    self._open(self.process, case, pilot, until)
                subject = measuring.Subject(
                    self.run, case, self._feed(case.data, case.batch), self._proof(case), self._origin(case, number)
                )
                if pilot:
                    record: Record = measuring.pilot(self.process, subject, until)
                else:
                    chosen = self.records[(case, PILOT_ROUND)]
                    assert isinstance(chosen, Pilot)
                    record = measuring.sample(self.process, subject, chosen, until)
            except WorkerFailed as error:
                self._fail(case, number, error.failed, log)
                self._end()  # whatever a failed case left behind must not touch the next one
            else:
                self._append(record)
        self._end()

    def _open(self, process: Process, case: Case, pilot: bool, until: float) -> None:
        # A pilot's caches are its own, so that its first call is cold; a worker's rounds share theirs.
        cache = (self.folder / "cache" / (f"pilot-{_file(case)}" if pilot else "-".join(case.worker))).absolute()
        cache.mkdir(parents=True, exist_ok=True)
        settings = proofs.subject_of(case, (), self.run.suite.seed).settings(str(cache))
        process.expect(Open(case.backend, settings), Opened, until)

    def _proof(self, case: Case) -> Proof | None:
        """The proof of the case's worker; the null backend has none."""
        proof = self.records.get(case.worker)
        return proof if isinstance(proof, Proof) else None

    def _feed(self, data: str, batch: int) -> str:
        """The file of a case's batches, drawn when first wanted."""
        path = (self.folder / "cache" / "feeds" / f"{data}-{batch}.npz").absolute()
        count = self.run.suite.protocol.feed
        if not path.exists():
            try:
                write_feed(path, data=data, size=batch, count=count, seed=self.run.suite.seed)
            except MemoryError:
                raise WorkerFailed(Failed("oom", f"{count} batches of {batch} images do not fit into memory")) from None
        return str(path)

    def _fail(self, case: Case, number: int, failed: Failed, log: Path) -> None:
        where = str(log.relative_to(self.folder)) if log.name else ""
        self._append(Failure(case, self._origin(case, number), failed.status, failed.reason, where))

    def _append(self, record: Record) -> None:
        self.ledger.append(record)
        self.records |= latest([record])

    def _origin(self, case: Case, number: int) -> Origin:
        return Origin(
            digest=workloads.get(case.workload).digest,
            machine=self.run.machine.digest,
            versions=backends.get(case.backend).versions(),
            commit=self.run.commit,
            round=number,
            started=now(),
        )

    def _end(self) -> None:
        if self.process:
            self.process.close()
        self.process = None


def _failed(record: Record) -> bool:
    return isinstance(record, Failure) or (isinstance(record, Proof) and bool(record.broken))


def _file(case: Case) -> str:
    """A case's part of a file name."""
    return "-".join((*case.worker, case.phase, case.measure, str(case.batch)))
