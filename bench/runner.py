"""Runs a plan: proofs, pilots, then rounds of fresh processes. Appends records; computes nothing from them."""

import shutil
from pathlib import Path
from time import monotonic

from msgspec.structs import replace

from bench import backends, compile_cache, feeds, measuring, proofs, schedule, search, workloads
from bench.backends import is_own
from bench.case import Case
from bench.messages import Failed, Measure, Measured
from bench.patience import Patience
from bench.process import WorkerFailed
from bench.progress import Watch
from bench.prover import Prover, at_once
from bench.records import (
    PILOT_ROUND,
    Ceiling,
    Failure,
    Key,
    Ledger,
    Origin,
    Pilot,
    Proof,
    Record,
    Sample,
    drop_torn_line,
    failed,
    key,
    latest,
    read,
)
from bench.run import Run, now
from bench.schedule import Work
from bench.starts import Place, Started, Starts
from bench.tally import Tally


def recorded(path: Path, *, retry: bool) -> dict[Key, Record]:
    """The records that hold; without those of failures where they are to be made again."""
    found, _ = read(path)
    kept = latest(found)
    again = {name: record for name, record in kept.items() if retry and failed(record)}
    # A proof that was made without a batch that did not fit is to be made again, with it.
    lacking = {r.case.worker for r in again.values() if isinstance(r, Failure) and r.reason == search.PROOF_DID_NOT_FIT}
    return {name: record for name, record in kept.items() if name not in again and name not in lacking}


