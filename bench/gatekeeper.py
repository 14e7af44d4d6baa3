"""Measures a comparison: the proofs and pilots of both arms, then pairs of fresh processes in two stages."""

import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import monotonic

from bench import backends, gate, measuring, proofs, stages
from bench.arms import Arm
from bench.docket import Docket, case_of
from bench.evidence import Evidence
from bench.messages import Failed, Opened
from bench.pairer import Pairer
from bench.pairs import ArmPilot, ArmProof, Comparison, Lost, Pairing, cells
from bench.patience import Patience
from bench.process import Process, WorkerFailed
from bench.progress import Watch
from bench.prover import LEAST
from bench.records import PILOT_ROUND, Proof
from bench.stages import EXPECTED, Group, Turn, label


class Gatekeeper:
    """One gate's folder at work. `patience`: seconds in all that it may wait for a busy machine to fall quiet."""

    def __init__(self, comparison: Comparison, folder: Path, *, patience: float) -> None:
        self.comparison = comparison
        self.docket = Docket(comparison, folder)
        self.patience = Patience(patience)
        self.pairer = Pairer(self.docket, self.patience)
        self.evidence: dict[str, Evidence] = {}
        self.making: dict[Path, proofs.Making | WorkerFailed] = {}

    def execute(self) -> None:
        """Measures what is missing; whatever happens, no worker outlives this call."""
        comparison, arms = self.comparison, self.docket.arms
        proofs_ = [(arm, group) for arm in arms for group in self._proved_together(arm)]
        pilots = comparison.cells
        first = stages.turns(comparison, comparison.cells, 1)
        expected = EXPECTED["proof"] * len(proofs_) + EXPECTED["pilot"] * len(pilots) + sum(t.expected for t in first)
        self.watch = Watch(expected, len(proofs_) + len(pilots) + len(first))
        try:
            self._recall()
            there = [self._proved(arm, group) for arm, group in proofs_]
            there += [self.docket.piloted(pairing) for pairing in pilots]
            there += [self._finished(turn) for turn in first]
            self.watch.there(sum(there), len(there))
            for place, (arm, group) in enumerate(proofs_):
                self._begin(proofs_[place : place + LEAST])
                name = f"{label(group[0])} {arm.name} proof"
                self._work(name, EXPECTED["proof"], partial(self._prove, arm, group), self._proved(arm, group))
            for pairing in pilots:
                if pairing == comparison.control and self._hopeless():
                    continue
                case = pairing.candidate
                name = f"{label(pairing)} {case.phase} {case.measure} {case.batch} pilots"
                self._work(name, EXPECTED["pilot"], partial(self.pilot, pairing), self.docket.piloted(pairing))
            self._stage(first)
            if suspects := self.suspects():
                second = stages.turns(comparison, (*suspects, comparison.control), 2)
                self.watch.extend(sum(turn.expected for turn in second), len(second))
                self.watch.there(sum(map(self._finished, second)), len(second), " of stage 2")
                self._stage(second)
            shutil.rmtree(self.docket.folder / "cache", ignore_errors=True)
        finally:
            self.watch.close()
            for making in self.making.values():
                if isinstance(making, proofs.Making):
                    making.abandon()
            self.docket.close()

    def _hopeless(self) -> bool:
        """Whether no cell is left that could have a verdict, so that the control has nothing to guard."""
        return all(map(self.docket.lost, self.comparison.pairings))

    def _recall(self) -> None:
        """What a stored run says of its cases, put on record as the base's."""
        docket = self.docket
        for pairing in self.comparison.cells if docket.baseline else ():
            for record in docket.baseline.known(pairing.base) if docket.baseline else ():
                if record not in docket.records:
                    docket.append(record)

    def _proved_together(self, arm: Arm) -> list[Group]:
        """The cells by the arm's own worker: two candidates may share a base."""
        found: dict[tuple[str, ...], list[Pairing]] = {}
        for pairing in self.comparison.pairings:
            if backends.get(pairing.base.backend).packages:
                found.setdefault(case_of(arm, pairing).worker, []).append(pairing)
        return [tuple(group) for group in found.values()]

    def suspects(self) -> list[Pairing]:
        """The cells that the first stage asks to see again."""
        found, _ = cells(self.comparison, self.docket.records)
        return [p for p, cell in zip(self.comparison.pairings, found, strict=True) if gate.suspicious(cell)]

    def _work(self, name: str, expected: float, do: Callable[[], None], there: bool) -> None:
        if there:  # takes no time, and says nothing of how long the others will
            do()
            self.watch.skip(expected)
            return
        before = len(self.docket.records)
        self.watch.begin(name, expected)
        do()
        made = self.docket.records[before:]
        lost = {f"{r.arm} arm: {r.status}: {r.reason}" for r in made if isinstance(r, Lost)}
        self.watch.end("; ".join(sorted(lost)))

    def _stage(self, turns: list[Turn]) -> None:
        for turn in turns:
            if self._hopeless():
                return
            self._work(str(turn), turn.expected, partial(self.pairer.take, turn), self._finished(turn))

    def _finished(self, turn: Turn) -> bool:
        return all(self.docket.finished(pairing, turn.stage, turn.number) for pairing in turn.group)

    def _subject(self, arm: Arm, group: Group) -> tuple[proofs.Subject, Path]:
        """What is to be proved, and where its evidence is kept: two arms alike share it."""
        ours = [case_of(arm, pairing) for pairing in group]
        feeds = tuple(sorted({(one.data, one.batch) for one in ours}))
        subject = proofs.subject_of(ours[0], feeds, self.comparison.seed)
        versions = arm.versions_of(ours[0].backend)
        return subject, proofs.path_of(subject, self.comparison.machine, versions, arm.launch)

    def _begin(self, coming: Iterable[tuple[Arm, Group]]) -> None:
        """Starts those of the next proofs that are neither there nor begun: none is timed."""
        docket, deadline = self.docket, self.comparison.deadline
        for arm, group in coming:
            case, (subject, path) = case_of(arm, group[0]), self._subject(arm, group)
            if self._proved(arm, group) or path in self.making or proofs.cached(path):
                continue
            try:
                files = {f"{data}/{batch}": docket.feed(subject.workload, data, batch) for data, batch in subject.feeds}
                log = docket.log("proof", arm, case)
                self.making[path] = proofs.Making(subject, path, files, log=log, deadline=deadline, launch=arm.launch)
            except WorkerFailed as error:  # the batches do not fit; said when the proof's turn comes
                self.making[path] = error

    def _proved(self, arm: Arm, group: Group) -> bool:
        """Whether its proof is on record, and the evidence that others are held against is there too."""
        proof = self.docket.proof(arm, case_of(arm, group[0]))
        stored = self.docket.baseline is not None and arm.name == "base"  # of which no evidence was kept
        return proof is not None and (stored or bool(proof.broken) or proofs.cached(self._subject(arm, group)[1]))

    def _prove(self, arm: Arm, group: Group) -> None:
        case, docket = case_of(arm, group[0]), self.docket
        if self._proved(arm, group):
            path, proof = self._subject(arm, group)[1], docket.proof(arm, case)
            if proof and not proof.broken and proofs.cached(path):
                self.evidence.setdefault(case.work, proofs.load(path))
            return
        subject, path = self._subject(arm, group)
        log, making = docket.log("proof", arm, case), self.making.pop(path, None)
        try:
            if isinstance(making, WorkerFailed):
                raise making
            if making:
                making.finish()
        except WorkerFailed as error:
            for pairing in group:
                docket.lose(pairing, arm, error.failed, log)
            return
        found = proofs.load(path)
        verdict = proofs.judge(subject, found, self.evidence.get(case.work))
        if verdict.broken or verdict.broken_feeds:
            path.unlink()  # only a proof that held is kept
        if not verdict.broken:
            self.evidence[case.work] = proofs.trusted(found, verdict) | self.evidence.get(case.work, {})
        errors = verdict.parity_fp64, verdict.parity_error, verdict.broken, verdict.first_losses
        origin = docket.origin(arm, case, PILOT_ROUND)
        docket.append(ArmProof(arm.name, Proof(case.worker, origin, *errors, making is None, verdict.broken_feeds)))
        for pairing in group if verdict.broken else ():
            docket.lose(pairing, arm, Failed("parity_failed", verdict.broken), log)

    def pilot(self, pairing: Pairing) -> None:
        """One case alone in a fresh process of each arm: what both arms will do, and how silent each of them is."""
        docket, case = self.docket, pairing.candidate
        missing = [arm for arm in docket.arms if not docket.pilot(arm, pairing)]
        if docket.lost(pairing) or not missing:
            return
        self.patience.wait()
        what = f"pilot-{case.phase}-{case.measure}-{case.batch}"
        logs = {arm.name: docket.log(what, arm, case_of(arm, pairing)) for arm in missing}
        # Importing keeps one core busy; but on a GPU the second process would hold memory beside the first.
        for together in [missing] if case.device == "cpu" else [[arm] for arm in missing]:
            until, arm = monotonic() + self.comparison.deadline, together[0]
            workers: list[Process] = []
            try:
                workers += [docket.start(arm, case_of(arm, pairing), logs[arm.name]) for arm in together]
                for arm, worker in zip(together, workers, strict=True):  # noqa: B007 - it names whose failure it was
                    worker.wait_for(Opened, until)
                for arm, worker in zip(together, workers, strict=True):
                    subject = docket.subject(arm, case_of(arm, pairing), PILOT_ROUND)
                    found = measuring.pilot(worker, subject, monotonic() + self.comparison.deadline)
                    docket.append(ArmPilot(arm.name, found))
                    docket.end(worker)
            except WorkerFailed as error:
                docket.lose(pairing, arm, error.failed, logs[arm.name])
                for worker in workers:
                    docket.kill(worker)
                return
