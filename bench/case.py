"""A case: one row of the table before it is measured. It knows its axes and nothing of how they are measured."""

from typing import Any

from msgspec import Struct

AXES = ("mode", "layout", "device", "precision", "input", "steps_per_call")  # that a backend may lack


class Case(Struct, frozen=True, order=True):
    """One row of the table: all of its axes, resolved (no `auto`, no `default`)."""

    workload: str
    phase: str
    measure: str
    backend: str
    mode: str
    precision: str
    layout: str
    batch: int
    data: str
    input: str
    steps_per_call: int
    recipe: str
    device: str
    threads: int

    @property
    def work(self) -> str:
        """What is built, as `bench.workloads` knows it: the workload, by its recipe."""
        return self.workload if self.recipe == "plain" else f"{self.workload}+{self.recipe}"

    @property
    def worker(self) -> tuple[str, ...]:
        """What cases that one process carries have in common."""
        axes = (self.workload, self.backend, self.mode, self.precision, self.layout, self.device)
        return (*axes, str(self.threads), *self._unusual("resident"))

    @property
    def unusual(self) -> tuple[str, ...]:
        """The axes that most cases leave alone, where this one does not."""
        return self._unusual(self.input)

    def _unusual(self, input: str) -> tuple[str, ...]:
        """A program does not know where its batches come from: a process carries both kinds of cases."""
        chained = (f"{self.steps_per_call} steps a call",) if self.steps_per_call > 1 else ()
        told = (word for word, usual in ((input, "resident"), (self.recipe, "plain")) if word != usual)
        return () if self.workload == "own" else (*chained, *told)

    @property
    def worker_file(self) -> str:
        """The worker's part of a file's name; a backend that is a file of the user's own has a path's name."""
        return "-".join(self.worker).replace("/", "_").replace("\\", "_").replace(" ", "_")

    @property
    def file(self) -> str:
        """The case's part of a file's name."""
        fed = "" if self.input == "resident" else f"-{self.input}"
        return f"{self.worker_file}-{self.phase}-{self.measure}-{self.batch}-{self.data}{fed}"

    @property
    def asked(self) -> dict[str, Any]:
        """What a backend may lack, as `Backend.why_not` wants it."""
        return {axis: getattr(self, axis) for axis in AXES}

    def __str__(self) -> str:
        return " ".join((*self.worker[:6], self.phase, self.measure, f"batch {self.batch}", *self.unusual))