class Runner:
    """One run folder at work. `patience`: seconds in all that it may wait for a busy machine to fall quiet."""

    def __init__(self, run: Run, folder: Path, *, retry: bool = False, patience: float = 0.0) -> None:
        self.run, self.folder = run, folder
        path = folder / "results.jsonl"
        _, self.torn = read(path)
        if self.torn:
            drop_torn_line(path)
        self.records = recorded(path, retry=retry)
        self.ledger = Ledger(path)
        self.log = folder / "logs"
        self.prover = Prover(run, self.log, self.records, self._feed)
        self.patience = Patience(patience)
        self.starts = Starts(run.deadline)
        self.started: Started | None = None
        self.tally = Tally()

    def execute(self) -> None:
        """Makes every record that is not there yet. Whatever happens, no worker outlives this call."""
        todo = [(work, left) for work in schedule.works(self.run) if (left := self._left(work))]
        watch = Watch(sum(work.expected for work, _ in todo), len(todo))
        try:
            for place, (work, _) in enumerate(todo):
                ahead = todo[place : place + at_once(self.run.machine.cores)]
                coming = [self._left(next_) for next_, _ in ahead if next_.kind == "proof"]
                self.prover.begin(filter(None, coming))
                left = self._left(work)  # a failed proof or pilot has meanwhile taken its cases out
                if work.kind == "pilot" and not left and search.why_not(self.run, work.cases[0], self.records):
                    watch.skip(work.expected)
                    continue
                watch.begin(_label(work), work.expected)
                following = todo[place + 1][0] if place + 1 < len(todo) else None
                watch.end(self._do(work, left, following) if left else "not needed")
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        except KeyboardInterrupt:
            self._conclude()
            raise
        else:
            self._conclude()
        finally:
            watch.close()
            self.prover.abandon()
            self.starts.abandon()
            if self.started:
                self.started.process.kill()
            self.ledger.close()

    def _conclude(self) -> None:
        if self.tally.worked:
            self._append(self.tally.session(self.patience.waited))

    def _left(self, work: Work) -> list[Case]:
        return schedule.left(self.run, work, self.records)

    def _do(self, work: Work, cases: list[Case], following: Work | None) -> str:
        before = set(self.records)
        if work.kind != "proof":
            self.patience.wait()
        with self.tally.during(work.kind):
            match work.kind:
                case "proof":
                    self._prove(cases)
                case "ceiling":
                    self._ceiling(work, following)
                case _:
                    self._measure(work, cases, following)
        made = [self.records[name] for name in self.records.keys() - before]
        return "; ".join(
            sorted({f"{record.status}: {record.reason}" for record in made if isinstance(record, Failure)})
        )

    def _prove(self, cases: list[Case]) -> None:
        case = cases[0]
        try:
            verdict, cached = self.prover.finish(cases)
        except WorkerFailed as error:
            failed, smaller = error.failed, list[Case]()
            if failed.status == "oom":
                failed, smaller = Failed("oom", search.PROOF_DID_NOT_FIT), search.without_largest(cases)
            for case in cases:
                if case not in smaller:
                    self._fail(case, PILOT_ROUND, failed, self.prover.log(case))
            if smaller:  # one batch that does not fit must not take the others with it
                self.prover.begin([smaller])
                self._prove(smaller)
            return
        proof = Proof(
            worker=case.worker,
            origin=self._origin(case, PILOT_ROUND),
            parity_fp64=verdict.parity_fp64,
            parity_error=verdict.parity_error,
            broken=verdict.broken,
            first_losses=verdict.first_losses,
            cached=cached,
            broken_feeds=verdict.broken_feeds,
        )
        self._append(proof)
        if verdict.broken:
            for case in cases:
                self._fail(case, PILOT_ROUND, Failed("parity_failed", verdict.broken), Path())

    def _ceiling(self, work: Work, following: Work | None) -> None:
        """A backend whose ceilings cannot be measured has none; its cases are measured all the same."""
        case = work.cases[0]
        reason, found = "", None
        try:
            self._open(work, case, following)
            assert self.started
            found = self.started.process.expect(Measure(), Measured, monotonic() + self.run.deadline)
        except WorkerFailed as error:
            reason = f"{error.failed.status}: {error.failed.reason}"
        self._end()
        axes = case.backend, case.mode, case.precision, case.device, case.threads
        origin = self._origin(case, PILOT_ROUND)
        if found is None:
            self._append(Ceiling(*axes, origin, (), (), reason))
        else:
            rates = found.flops_per_second, found.bytes_per_second
            self._append(Ceiling(*axes, origin, *rates, cores=found.cores, others_cores=found.others_cores))

    def _measure(self, work: Work, cases: list[Case], following: Work | None) -> None:
        """The cases one after another in one process, and in a fresh one after a case that failed in it."""
        number = work.round
        for case in cases:
            until = monotonic() + self.run.deadline  # for opening its process too
            try:
                start = 0.0
                if self.started is None:
                    start = self._open(work, case, following)
                assert self.started
                worker = self.started.process
                feed, proof, origin = (
                    self._feed_of(case),
                    self.prover.foretelling(case),
                    self._origin(case, number),
                )
                cold = not compile_cache.holds(self.folder, case)
                subject = measuring.Subject(self.run.suite.protocol, case, feed, proof, origin, start, cold)
                if work.kind == "pilot":
                    record: Pilot | Sample = measuring.pilot(worker, subject, until, energy=True)
                else:
                    chosen = self.records[(case, PILOT_ROUND)]
                    assert isinstance(chosen, Pilot)
                    record = measuring.sample(worker, subject, chosen, until)
            except WorkerFailed as error:
                self._fail(case, number, error.failed, self._log(work, case))
                self._end()  # whatever a failed case left behind must not touch the next one
            else:
                self._append(record)
                self.patience.note(record.sensed.readings)
                if work.kind == "round":
                    compile_cache.mark(self.folder, case)
                    self.tally.add(record.stages)
        self._end()

    def _open(self, work: Work, case: Case, following: Work | None) -> float:
        """Opens the case's worker, and beside it that of the work to follow; seconds that its start took."""
        ahead = None
        if following and schedule.together(work, following) and (left := self._left(following)):
            ahead = self._place(following, left[0])
        self.started = self.starts.open(self._place(work, case), ahead)
        opened = ahead is not None and self.starts.waits(ahead.log)  # not where this one itself was opened before
        if opened and following and work.kind != following.kind == "round":
            self.tally.add({f"{work.kind}s": -self.started.seconds})  # its half is counted with its own round
        return self.started.seconds

    def _place(self, work: Work, case: Case) -> Place:
        settings = proofs.subject_of(case, (), self.run.suite.seed).settings("")
        log = self._log(work, case)
        if work.kind == "ceiling":
            cache = (self.folder / "cache" / log.stem).absolute()
            cache.mkdir(parents=True, exist_ok=True)
            return Place(log, case.backend, replace(settings, layout="flat", cache=str(cache)))
        if work.kind == "pilot":
            cache = compile_cache.of_pilot(self.folder, case)
            if not self.starts.waits(log):
                shutil.rmtree(cache, ignore_errors=True)  # what an interrupted pilot has left is not cold
        else:
            cache = compile_cache.of_rounds(self.folder, case)
            for one in work.cases:
                if isinstance(self.records.get((one, PILOT_ROUND)), Pilot):
                    compile_cache.inherit(self.folder, one)
        cache.mkdir(parents=True, exist_ok=True)
        there = work.kind == "round" and all(compile_cache.holds(self.folder, one) for one in work.cases)
        return Place(log, case.backend, replace(settings, cache=str(cache), compiled=there))

    def _log(self, work: Work, case: Case) -> Path:
        name = f"pilot-{case.file}"
        if work.kind == "ceiling":
            name = f"ceiling-{'-'.join(map(str, schedule.ceiling_key(case)[1:]))}"
        if work.kind == "round":
            name = f"round{work.round}-{case.worker_file}"
        return self.log / f"{name}.log"

    def _feed_of(self, case: Case) -> str:
        if is_own(case.backend):
            return ""
        return self._feed(case.workload, case.data, case.batch)

    def _feed(self, name: str, data: str, batch: int) -> str:
        """The file of a case's batches, drawn when first wanted."""
        workload, count = workloads.get(name), self.run.suite.protocol.feed
        path = feeds.file(self.folder / "cache" / "feeds", workload, data, batch)
        if not path.exists():
            try:
                feeds.write(path, workload, data=data, size=batch, count=count, seed=self.run.suite.seed)
            except MemoryError:
                raise WorkerFailed(Failed("oom", f"the batches of {batch} samples do not fit into memory")) from None
        return str(path)

    def _fail(self, case: Case, number: int, failed: Failed, log: Path) -> None:
        where = str(log.relative_to(self.folder)) if log.name else ""
        self._append(Failure(case, self._origin(case, number), failed.status, failed.reason, where))

    def _append(self, record: Record) -> None:
        self.ledger.append(record)
        self.records[key(record)] = record

    def _origin(self, case: Case, number: int) -> Origin:
        return Origin(
            digest=self._digest(case),
            machine=self.run.machine.digest,
            versions=backends.get(case.backend).versions(),
            commit=self.run.commit,
            round=number,
            started=now(),
        )

    def _digest(self, case: Case) -> str:
        """The workload's; of a file of the user's own, what it was when the run was planned."""
        own = {program.path: program.digest for program in self.run.programs}
        return own[case.backend] if case.backend in own else workloads.get(case.work).digest

    def _end(self) -> None:
        if self.started:
            self.started.process.close()
        self.started = None


def _label(work: Work) -> str:
    case = work.cases[0]
    if work.kind == "ceiling":
        return f"{case.backend} {case.mode} ceilings"
    name = " ".join((case.workload, case.backend, case.mode, *((case.layout,) if case.layout != "flat" else ())))
    pilot = f" {case.phase} {case.measure} {case.batch}" if work.kind == "pilot" else ""
    return name + (f" round {work.round + 1}" if work.kind == "round" else f" {work.kind}{pilot}")
