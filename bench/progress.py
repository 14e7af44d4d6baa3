"""What a person sees while a run works: a live line with the time left, or one plain line per process."""

import sys
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


def duration(seconds: float) -> str:
    """`7 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Watch:
    """Counts processes. Time left is the sum of expected durations, scaled by how the ones so far kept to theirs."""

    def __init__(self, expected: float, total: int) -> None:
        self.expected, self.total = expected, total
        self.done, self.spent, self.foreseen = 0, 0.0, 0.0
        self.live: Progress | None = None
        if sys.stderr.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]} left  {task.description}"))
            self.live = Progress(*columns, console=Console(stderr=True), transient=True)
            # One refresh an event: a thread that redraws would take time from the machine under test.
            self.live.live.auto_refresh = False
            self.task = self.live.add_task("", total=total, left="?")
            self.live.start()

    def begin(self, label: str, expected: float) -> None:
        self.label, self.this, self.started = label, expected, monotonic()
        if self.live:
            self.live.update(self.task, description=label, left=duration(self.left()), refresh=True)

    def end(self, outcome: str = "") -> None:
        taken = monotonic() - self.started
        self.done += 1
        self.spent += taken
        self.foreseen += self.this
        self.expected -= self.this
        if self.live:
            self.live.update(self.task, advance=1, left=duration(self.left()), refresh=True)
            if outcome:
                self.live.console.print(f"{self.label}: {outcome}", highlight=False, markup=False)
        else:
            line = f"[{self.done}/{self.total}] {self.label}  {taken:.1f} s  {duration(self.left())} left"
            print(f"{line}  {outcome}".rstrip(), file=sys.stderr, flush=True)

    def there(self, count: int, of: int, what: str = "") -> None:
        """Says how many were finished in an earlier session, where any were."""
        if not count:
            return
        line = f"{count} of {of}{what} are there"
        if self.live:
            self.live.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def skip(self, expected: float) -> None:
        """One that is there, or that nobody wants any more: it has no line, and no part in the pace."""
        self.done += 1
        self.expected -= expected
        if self.live:
            self.live.update(self.task, advance=1)

    def extend(self, expected: float, more: int) -> None:
        """So many more processes have turned out to be needed."""
        self.expected += expected
        self.total += more
        if self.live:
            self.live.update(self.task, total=self.total)

    def left(self) -> float:
        pace = self.spent / self.foreseen if self.foreseen else 1.0
        return max(0.0, self.expected) * pace

    def close(self) -> None:
        if self.live:
            self.live.stop()
