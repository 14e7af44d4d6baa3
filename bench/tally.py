"""Where a session's time went: the wall clock by kind of process, and what the parent used while they measured."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, process_time

from bench.records import Session
from bench.run import now


class Tally:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self.started, self.began = now(), monotonic()
        self.stages: dict[str, float] = {}
        self.measuring = self.parent_cpu = 0.0
        self.worked = False

    @contextmanager
    def during(self, kind: str) -> Iterator[None]:
        """One process's work. A round's own stages are added one by one, see `add`."""
        self.worked = True
        began, cpu = monotonic(), process_time()
        try:
            yield
        finally:
            seconds = monotonic() - began
            if kind != "proof":
                self.measuring += seconds
                self.parent_cpu += process_time() - cpu
            if kind != "round":
                self.add({f"{kind}s": seconds})

    def add(self, stages: Mapping[str, float]) -> None:
        for stage, seconds in stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    def session(self, waited: float) -> Session:
        return Session(
            started=self.started,
            seconds=monotonic() - self.began,
            parent_cpu_seconds=self.parent_cpu,
            measuring_seconds=self.measuring,
            waited_seconds=waited,
            stages=self.stages,
        )
