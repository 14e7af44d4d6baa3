"""Seeded faults of a gate, through the command line: pairs that are missing, doubled or empty, an arm that dies.

And its determinism: the same pairs give the same bytes, in whichever order they lie. On the null backend.
"""

import random
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.selftest.finding import Finding
from bench.selftest.seeding import Copy

PERMUTATIONS = 5
Damage = Callable[[list[bytes]], list[bytes]]
DOOR = '"""There is nothing to import."""'
# The base's first two processes are pilots, the control's among them: it dies some pairs later.
DIES = (
    "import os, pathlib; starts = pathlib.Path(os.environ['HOME'], 'starts'); starts.open('a').write('x')\n"
    "    if os.environ.get('BASE') and len(starts.read_text()) > 7: os.kill(os.getpid(), 9)"
)


def found() -> list[Finding]:
    """An honest gate, which is then damaged in every way, and one of which an arm dies."""
    with tempfile.TemporaryDirectory(prefix="stepwatch-selftest-") as folder:
        copy = _copy(Path(folder) / "honest")
        ended = _gate(copy)
        made = [_finding("honest gate", "no check fires", ended, copy, ended.returncode == 0)]
        made += [_damaged(copy, "12: a missing cell", _missing, "9 pairs are there, the first stage wants 10")]
        made += [_damaged(copy, "13: a duplicate cell", _twice, "is there 2 times")]
        made += [_damaged(copy, "14: an empty pairs.jsonl", lambda _: [], "0 pairs are there")]
        made += [_permuted(copy), _empty(_copy(Path(folder) / "empty"))]
        dying = _copy(Path(folder) / "dying")
        dying.change("bench/backends/null/__init__.py", DOOR, DIES)
        ended = _gate(dying)
        words = "the base arm: crashed: the process died of SIGKILL"
        caught = ended.returncode == 4 and words in ended.stdout
        return [*made, _finding("15: an arm that dies midway", f"exit code 4: {words}", ended, dying, caught)]


def _copy(folder: Path) -> Copy:
    copy = Copy(folder)
    # What is tried is not the machine: beside other work two milliseconds of the control say little.
    copy.change("bench/gate.py", "CONTROL = log(1.03)", "CONTROL = log(9)")
    copy.change("bench/gate.py", "UNSTEADY = log(1.03)", "UNSTEADY = log(9)")
    copy.protocol |= {"bursts": 9, "burst_seconds": 0.002, "warm_up_seconds": 0.02}
    return copy


def _gate(copy: Copy) -> "subprocess.CompletedProcess[str]":
    suite = copy.suite({"backend": ["null"]})
    told = ("--base-flags", "BASE=1", "--out", str(copy.out), "--patience", "0", "--format", "json")
    return copy.stepwatch("gate", suite, *told)


def _finding(name: str, wanted: str, ended: "subprocess.CompletedProcess[str]", copy: Copy, holds: bool) -> Finding:
    said = f"exit code {ended.returncode}: {_reason(ended.stdout) or ended.stderr}".replace(str(copy.folder), "")
    return Finding("gate", name, wanted, said.strip()[-200:], "holds" if holds else "broken")


def _reason(text: str) -> str:
    """The verdict and the reason of the one cell that a gate's JSON holds; empty where it is none."""
    try:
        (cell,) = msgspec.json.decode(text)["cells"]
    except (msgspec.DecodeError, ValueError, KeyError, TypeError):
        return ""
    return f"{cell['word']} {cell['reason']}"


def _damaged(copy: Copy, name: str, damage: Damage, words: str) -> Finding:
    """The folder's pairs damaged: its report gives no verdict but INVALID, with the reason, and exit code 4.

    It is `report` that is asked: `gate --resume` would measure again what is missing.
    """
    path = copy.out / "pairs.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"".join(damage(whole.splitlines(keepends=True))))
    ended = copy.stepwatch("report", str(copy.out), "--format", "json")
    path.write_bytes(whole)
    said = _reason(ended.stdout)
    holds = ended.returncode == 4 and said.startswith("INVALID") and words in said
    return _finding(name, f"exit code 4: {words}", ended, copy, holds)


def _pairs(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if b'"type":"Pair"' in line and b'"backend":"null"' in line]


def _missing(lines: list[bytes]) -> list[bytes]:
    gone = _pairs(lines)[0]
    return [line for line in lines if line != gone]


def _twice(lines: list[bytes]) -> list[bytes]:
    return [*lines, _pairs(lines)[0]]


def _empty(copy: Copy) -> Finding:
    """A stored run without a record, given as the base."""
    copy.run({"backend": ["null"]}, rounds=2)
    (copy.out / "results.jsonl").write_bytes(b"")
    ended = copy.stepwatch("gate", "--against", str(copy.out), "--out", str(copy.folder / "against"))
    return _finding("14: an empty baseline", "exit code 4", ended, copy, ended.returncode == 4)


def _permuted(copy: Copy) -> Finding:
    path = copy.out / "pairs.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    said = set()
    for seed in range(PERMUTATIONS + 1):
        drawn = random.Random(seed).sample(lines, len(lines)) if seed else lines
        path.write_bytes(b"".join(drawn))
        said.add(copy.stepwatch("report", str(copy.out), "--format", "json").stdout)
    words = f"{PERMUTATIONS} permutations of {len(lines)} records, {len(said) - 1} differ"
    holds = len(said) == 1 and bool(_reason(said.pop()))
    return Finding("gate", "permuted pairs", "byte-identical", words, "holds" if holds else "broken")
