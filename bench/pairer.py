"""Measures one turn: its cells in a fresh process of each arm, their bursts taking turns or one process at a time."""

from pathlib import Path
from time import monotonic

from bench import ping_pong, sensors
from bench.arms import Arm
from bench.case import Case
from bench.docket import Docket, case_of
from bench.messages import Opened, Warmed
from bench.pairs import Half, Pair, Pairing
from bench.patience import Patience
from bench.ping_pong import ArmFailed, Side
from bench.process import Process, WorkerFailed
from bench.run import now
from bench.sensors import Reading
from bench.stages import Turn


class Pairer:
    """Appends a `Pair` for each cell to the docket, or a `Lost`."""

    def __init__(self, docket: Docket, patience: Patience) -> None:
        self.docket, self.patience = docket, patience

    def take(self, turn: Turn) -> None:
        """What is left of the turn."""
        docket = self.docket
        todo = [p for p in turn.group if not docket.paired(p, turn.stage, turn.number) and not docket.lost(p)]
        if not todo:
            return
        docket.check_files()
        self.patience.wait()
        if todo[0].candidate.device == "gpu" or docket.baseline:
            self.whole(todo, turn)
        else:
            self.alternating(todo, turn)

    def alternating(self, todo: list[Pairing], turn: Turn) -> None:
        """Both arms' processes alive at once; after a cell that failed in them the others get fresh ones."""
        workers: list[Process] = []
        for pairing in todo:
            until = monotonic() + 2 * self.docket.comparison.deadline
            try:
                workers = workers or self._open_both(pairing, turn, until)
                pids = [worker.process.pid for worker in workers]
                base, candidate = sides = self._sides(pairing, workers, turn)
                warm_up, steps = self._steps(pairing)
                warmed = self._warmed(sides, turn, warm_up, until)
                before = sensors.read(pids)
                taken = ping_pong.alternate((base, candidate), steps=steps, first=1 - turn.base_first, until=until)
                readings = before, sensors.read(pids)
                self.patience.note(readings)
                halves = [ping_pong.half(*one) for one in zip(sides, warmed, taken, strict=True)]
                self._append(pairing, turn, halves, readings, alternating=True)
            except (ArmFailed, WorkerFailed) as error:
                # What fails in neither arm's process, batches that do not fit into memory, is the candidate's to tell.
                arm = error.arm if isinstance(error, ArmFailed) else self.docket.arms[1]
                self.docket.lose(pairing, arm, error.failed, self._log(arm, pairing, turn))
                for worker in workers:
                    self.docket.kill(worker)
                workers = []
        for worker in workers:
            self.docket.end(worker)

    def whole(self, todo: list[Pairing], turn: Turn) -> None:
        """One arm's process after the other's: a GPU would be shared between two live ones by rules of its own.

        Of a stored run nothing is measured: its half of the pair is what it holds.
        """
        halves: dict[Case, dict[str, Half]] = {pairing.candidate: {} for pairing in todo}
        before = sensors.read()
        if baseline := self.docket.baseline:
            for pairing in todo:
                if half := baseline.half(pairing.base, turn.stage, turn.number):
                    halves[pairing.candidate]["base"] = half
        for arm in self.docket.arms if turn.base_first else self.docket.arms[::-1]:
            if baseline and arm.name == "base":
                continue
            worker: Process | None = None
            for pairing in todo:
                case, until = case_of(arm, pairing), monotonic() + self.docket.comparison.deadline
                try:
                    worker = worker or self.docket.open(arm, case, self._log(arm, pairing, turn), until)
                    side = self._side(arm, pairing, worker, turn)
                    warm_up, steps = self._steps(pairing)
                    warmed = ping_pong.warm(side, warm_up, until)
                    bursts = ping_pong.alone(side, steps=steps, until=until)
                    self.patience.note(bursts[-1].sensed.readings)
                    halves[pairing.candidate][arm.name] = ping_pong.half(side, warmed, bursts)
                except (ArmFailed, WorkerFailed) as error:
                    self.docket.lose(pairing, arm, error.failed, self._log(arm, pairing, turn))
                    if worker:
                        self.docket.kill(worker)
                    worker = None
            if worker:
                self.docket.end(worker)
        for pairing in todo:
            both = [found for arm in self.docket.arms if (found := halves[pairing.candidate].get(arm.name))]
            if len(both) == len(self.docket.arms):
                self._append(pairing, turn, both, (before, sensors.read()), alternating=False)

    def _append(
        self, pairing: Pairing, turn: Turn, halves: list[Half], readings: tuple[Reading, Reading], *, alternating: bool
    ) -> None:
        base, candidate = halves
        case = pairing.candidate
        calls = 1 if case.measure == "latency" else self._steps(pairing)[1]
        self.docket.append(
            Pair(
                case=case,
                stage=turn.stage,
                number=turn.number,
                base_first=turn.base_first,
                alternating=alternating,
                steps=calls * case.steps_per_call,
                base=base,
                candidate=candidate,
                others_cores=sensors.others(readings) if alternating else _others(halves),
                stolen_cores=sensors.stolen(readings),
                started=now(),
            )
        )

    def _open_both(self, pairing: Pairing, turn: Turn, until: float) -> list[Process]:
        """Both arms' workers, started at once: nothing is timed yet."""
        docket = self.docket
        # What begins is started and warmed up first too, so that no pair's order favours an arm in all of them.
        arms = docket.arms if turn.base_first else docket.arms[::-1]
        opened = [docket.start(a, case_of(a, pairing), self._log(a, pairing, turn)) for a in arms]
        opened = opened if turn.base_first else opened[::-1]
        for arm, worker in zip(docket.arms, opened, strict=True):
            try:
                worker.wait_for(Opened, until)
            except WorkerFailed as error:
                for one in opened:
                    docket.kill(one)
                raise ArmFailed(arm, error.failed) from None
        return opened

    def _warmed(self, sides: tuple[Side, Side], turn: Turn, steps: int, until: float) -> list[Warmed]:
        order = sides if turn.base_first else sides[::-1]
        warmed = [ping_pong.warm(side, steps, until) for side in order]
        return warmed if turn.base_first else warmed[::-1]

    def _steps(self, pairing: Pairing) -> tuple[int, int]:
        """Warm-up and burst, the same for both arms: neither is measured in a state that the other never reached."""
        base, candidate = (self.docket.pilot(arm, pairing) for arm in self.docket.arms)
        assert base and candidate
        return max(base.warm_up_steps, candidate.warm_up_steps), base.steps_per_burst

    def _sides(self, pairing: Pairing, workers: list[Process], turn: Turn) -> tuple[Side, Side]:
        (a, one), (b, two) = zip(self.docket.arms, workers, strict=True)
        return self._side(a, pairing, one, turn), self._side(b, pairing, two, turn)

    def _side(self, arm: Arm, pairing: Pairing, worker: Process, turn: Turn) -> Side:
        pilot = self.docket.pilot(arm, pairing)
        assert pilot
        return Side(arm, worker, self.docket.subject(arm, case_of(arm, pairing), turn.number), pilot)

    def _log(self, arm: Arm, pairing: Pairing, turn: Turn) -> Path:
        return self.docket.log(f"pair{turn.stage}.{turn.number}", arm, case_of(arm, pairing))


def _others(halves: list[Half]) -> float | None:
    """The most that other processes used beside either: readings around both would count the arms' own work."""
    return max((seen for half in halves if (seen := sensors.others(half.sensed.readings)) is not None), default=None)
