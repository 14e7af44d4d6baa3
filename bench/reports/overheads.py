"""What Keras costs over the framework under it, as a table."""

from tabulate import tabulate

from bench import overhead
from bench.overhead import Overhead
from bench.reports.markdown import digits
from bench.table import Report

TITLE = "What Keras costs"
HEAD = (
    "workload",
    "phase",
    "batch",
    "engine",
    "mode",
    "layout",
    "engine ms",
    "Keras ms",
    "ratio (95 %)",
    "extra ms",
    "status",
)
LEFT = 6
NOTE = (
    "Keras as its users run it: `train_on_batch`, which brings the loss to the host in every step, and "
    "`predict_on_batch`, which brings the logits. Its SGD is the stock one; its Adam adds epsilon elsewhere than the "
    "algorithm that all others run, and is subclassed to do the same."
)


def render(report: Report) -> str:
    """Empty where no Keras row stands beside its engine's."""
    found = overhead.of_keras(report)
    if not found:
        return ""
    align = ["left" if place < LEFT or name == "status" else "right" for place, name in enumerate(HEAD)]
    table = tabulate([cells(one) for one in found], HEAD, tablefmt="pipe", colalign=align, disable_numparse=True)
    return f"## {TITLE}\n\n{table}\n\n{NOTE}\n"


def cells(one: Overhead) -> list[str]:
    case = one.row.case
    ends = "" if one.low is None or one.high is None else f" ({one.low:.2f}-{one.high:.2f})"
    where = [case.workload, case.phase + (", latency" if case.measure == "latency" else ""), str(case.batch)]
    times = [digits(one.base.step_ms), digits(one.row.step_ms)]
    extra = f"{'-' if one.extra_ms < 0 else ''}{digits(abs(one.extra_ms))}"
    which = {"Keras": one.row.status, "engine": one.base.status}
    status = ", ".join(f"{name} {word}" for name, word in which.items() if word != "ok") or "ok"
    return [*where, one.base.case.backend, case.mode, case.layout, *times, f"{one.ratio:.2f}{ends}", extra, status]
