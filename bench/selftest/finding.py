"""What a part of the selftest found, one line each, kept as it comes: an interrupted selftest goes on where it was."""

from pathlib import Path

import msgspec
from msgspec import Struct

VERDICTS = ("holds", "broken", "not settled", "skipped")


class Finding(Struct, frozen=True):
    """`wanted` and `found` are words for people; `verdict` is one of `VERDICTS`."""

    part: str
    name: str
    wanted: str
    found: str
    verdict: str
    commit: str = ""
    code: str = ""
    seconds: float = 0.0


def read(path: Path) -> list[Finding]:
    """The findings of a file, oldest first; a torn last line is left out."""
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [msgspec.json.decode(line, type=Finding) for line in lines]


def append(path: Path, finding: Finding) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        file.write(msgspec.json.encode(finding) + b"\n")
