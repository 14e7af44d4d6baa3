"""Against hand-written loops of every framework, mode and model, in the same process: tests/idiom of a checkout."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.selftest.finding import Finding

SCRIPT = Path(__file__).parent.parent.parent / "tests" / "idiom" / "every.py"
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
        raise BenchError(f"a comparison with a hand-written loop failed: see {folder / 'handwritten.log'}")


def judge(folder: Path) -> list[Finding]:
    """A finding for each phase of each comparison."""
    path = folder / "handwritten" / "results.jsonl"
    if not path.exists():
        why = "no comparison was made" if SCRIPT.exists() else "only a checkout has the hand-written loops"
        return [Finding("handwritten", "all", f"at most {TIGHT} or {LOOSE}", why, "skipped")]
    latest = {(r["framework"], r["mode"], r["model"]): r for r in map(json.loads, path.read_text().splitlines())}
    return [
        _finding(f"{' '.join(name)} {phase}", result[phase])
        for name, result in latest.items()
        for phase in ("train", "infer")
        if phase in result
    ]


def _finding(name: str, found: dict[str, Any]) -> Finding:
    """The hand-written loop's time says which bound applies."""
    step = found["idiom_us"] / 1e3
    bound = TIGHT if step >= LONG_MS else LOOSE
    low, high = found["interval"] or (0.0, float("inf"))
    verdict = "holds" if high <= bound else "broken" if low > bound else "not settled"
    words = f"{found['ratio']:.3f} ({low:.3f}-{high:.3f}) at {step:.3g} ms"
    return Finding("handwritten", name, f"at most {bound}", words, verdict)
