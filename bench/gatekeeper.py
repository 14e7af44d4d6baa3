"""Measures a comparison: the proofs and pilots of both arms, then pairs of fresh processes in two stages."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic

from bench import backends, gate, measuring, proofs, stages
from bench.arms import Arm
from bench.docket import Docket, case_of
from bench.evidence import Evidence
from bench.messages import Failed
from bench.pairer import Pairer
from bench.pairs import ArmPilot, ArmProof, Comparison, Lost, Pairing, cells
from bench.patience import Patience
from bench.process import Process, WorkerFailed
from bench.progress import Watch
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

    def execute(self) -> None:
        """Measures what is missing; whatever happens, no worker outlives this call."""
        comparison, arms = self.comparison, self.docket.arms
        proofs_ = [(arm, group) for arm in arms for group in self._proved_together(arm)]
        pilots = [(arm, pairing) for pairing in comparison.cells for arm in arms]
        first = stages.turns(comparison, comparison.cells, 1)
        expected = EXPECTED["proof"] * len(proofs_) + EXPECTED["pilot"] * len(pilots) + sum(t.expected for t in first)
        self.watch = Watch(expected, len(proofs_) + len(pilots) + len(first))
        try:
            for arm, group in proofs_:
                self._work(f"{label(group[0])} {arm.name} proof", EXPECTED["proof"], partial(self._prove, arm, group))
            for arm, pairing in pilots:
                case = pairing.candidate
                name = f"{label(pairing)} {case.phase} {case.measure} {case.batch} {arm.name} pilot"
                self._work(name, EXPECTED["pilot"], partial(self.pilot, arm, pairing))
            self._stage(first)
            if suspects := self.suspects():
                second = stages.turns(comparison, (*suspects, comparison.control), 2)
                self.watch.extend(sum(turn.expected for turn in second), len(second))
                self._stage(second)
            shutil.rmtree(self.docket.folder / "cache", ignore_errors=True)
        finally:
            self.watch.close()
            self.docket.close()

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

    def _work(self, name: str, expected: float, do: Callable[[], None]) -> None:
        before = len(self.docket.records)
        self.watch.begin(name, expected)
        do()
        made = self.docket.records[before:]
        lost = {f"{r.arm} arm: {r.status}: {r.reason}" for r in made if isinstance(r, Lost)}
        self.watch.end("; ".join(sorted(lost)))

    def _stage(self, turns: list[Turn]) -> None:
        for turn in turns:
            self._work(str(turn), turn.expected, partial(self.pairer.take, turn))

    def _prove(self, arm: Arm, group: Group) -> None:
        ours = [case_of(arm, pairing) for pairing in group]
        case, docket = ours[0], self.docket
        if docket.proof(arm, case):
            return
        feeds = tuple(sorted({(one.data, one.batch) for one in ours}))
        subject = proofs.subject_of(case, feeds, self.comparison.seed)
        path = proofs.path_of(subject, self.comparison.machine, arm.versions_of(case.backend), arm.launch)
        log, cached = docket.log("proof", arm, case), proofs.cached(path)
        try:
            if not cached:
                files = {f"{data}/{batch}": docket.feed(data, batch) for data, batch in feeds}
                deadline = self.comparison.deadline
                proofs.Making(subject, path, files, log=log, deadline=deadline, launch=arm.launch).finish()
        except WorkerFailed as error:
            for pairing in group:
                docket.lose(pairing, arm, error.failed, log)
            return
        found = proofs.load(path)
        verdict = proofs.judge(subject, found, self.evidence.get(case.workload))
        if verdict.broken or verdict.broken_feeds:
            path.unlink()  # only a proof that held is kept
        if not verdict.broken:
            self.evidence.setdefault(case.workload, found)
        errors = verdict.parity_fp64, verdict.parity_error, verdict.broken, verdict.first_losses
        origin = docket.origin(arm, case, PILOT_ROUND)
        docket.append(ArmProof(arm.name, Proof(case.worker, origin, *errors, cached, verdict.broken_feeds)))
        for pairing in group if verdict.broken else ():
            docket.lose(pairing, arm, Failed("parity_failed", verdict.broken), log)

    def pilot(self, arm: Arm, pairing: Pairing) -> None:
        """One case alone in a fresh process of one arm: what both arms will do, and how silent this one is."""
        docket = self.docket
        if docket.lost(pairing) or docket.pilot(arm, pairing):
            return
        self.patience.wait()
        case, until = case_of(arm, pairing), monotonic() + self.comparison.deadline
        log = docket.log(f"pilot-{case.phase}-{case.measure}-{case.batch}", arm, case)
        worker: Process | None = None
        try:
            worker = docket.open(arm, case, log, until)
            found = measuring.pilot(worker, docket.subject(arm, case, PILOT_ROUND), until)
            docket.append(ArmPilot(arm.name, found))
            docket.end(worker)
        except WorkerFailed as error:
            docket.lose(pairing, arm, error.failed, log)
            if worker:
                docket.kill(worker)
