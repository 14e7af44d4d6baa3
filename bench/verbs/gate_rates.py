"""The verb `selftest --gate`: the gate's own error rates, on this machine, idle and beside a busy neighbour."""

import sys
from pathlib import Path

from tabulate import tabulate

from bench import gate, machine
from bench import run as runs
from bench.errors import BenchError
from bench.progress import duration
from bench.selftest import gating
from bench.selftest.finding import Finding
from bench.selftest.gating import Score

HEAD = (
    *("beside", "step", "slower by", "which is", "measured", "pair spread", "pairs"),
    *("gates", "FAIL", "INCONCLUSIVE", "PASS", "INVALID"),
)
STATES = ("idle", "neighbour")


def execute(*, minutes: float, out: Path | None) -> int:
    """Collects pairs for so many minutes, half of them beside a neighbour, on top of those there; prints the rates."""
    if not 0 < minutes <= 7 * 24 * 60:
        raise BenchError(f"--minutes wants a number above 0 and up to {7 * 24 * 60} (a week), found {minutes:g}")
    if not gating.steps():
        raise BenchError("no framework is installed: there is no step to try the gate on; see stepwatch list")
    here = machine.read()
    folder = out or Path("results/reference") / f"gate-rates-{here.cores}core"
    for state in STATES:
        print(f"{state}: {duration(30 * minutes)}", file=sys.stderr, flush=True)
        (folder / state).mkdir(parents=True, exist_ok=True)
        gating.collect(folder / state, 30 * minutes, neighbour=state == "neighbour")
    found = {state: gating.scores(folder / state) for state in STATES}
    if not any(found.values()):
        raise BenchError(f"no gate could be scored: {gate.FIRST[0]} pairs of a step want more minutes", exit_code=3)
    judged = gating.findings(found["idle"])
    text = page(found, judged)
    (folder / "table.md").write_text(text)
    sys.stdout.write(text)
    return 1 if any(one.verdict == "broken" for one in judged) else 0


def page(found: dict[str, list[Score]], judged: list[Finding]) -> str:
    """The rates as a Markdown page: what they are held to, then a line a step, effect and state."""
    here = machine.read()
    rows = [_row(state, score) for state, scores in found.items() for score in scores]
    table = tabulate(rows, HEAD, tablefmt="pipe", disable_numparse=True, colalign=("left", "left", *("right",) * 10))
    same = [s for scores in found.values() for s in scores if s.effect == 0]
    alarms, gates = sum(s.verdicts.get("FAIL", 0) for s in same), sum(s.gates for s in same)
    summary = (
        f"Identical arms: {alarms} FAIL in {gates} gates (both directions of the same pairs: half are independent); "
        f"at the margin the rule allows {gate.false_alarm(gate.SECOND[7]):.2%} a cell."
    )
    how = (
        "`worked`: matrix products in the candidate's step, as many as should slow it by so much. `added`: the pairs "
        "of identical arms, each with the effect added to its logarithm: many more gates, on the same noise. A pair is "
        f"of a shortened protocol: {gating.PROTOCOL.bursts} bursts after {gating.PROTOCOL.warm_up_seconds:g} s of "
        "warm-up."
    )
    origin = f"{here.cpu}, {here.cores} cores; {here.system}, Python {here.python}; commit {runs.commit()}."
    held = tabulate(
        [(one.name, one.wanted, one.found, one.verdict) for one in judged],
        ("what, idle", "wanted", "found", "verdict"),
        tablefmt="pipe",
        disable_numparse=True,
    )
    return "\n\n".join(["# The gate's error rates", summary, held, table, how, origin]) + "\n"


def _row(state: str, score: Score) -> list[str]:
    words = [str(score.verdicts.get(word, 0)) for word in ("FAIL", "INCONCLUSIVE", "PASS", "INVALID")]
    how = "added" if score.added else "worked" if score.effect else "nothing"
    moved = [f"{score.effect:.0%}", how, f"{score.ratio - 1:+.1%}", f"{score.spread:.1%}"]
    return [state, score.step, *moved, str(score.pairs), str(score.gates), *words]
