"""The proofs of a run: begun ahead of their turn, since none is timed, and judged in the suite's order."""

from collections.abc import Callable, Iterable
from pathlib import Path

from bench import proofs, schedule, search
from bench.backend import PHASES
from bench.backends import is_own
from bench.case import Case
from bench.evidence import Evidence
from bench.messages import Failed
from bench.process import WorkerFailed
from bench.records import Key, Proof, Record
from bench.run import Run

LEAST, MOST = 2, 4  # proofs side by side: each keeps one core busy most of the time, and shares a GPU's memory


def at_once(cores: int) -> int:
    """How many proofs are made side by side: one for every four cores, within bounds."""
    return max(LEAST, min(MOST, cores // 4))


class Prover:
    """`records` are the run's, as they grow; `feed` gives the file of a data set's batches of one size."""

    def __init__(self, run: Run, logs: Path, records: dict[Key, Record], feed: Callable[[str, str, int], str]) -> None:
        self.run, self.logs, self.records, self.feed = run, logs, records, feed
        self.begun: dict[tuple[str, ...], proofs.Making | WorkerFailed] = {}
        self.evidence: dict[str, Evidence] = {}

    def begin(self, coming: Iterable[list[Case]]) -> None:
        """Starts those of the next proofs, each given by its cases, that are neither cached nor begun."""
        for cases in coming:
            subject, worker = self._subject(cases), cases[0].worker
            path = self._path(subject)
            if worker in self.begun or proofs.cached(path):
                continue
            try:
                log, deadline = self.log(cases[0]), self.run.deadline
                feeds = () if is_own(subject.backend) else subject.feeds
                files = {f"{data}/{batch}": self.feed(subject.workload, data, batch) for data, batch in feeds}
                self.begun[worker] = proofs.Making(subject, path, files, log=log, deadline=deadline)
            except WorkerFailed as error:  # the batches do not fit; said when the proof's turn comes
                self.begun[worker] = error

    def finish(self, cases: list[Case]) -> tuple[proofs.Verdict, bool]:
        """The verdict on one worker's proof, and whether it was cached; `WorkerFailed` where it cannot be made."""
        subject = self._subject(cases)
        making = self.begun.pop(cases[0].worker, None)
        if isinstance(making, WorkerFailed):
            raise making
        path = making.path if making else self._path(subject)
        if making:
            self._finish(making, cases)
        found = proofs.load(path)
        reference = self._reference(cases[0])
        own = is_own(subject.backend)
        if own and reference is None and self._others_held(cases[0]):
            gone = "the evidence that it is to be held against is gone from the run folder; start a new run"
            raise WorkerFailed(Failed("error", gone))
        verdict = proofs.judge_own(found, reference) if own else proofs.judge(subject, found, reference)
        if verdict.broken or verdict.broken_feeds:
            path.unlink()  # only a proof that held is kept
        if not verdict.broken:
            # The first that held; of batches that it has not, or got wrong, the next one's first losses.
            self.evidence[cases[0].work] = proofs.trusted(found, verdict) | self.evidence.get(cases[0].work, {})
        return verdict, making is None

    def _finish(self, making: proofs.Making, cases: list[Case]) -> None:
        """Waits for it. One that did not fit beside others is made once more, alone: they are begun again later."""
        try:
            making.finish()
        except WorkerFailed as error:
            if error.failed.status != "oom" or not self.begun:
                raise
            self.abandon()
            self.begin([cases])
            again = self.begun.pop(cases[0].worker, None)  # none where another run has made it meanwhile
            if isinstance(again, WorkerFailed):
                raise again from None
            if again:
                again.finish()

    def abandon(self) -> None:
        """Ends what is begun and not finished."""
        for making in self.begun.values():
            if isinstance(making, proofs.Making):
                making.abandon()
        self.begun.clear()

    def log(self, case: Case) -> Path:
        return self.logs / f"proof-{case.worker_file}.log"

    def of(self, case: Case) -> Proof | None:
        """The proof of the case's worker; the null backend has none."""
        proof = self.records.get(case.worker)
        return proof if isinstance(proof, Proof) else None

    def foretelling(self, case: Case) -> Proof | None:
        """The proof, where it says what the first losses of the case's own batches are."""
        return self.of(case) if search.foretold(self.run, case) else None

    def _reference(self, case: Case) -> Evidence | None:
        """Another backend's evidence of the same workload: this session's, or that of a proof made before a resume."""
        for group in schedule.groups(p.case for p in self.run.planned):
            proof = self.of(group[0])
            if case.work in self.evidence:
                break
            if group[0].work == case.work and proof and not proof.broken:
                # As it was made: without a batch that did not fit.
                held = [c for c in group if f"{c.phase}/{c.data}/{c.batch}" in proof.first_losses] or group
                path = self._path(self._subject(held))
                if path.exists():
                    self.evidence[case.work] = proofs.load(path)
        return self.evidence.get(case.work)

    def _others_held(self, case: Case) -> bool:
        """Whether another program's proof is on record, so that this one cannot be the first."""
        others = (r for r in self.records.values() if isinstance(r, Proof) and r.worker != case.worker)
        return any(proof.worker[0] == case.workload and not proof.broken for proof in others)

    def _path(self, subject: proofs.Subject) -> Path:
        """Where its evidence is: with the run where it is a user's own file, which may import others that change."""
        if is_own(subject.backend):
            name = subject.backend.replace("/", "_")
            return self.logs.parent / "proofs" / f"{name}.npz"
        return proofs.path_of(subject, self.run.machine)

    def _subject(self, group: list[Case]) -> proofs.Subject:
        foretold = [case for case in group if search.foretold(self.run, case)]
        feeds = tuple(sorted({(case.data, case.batch) for case in foretold}))
        # Inference fed by a loader is held against training's losses too: it makes none itself.
        wanted = {case.phase for case in foretold} | {"train" for case in foretold if case.input == "host"}
        phases = tuple(phase for phase in PHASES if phase in wanted)
        return proofs.subject_of(group[0], feeds, self.run.suite.seed, phases)
