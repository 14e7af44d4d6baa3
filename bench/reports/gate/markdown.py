"""The verdict first, then a line a case: readable in a terminal and as a comment on a pull request."""

from statistics import median

from tabulate import tabulate

from bench.backends import is_own
from bench.gate import HARMLESS, Verdict
from bench.pairs import Pair, Report
from bench.patience import BUSY

HEAD = ("verdict", "case", "ratio", "95 % interval", "pairs", "margin", "visible from", "why")
ALIGN = ("left", "left", "right", "right", "right", "right", "right", "left")


def render(report: Report) -> str:
    judgement, comparison = report.judgement, report.comparison
    rows = [cells(verdict) for verdict in judgement.verdicts]
    guard = cells(judgement.control)
    rows.append(["control", *guard[1:]] if judgement.control.word == "PASS" else guard)  # it is no case of the suite
    table = tabulate(rows, HEAD, tablefmt="pipe", disable_numparse=True, colalign=ALIGN)
    return "\n\n".join([f"# {headline(report)}", _arms(report), table, *_notes(report)]) + (
        f"\n\n{comparison.machine.cpu}, {comparison.machine.cores} cores; Stepwatch {comparison.commit}; "
        f"begun {comparison.started}.\n"
    )


def headline(report: Report) -> str:
    """`FAIL: 1 of 8 cases, 7 PASS`."""
    verdicts = report.judgement.verdicts
    word = report.judgement.word
    count = {name: sum(v.word == name for v in verdicts) for name in dict.fromkeys(v.word for v in verdicts)}
    others = ", ".join(f"{many} {name}" for name, many in count.items() if name != word)
    return f"{word}: {count[word]} of {len(verdicts)} cases" + (f", {others}" if others else "")


def cells(verdict: Verdict) -> list[str]:
    """One line of the table."""
    interval = "-" if verdict.low is None or verdict.high is None else f"{verdict.low:.3f} to {verdict.high:.3f}"
    ratio = "-" if verdict.ratio is None else f"{verdict.ratio:.3f}"
    visible = "-" if verdict.visible is None else f"{verdict.visible - 1:+.1%}"
    numbers = [ratio, interval, str(verdict.pairs), f"{100 * verdict.margin:g}%", visible]
    return [verdict.word, verdict.name.replace("|", "\\|"), *numbers, why(verdict).replace("|", "\\|")]


def why(verdict: Verdict) -> str:
    """The verdict's reason, or that the candidate is faster."""
    return verdict.reason or ("faster" if verdict.change == "faster" else "")


def _arms(report: Report) -> str:
    differ = "; ".join(report.comparison.differences) or "nothing that is known"
    return f"Base to candidate: {differ}. A ratio above 1: the candidate is slower."


def _notes(report: Report) -> list[str]:
    judgement, comparison = report.judgement, report.comparison
    notes = [
        "FAIL: slower by more than the margin in most of 10 pairs, and again in most of as many or more fresh ones. "
        f"PASS: with 95 % confidence not slower by {HARMLESS:.0%}. If all {len(judgement.verdicts)} cases were slower "
        f"by exactly the margin, one of them would fail with a probability of {judgement.false_alarms:.1%}. `visible "
        "from`: the smallest slowdown that pairs as scattered as these would fail 8 times in 10."
    ]
    if comparison.protocol.shortened():
        notes.append("**Shortened protocol: verdicts to look at, not to rely on.**")
    if any(is_own(pairing.candidate.backend) for pairing in comparison.pairings):
        notes.append(
            "Unproved: programs of your own are compared as they are; nothing says that both arms do the same."
        )
    if comparison.against:
        notes.append(
            "The base is a stored run: this is worth as much as the machine is the same now as then. On a shared "
            "machine the same code moved by 41 % between two windows of five minutes; all that guards against that "
            "is the control cell. The probability above is that of arms measured side by side."
        )
    if comparison.left_out:
        notes.append("Left out:\n" + "\n".join(f"- {line}" for line in comparison.left_out))
    if words := _neighbours(report):
        notes.append(words)
    return notes


def _neighbours(report: Report) -> str:
    """What other processes did beside the pairs, where it was more than an idle machine's own business."""
    pairs = [record for record in report.records if isinstance(record, Pair)]
    turns = "both arms took turns beside them, so a verdict stands, but fewer slowdowns are visible."
    if not all(pair.alternating for pair in pairs):
        turns = "the arms were measured one after the other, and what they met may not be the same: doubt the verdicts."
    seen = [found for pair in pairs if (found := (pair.others_cores or 0.0) + (pair.stolen_cores or 0.0)) > BUSY]
    if 4 * len(seen) <= len(pairs):
        return ""
    cores = report.comparison.machine.cores
    return (
        f"Other processes and the hypervisor took {median(seen):.1f} of {cores} cores beside {len(seen)} of "
        f"{len(pairs)} pairs: {turns}"
    )
