"""Stored runs side by side, as Markdown or JSON: what vanished, what is new, what fails, and how far times moved."""

from collections.abc import Sequence

import msgspec
from tabulate import tabulate

from bench.compare import Line, Stored
from bench.reports.markdown import digits, plain

ADVICE = (
    "Advisory, no verdict: the runs were measured at different times, and the same code has been seen to move by 41 % "
    "between two five-minute windows of one shared machine. `stepwatch gate` measures both sides in one job."
)


def markdown(runs: Sequence[Stored], lines: Sequence[Line], differences: Sequence[str]) -> str:
    names = [one.name for one in runs]
    head = ["case", *(f"{name} ms" for name in names), *(f"{name} / {names[0]}" for name in names[1:]), "remark"]
    body = [
        [
            str(line.case),
            *("-" if ms is None else digits(ms) for ms in line.step_ms),
            *(_ratio(ratio) for ratio in line.ratios),
            plain(remark(line, names[1:])),
        ]
        for line in lines
    ]
    align = ["left", *("right",) * (len(head) - 2), "left"]
    parts = ["# Stored runs side by side", ADVICE]
    if differences:
        parts.append("**Not comparable**, printed anyway: " + plain("; ".join(differences)) + ".")
    parts += ["\n".join(f"- {one.name}: {_origin(one)}" for one in runs)]
    parts += [tabulate(body, head, tablefmt="pipe", colalign=align, disable_numparse=True), summary(lines)]
    return "\n\n".join(parts) + "\n"


def json(runs: Sequence[Stored], lines: Sequence[Line], differences: Sequence[str]) -> str:
    body = {
        "advisory": ADVICE,
        "not_comparable": list(differences),
        "runs": [{"name": one.name, "commit": one.run.commit, "started": one.run.started} for one in runs],
        "cases": lines,
    }
    return msgspec.json.format(msgspec.json.encode(body)).decode() + "\n"


def remark(line: Line, names: Sequence[str]) -> str:
    """What became of the case, run by run where there are several later ones."""
    said = [": ".join(filter(None, (one.word, one.reason))) for one in line.remarks]
    if len(names) == 1:
        return said[0]
    return "; ".join(f"{words} in {name}" for words, name in zip(said, names, strict=True) if words)


def summary(lines: Sequence[Line]) -> str:
    """`12 cases: 1 slower, 2 new.` Of three runs a case is counted under each word that it has in any later one."""
    words = ("failing", "vanished", "new", "changed", "slower", "faster")
    count = {word: sum(word in {one.word for one in line.remarks} for line in lines) for word in words}
    said = ", ".join(f"{many} {word}" for word, many in count.items() if many)
    return f"{len(lines)} cases: {said or 'none of them moved beyond its interval'}."


def _ratio(found: tuple[float, tuple[float, float] | None] | None) -> str:
    if found is None:
        return "-"
    ratio, interval = found
    return f"{ratio:.3f}" + (f" ({interval[0]:.3f}-{interval[1]:.3f})" if interval else "")


def _origin(one: Stored) -> str:
    run = one.run
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    told = "".join(f"; {name}={value}" for name, value in run.variables.items())
    return plain(f"{run.machine.cpu}, {run.machine.cores} cores; commit {run.commit}; {run.started}; {versions}{told}")
