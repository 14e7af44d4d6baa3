"""Runs a plan: proofs, pilots, then rounds of fresh processes. Appends records; computes nothing from them."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

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
    Key,
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
from bench.schedule import Work

PROOFS_AT_ONCE = 2  # most of a proof is importing and compiling on one core


def recorded(path: Path, *, retry: bool) -> dict[Key, Record]:
    """The records that hold; without those of failures where they are to be made again."""
    found, _ = read(path)
    return {key: record for key, record in latest(found).items() if not (retry and _failed(record))}


class Runner:
    """One run folder at work."""

    def __init__(self, run: Run, folder: Path, *, retry: bool = False) -> None:
        self.run, self.folder = run, folder
        path = folder / "results.jsonl"
        _, self.torn = read(path)
        if self.torn:
            drop_torn_line(path)
        self.records = recorded(path, retry=retry)
        self.ledger = Ledger(path)
        self.evidence: dict[str, Evidence] = {}
        self.log = folder / "logs"
        self.proving: dict[tuple[str, ...], proofs.Making | WorkerFailed] = {}

    def execute(self) -> None:
        """Makes every record that is not there yet. Whatever happens, no worker outlives this call."""
        todo = [(work, left) for work in schedule.works(self.run) if (left := self._left(work))]
        watch = Watch(sum(work.expected for work, _ in todo), len(todo))
        self.process: Process | None = None
        try:
            for place, (work, _) in enumerate(todo):
                self._begin_proofs([work for work, _ in todo[place : place + PROOFS_AT_ONCE] if work.kind == "proof"])
                left = self._left(work)  # a failed proof or pilot has meanwhile taken its cases out
                watch.begin(self._label(work, left), work.expected)
                outcome = self._do(work, left) if left else "not needed"
                watch.end(outcome)
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        finally:
            watch.close()
            for making in self.proving.values():
                if isinstance(making, proofs.Making):
                    making.abandon()
            if self.process:
                self.process.kill()
            self.ledger.close()

    def _left(self, work: Work) -> list[Case]:
        return schedule.left(self.run, work, self.records)

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

    def _begin_proofs(self, coming: list[Work]) -> None:
        """Starts the proofs among the next processes that are neither cached nor begun."""
        for work in coming:
            cases = self._left(work)
            subject = self._subject(cases) if cases else None
            if subject is None or work.cases[0].worker in self.proving:
                continue
            path = proofs.path_of(subject, self.run.machine)
            if not path.exists():
                log = self._proof_log(cases[0])
                try:
                    files = {f"{data}/{batch}": self._feed(data, batch) for data, batch in subject.feeds}
                    begun: proofs.Making | WorkerFailed = proofs.Making(
                        subject, path, files, log=log, deadline=self.run.deadline
                    )
                except WorkerFailed as error:  # the batches do not fit; said when the proof's turn comes
                    begun = error
                self.proving[cases[0].worker] = begun

    def _proof_log(self, case: Case) -> Path:
        return self.log / f"proof-{'-'.join(case.worker)}.log"

    def _prove(self, cases: list[Case]) -> None:
        case = cases[0]
        subject = self._subject(cases)
        path = proofs.path_of(subject, self.run.machine)
        cached = case.worker not in self.proving
        try:
            if not cached:
                making = self.proving.pop(case.worker)
                if isinstance(making, WorkerFailed):
                    raise making
                making.finish()
        except WorkerFailed as error:
            for case in cases:
                self._fail(case, PILOT_ROUND, error.failed, self._proof_log(case))
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
