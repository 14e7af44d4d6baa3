"""Workers opened two at a time: importing a framework keeps one core busy, and nothing is timed meanwhile.

The second of them then sleeps on its pipe until its turn. On a GPU a worker would hold a context there: one at a time.
"""

from pathlib import Path
from time import monotonic

from msgspec import Struct

from bench import measuring
from bench.messages import Opened
from bench.process import Process, WorkerFailed
from bench.program import Settings


class Place(Struct, frozen=True):
    """A worker to come."""

    log: Path
    backend: str
    settings: Settings


class Started(Struct):
    """An open worker. `seconds`: what its start took of the clock; of two at once each takes half."""

    process: Process
    seconds: float = 0.0
    failed: WorkerFailed | None = None


class Starts:
    """`deadline`: the seconds that a worker may take to open."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.parked: dict[Path, Started] = {}

    def open(self, wanted: Place, ahead: Place | None = None) -> Started:
        """The worker, opened now or before; `WorkerFailed` where it cannot be. `ahead`: the one to open beside it."""
        found = self.parked.pop(wanted.log, None)
        self.abandon()  # one that was opened ahead and whose turn never came
        if found is None:
            found = self._open_all([place for place in (wanted, ahead) if place])[wanted.log]
        if found.failed:
            raise found.failed
        return found

    def _open_all(self, places: list[Place]) -> dict[Path, Started]:
        began = monotonic()
        assert len({place.log for place in places}) == len(places)  # by which they are told apart
        try:
            for place in places:
                self.parked[place.log] = Started(Process(place.log))
            for place in places:
                self.parked[place.log].process.send(measuring.opening(place.backend, place.settings))
            for started in self.parked.values():
                try:
                    started.process.wait_for(Opened, began + self.deadline)
                except WorkerFailed as error:
                    started.process.kill()
                    started.failed = error  # said when its turn comes
        except BaseException:
            self.abandon()
            raise
        for started in self.parked.values():
            started.seconds = (monotonic() - began) / len(places)
        return {places[0].log: self.parked.pop(places[0].log)}

    def waits(self, log: Path) -> bool:
        """Whether this worker is open already."""
        return log in self.parked

    def abandon(self) -> None:
        """Ends what was opened ahead."""
        for started in self.parked.values():
            started.process.kill()
        self.parked.clear()
