"""What is on top of a plain step, as tables: what Keras costs over its engine, a recipe, input from the host."""

from collections.abc import Callable

from msgspec import Struct
from tabulate import tabulate

from bench import overhead
from bench.overhead import Overhead
from bench.reports.markdown import digits
from bench.reports.names import VARIED
from bench.table import Report

LEFT = 6
NOISE = 0.03  # by which two passes over the same step may differ


class Kind(Struct, frozen=True):
    """One such table: what it is of, how its two rows are called, and its six axes on the left."""

    title: str
    found: Callable[[Report], list[Overhead]]
    ours: str
    base: str
    axes: tuple[str, ...]
    note: str
    share: bool = False  # of the step, that waits for input

    def varied(self, found: list[Overhead]) -> tuple[str, ...]:
        """The other axes in which these rows differ."""
        cases = [one.row.case for one in found]
        axes = (axis for axis in VARIED if axis not in self.axes)
        return tuple(axis for axis in axes if len({getattr(case, axis) for case in cases}) > 1)

    def head(self, varied: tuple[str, ...] = ()) -> tuple[str, ...]:
        waits = ("waits",) if self.share else ()
        return (*self.axes, *varied, f"{self.base} ms", f"{self.ours} ms", "ratio (95 %)", "extra ms", *waits, "status")

    def cells(self, one: Overhead, varied: tuple[str, ...] = ()) -> list[str]:
        case = one.row.case
        ends = "" if one.low is None or one.high is None else f" ({one.low:.2f}-{one.high:.2f})"
        where = {axis: str(getattr(case, axis, "")) for axis in self.axes}
        where |= {"phase": case.phase + (", latency" if case.measure == "latency" else "")}
        where |= {"engine": one.base.case.backend}
        times = [digits(one.base.step_ms), digits(one.row.step_ms)]
        extra = f"{'-' if one.extra_ms < 0 else ''}{digits(abs(one.extra_ms))}"
        which = {self.ours: one.row.status, self.base: one.base.status}
        status = ", ".join(f"{name} {word}" for name, word in which.items() if word != "ok") or "ok"
        share = one.row.input_share
        # Below 0 its batches on the device came out slower than those of the loader: that pass says nothing.
        waits = ["-" if share is None or share < -NOISE else f"{max(0.0, share):.0%}"] if self.share else []
        others = [str(getattr(case, axis)) for axis in varied]
        return [*(where[axis] for axis in self.axes), *others, *times, f"{one.ratio:.2f}{ends}", extra, *waits, status]


KERAS = Kind(
    "What Keras costs",
    overhead.of_keras,
    "Keras",
    "engine",
    ("workload", "phase", "batch", "engine", "mode", "layout"),
    "Keras as its users run it: `train_on_batch`, which brings the loss to the host in every step, and "
    "`predict_on_batch`, which brings the logits. Its SGD is the stock one, but in some recipes; its Adam, which adds "
    "epsilon elsewhere than the algorithm that all others run, is subclassed to do the same, and so is its BatchNorm, "
    "which feeds the running variance the batch's biased one.",
)
RECIPES = Kind(
    "What recipes cost",
    overhead.of_recipes,
    "recipe",
    "plain",
    ("workload", "recipe", "backend", "mode", "layout", "batch"),
    "The same step with one thing added, in training; where several backends or modes are in the run, it is proved "
    "that it is the same work in all of them.",
)
INPUTS = Kind(
    "What input from the host costs",
    overhead.of_inputs,
    "host",
    "device",
    ("workload", "phase", "backend", "mode", "layout", "batch"),
    "The same step fed by the framework's own loader from the host's memory, beside batches that lie on the device. "
    "`waits`: the share of the step that it does not take on batches that are there, seen in a pass of its own in one "
    "process; a dash where the loader's batches came out faster there. The loaders are set up alike as far as they go: "
    "one process, at most one thread beside the step.",
    share=True,
)
KINDS = (KERAS, RECIPES, INPUTS)


def render(report: Report) -> str:
    """Empty where no row stands beside what it is held against."""
    parts = []
    for kind in KINDS:
        if found := kind.found(report):
            varied = kind.varied(found)
            head, left = kind.head(varied), LEFT + len(varied)
            align = ["left" if place < left or name == "status" else "right" for place, name in enumerate(head)]
            lines = [kind.cells(one, varied) for one in found]
            table = tabulate(lines, head, tablefmt="pipe", colalign=align, disable_numparse=True)
            parts.append(f"## {kind.title}\n\n{table}\n\n{kind.note}\n")
    return "\n".join(parts)
