"""The verb `selftest`: the harness is tried as its users use it, and says what it found, for this machine."""

import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic

from msgspec.structs import replace
from tabulate import tabulate

from bench import backends, machine
from bench import run as runs
from bench.errors import BenchError
from bench.progress import duration
from bench.selftest import coverage, determinism, faults, finding, handwritten, overhead
from bench.selftest.finding import VERDICTS, Finding

PARTS = ("faults", "determinism", "overhead", "handwritten", "coverage")
QUICK = ("faults", "determinism")  # deterministic: what continuous integration runs
BURSTS = 150  # pairs a phase against the hand-written loops
LEFT_TO_COVERAGE = 0.4  # of the minutes, at least: its windows are what takes long


def default_folder() -> Path:
    """`results/reference/selftest-<machine>`, named by what the machine computes with."""
    here = machine.read()
    what = here.gpus[0].name if here.gpus else f"{here.cores}core"
    return Path("results/reference") / f"selftest-{''.join(c if c.isalnum() else '-' for c in what.lower())}"


def execute(*, quick: bool, minutes: float, out: Path | None, parts: tuple[str, ...]) -> int:
    """Runs what the folder lacks; prints the table; 1 where anything is broken."""
    if unknown := set(parts) - set(PARTS):
        raise BenchError(f"no part '{sorted(unknown)[0]}'; there are {', '.join(PARTS)}")
    if not 0 < minutes <= 7 * 24 * 60:
        raise BenchError(f"--minutes wants a number above 0 and up to {7 * 24 * 60} (a week), found {minutes:g}")
    wanted = parts or (QUICK if quick else PARTS)
    folder = out if out or quick else default_folder()
    until = monotonic() + 60 * minutes
    found = _deterministic(wanted, folder)
    if folder and (rest := [part for part in wanted if part not in QUICK]):
        found += _measured(rest, folder, until)
    elif set(wanted) - set(QUICK):
        raise BenchError("parts that measure want a folder to keep their samples: --out DIR")
    text = _page(found)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.md").write_text(text)
    sys.stdout.write(text)
    return 1 if any(one.verdict == "broken" for one in found) else 0


def _deterministic(wanted: Iterable[str], folder: Path | None) -> list[Finding]:
    ledger = folder / "findings.jsonl" if folder else None
    code = origin()
    known = {(f.part, f.name): f for f in (finding.read(ledger) if ledger else []) if f.code == code}
    todo: list[tuple[str, str, Callable[[str], Finding]]] = []
    for part, module in (("faults", faults), ("determinism", determinism)):
        if part in wanted:
            todo += [(part, name, module.one) for name in module.names()]
    made = []
    for number, (part, name, one) in enumerate(todo, 1):
        before = known.get((part, name))
        if before and before.verdict == "holds":
            made.append(before)
            continue
        began = monotonic()
        new = replace(one(name), commit=runs.commit(), code=code, seconds=round(monotonic() - began, 1))
        print(f"[{number}/{len(todo)}] {part}: {name}  {new.seconds} s  {new.verdict}", file=sys.stderr, flush=True)
        if ledger:
            finding.append(ledger, new)
        made.append(new)
    return made


def origin() -> str:
    """The code, the machine and the versions that a finding holds for: elsewhere it is found anew."""
    versions = {name: row.versions() for name, row in backends.REGISTRY.items()}
    return f"{runs.harness()}-{machine.read().digest}-{hashlib.sha256(repr(versions).encode()).hexdigest()[:12]}"


def _measured(parts: Iterable[str], folder: Path, until: float) -> list[Finding]:
    made: list[Finding] = []
    if "overhead" in parts:
        print("overhead: the suites null and quick", file=sys.stderr, flush=True)
        made += overhead.null(folder) + overhead.quick(folder)
    if "handwritten" in parts:
        left = (until - monotonic()) / 60
        share = 1 - LEFT_TO_COVERAGE if "coverage" in parts else 1.0
        print(f"handwritten: at most {left * share:.0f} min", file=sys.stderr, flush=True)
        if left > 0:
            handwritten.collect(folder, BURSTS, left * share)
        made += handwritten.judge(folder)
    if "coverage" in parts:
        left = until - monotonic()
        print(f"coverage: {duration(max(0.0, left))}", file=sys.stderr, flush=True)
        if left > 0:
            coverage.collect(folder, left)
        made += coverage.judge(folder)
    return made


def _page(found: list[Finding]) -> str:
    """What was found, as a Markdown page; how many of each verdict comes first."""
    here = machine.read()
    counts = ", ".join(
        f"{sum(f.verdict == v for f in found)} {v}" for v in VERDICTS if any(f.verdict == v for f in found)
    )
    rows = [(f.part, f.name, _cell(f.wanted), _cell(f.found), f.verdict) for f in found]
    return (
        "\n\n".join(
            (
                "# Selftest",
                f"{here.cpu}, {here.cores} of {here.cores_present} cores, {here.memory_gib:g} GiB; {here.system}, "
                f"Python {here.python}; commit {runs.commit()}, code {runs.harness()}. {counts}.",
                tabulate(rows, ("part", "what", "wanted", "found", "verdict"), tablefmt="pipe", disable_numparse=True),
            )
        )
        + "\n"
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())[:300]
