"""The verb `selftest --gate`: the gate's own error rates, on this machine, idle and beside a busy neighbour."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from bench import gate, machine
from bench import run as runs
from bench.errors import BenchError
from bench.progress import duration
from bench.selftest import gate_faults, gating, rates
from bench.selftest.finding import Finding
from bench.selftest.rates import WORDS, Collected, Score

HEAD = (
    *("beside", "step", "slower by", "which is", "measured", "pair spread", "pairs"),
    *("windows", "gates", *WORDS, "pairs a gate", "min a gate"),
)
IDLE, NEIGHBOUR = STATES = ("idle", "neighbour")


def execute(*, minutes: float, out: Path | None) -> int:
    """Collects pairs for so many minutes, half of them beside a neighbour, on top of those there; prints the rates."""
    if not 0 <= minutes <= 7 * 24 * 60:
        raise BenchError(
            f"--minutes wants a number from 0 (only score what is there) to {7 * 24 * 60} (a week), found {minutes:g}"
        )
    if not gating.steps():
        raise BenchError("no framework is installed: there is no step to try the gate on; see stepwatch list")
    here = machine.read()
    folder = out or Path("results/reference") / f"gate-rates-{here.cores}core"
    for state in STATES if minutes else ():
        print(f"{state}: {duration(30 * minutes)}", file=sys.stderr, flush=True)
        (folder / state).mkdir(parents=True, exist_ok=True)
        gating.collect(folder / state, 30 * minutes, neighbour=state == NEIGHBOUR)
    found = {state: rates.collected(folder / state) for state in STATES}
    made = {state: rates.scores(found[state]) for state in STATES}
    if not any(made.values()):
        raise BenchError(f"no gate could be scored: {gate.FIRST[0]} pairs of a step want more minutes", exit_code=3)
    print("faults: a gate that is damaged, or of which an arm dies", file=sys.stderr, flush=True)
    judged = [*rates.findings(made[IDLE]), *gate_faults.found()]
    from bench.reports import rates as drawing  # Altair is slow to import, and the other verbs need none

    text = page(made, judged, found)
    (folder / "table.md").write_text(text)
    (folder / "curves.svg").write_text(drawing.svg({state: rates.curves(scores) for state, scores in made.items()}))
    sys.stdout.write(text)
    return 1 if any(one.verdict == "broken" for one in judged) else 0


def page(made: dict[str, list[Score]], judged: Sequence[Finding], found: dict[str, list[Collected]]) -> str:
    """The rates as a Markdown page: what they are held to, a line a step, effect and state, then the curves."""
    rows = [_row(state, score) for state, scores in made.items() for score in scores]
    held = [(one.name, one.wanted, one.found, one.verdict) for one in judged]
    how = (
        "`worked`: matrix products in the candidate's step, as many as should slow it by so much. `added`: the pairs "
        "of identical arms, each with the effect added to its logarithm: many more windows, on the same noise. "
        "`windows` share no pair with each other. `gates`: a window of identical arms, and one of theirs with an "
        "effect added, tried in both directions is two. Bounds are by windows: of what is to be frequent those that "
        "have it in each direction tried, of what is to be rare those that have it in one. Of identical arms at most "
        "one direction of a window can FAIL: the bound on a gate's FAIL is half of that on windows. With an effect "
        "windows alone are counted. A pair is "
        f"of a shortened protocol: {gating.PROTOCOL.bursts} bursts after {gating.PROTOCOL.warm_up_seconds:g} s of "
        "warm-up. `min a gate`: what its pairs took here, of one step alone. No control is collected: each is scored "
        "as if it were perfect."
    )
    places = sorted({f"{one.cpu}, {one.cores} cores, commit {one.commit}" for parts in found.values() for one in parts})
    parts = [
        "# The gate's error rates",
        _summary(made),
        _table(held, ("what, idle", "wanted", "found", "verdict"), 4),
        _table(rows, HEAD, 2),
        "## By the spread of a gate's own pairs",
        "![Share of each verdict against the spread of a gate's pairs](curves.svg)",
        _table(_curves(made), ("beside", "slower by", "which is", "spread up to", "gates", *WORDS), 3),
        how,
        f"Collected on {'; '.join(places)}; scored by commit {runs.commit()}.",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(made: dict[str, list[Score]]) -> str:
    words = []
    for state, scores in made.items():
        failed, gates, windows, bound = rates.alarms([score for score in scores if score.effect == 0])
        told = f"{failed} of {gates} gates FAIL, on {windows} windows (95 %: at most {bound:.1%})"
        words.append(f"{state}: {told if windows else 'no window yet'}")
    return f"Identical arms, {'; '.join(words)}. The rule allows {gate.false_alarm(gate.SECOND[7]):.2%} at the margin."


def _row(state: str, score: Score) -> list[str]:
    counts, gates = score.verdicts, len(score.gates)
    used = sum(tried.pairs for tried in score.gates) / max(gates, 1)
    minutes = sum(tried.seconds for tried in score.gates) / max(gates, 1) / 60
    moved = [f"{score.effect:.0%}", _how(score.effect, score.added), f"{score.ratio - 1:+.1%}", f"{score.spread:.1%}"]
    told = [str(counts[word]) for word in WORDS]
    many = [str(score.pairs), str(len(score.said)), str(counts.total())]
    return [state, score.step, *moved, *many, *told, f"{used:.1f}", f"{minutes:.1f}"]


def _curves(made: dict[str, list[Score]]) -> list[list[str]]:
    from bench.reports import rates as drawing

    rows = []
    for state, scores in made.items():
        for effect, added, end, counts in rates.curves(scores):
            shares = [f"{counts[word] / counts.total():.0%}" for word in WORDS]
            rows.append([state, f"{effect:.0%}", _how(effect, added), drawing.label(end), str(counts.total()), *shares])
    return rows


def _how(effect: float, added: bool) -> str:
    return "added" if added else "worked" if effect else "nothing"


def _table(rows: Sequence[Sequence[str]], head: Sequence[str], left: int) -> str:
    align = [*("left",) * left, *("right",) * (len(head) - left)]
    return tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=align if rows else None)
