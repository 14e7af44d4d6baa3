"""Against hand-written loops of every framework, mode and model, in the same process: tests/idiom of a checkout."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import backends, machine
from bench import run as runs
from bench.selftest.finding import Finding

SCRIPT = Path(__file__).parent.parent.parent / "tests" / "idiom" / "every.py"
MODELS = ("mlp", "cnn")
LONG_MS, TIGHT, LOOSE = 5.0, 1.02, 1.05


def collect(folder: Path, bursts: int, minutes: float) -> None:
    """Compares what is not compared yet, until the minutes are over; an installed wheel has no loops to compare."""
    if not SCRIPT.exists():
        return
    out = folder / "handwritten"
    out.mkdir(parents=True, exist_ok=True)
    told = ["--bursts", str(bursts), "--out", str(out), "--minutes", str(minutes)]
    with open(folder / "handwritten.log", "ab") as sink:
        code = subprocess.run([sys.executable, str(SCRIPT), *told], stdout=sink, stderr=sink).returncode
    if code:
        # The others are judged all the same; what failed is missing below.
        print(f"a comparison with a hand-written loop failed: see {folder / 'handwritten.log'}", file=sys.stderr)


def judge(folder: Path) -> list[Finding]:
    """A finding for each phase of each comparison."""
    path = folder / "handwritten" / "results.jsonl"
    if not path.exists():
        why = "no comparison was made" if SCRIPT.exists() else "only a checkout has the hand-written loops"
        return [Finding("handwritten", "all", f"at most {TIGHT} or {LOOSE}", why, "skipped")]
    found = [json.loads(line) for line in path.read_text().splitlines()]
    here = machine.read()
    ours = {"commit": runs.commit(), "harness": runs.harness(), "cpu": here.cpu, "cores": here.cores}
    valid = [r for r in found if all(r.get(name) == value for name, value in ours.items())]
    latest = {(r["framework"], r["mode"], r["model"]): r for r in valid}
    lacking = [name for name in _wanted() if name not in latest]
    none = [Finding("handwritten", " ".join(name), "a comparison", "none was made", "not settled") for name in lacking]
    return none + [
        _finding(f"{' '.join(name)} {phase}", result[phase])
        for name, result in latest.items()
        for phase in ("train", "infer")
        if phase in result
    ]


def _wanted() -> list[tuple[str, str, str]]:
    rows = [row for row in backends.NATIVE.values() if not row.missing()]
    return [(row.name, mode, model) for row in rows for mode in row.modes for model in MODELS]


def _finding(name: str, found: dict[str, Any]) -> Finding:
    """The hand-written loop's time says which bound applies."""
    step = found["idiom_us"] / 1e3
    bound = TIGHT if step >= LONG_MS else LOOSE
    low, high = found["interval"] or (0.0, float("inf"))
    words = f"{found['ratio']:.3f} ({low:.3f}-{high:.3f}) at {step:.3g} ms"
    return Finding("handwritten", name, f"at most {bound}", words, verdict(bound, found["interval"]))


def verdict(bound: float, interval: list[float] | None) -> str:
    """What a ratio's interval says of a bound on it; an end exactly on the bound settles nothing."""
    low, high = interval or (0.0, float("inf"))
    return "holds" if high < bound else "broken" if low > bound else "not settled"
