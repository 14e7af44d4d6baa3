"""A copy of the package with one place changed, run through the command line as a user would run it.

The copy is the subject, never the checkout. A fault whose text has moved is an error instead of testing nothing.
"""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench import datasets, suite
from bench.errors import BenchError

PACKAGE = Path(__file__).parent.parent
PATIENCE = 300  # seconds, so that a hang of the harness itself is a failure, not an endless test
Matrix = dict[str, list[str] | list[int]]  # an axis of the suite and its values


class Copy:
    """`bench/` and `suites/` in a folder of their own, with its own home and its own cache of proofs."""

    def __init__(self, folder: Path, *, heeds_neighbours: bool = False) -> None:
        self.home = folder / "home"
        self.folder = folder / "copy"
        self.home.mkdir(parents=True)
        # Its own proofs; what every page is made of alike is shared.
        pages = datasets.cache_folder() / "pages"
        pages.mkdir(parents=True, exist_ok=True)
        (self.home / "cache/stepwatch").mkdir(parents=True)
        (self.home / "cache/stepwatch/pages").symlink_to(pages)
        shutil.copytree(PACKAGE, self.folder / "bench", ignore=shutil.ignore_patterns("__pycache__"))
        (self.folder / "suites").mkdir()
        for path in suite.shipped().values():
            shutil.copy(path, self.folder / "suites")
        # Whatever else this machine does, a status comes from its fault: fewer than nine bursts say nothing of a drift,
        # and neighbours are not noted unless they are what is tried.
        if not heeds_neighbours:
            self.change("bench/patience.py", "BUSY = 0.1 ", 'BUSY = float("inf") ')
        self.protocol = {"warm_up_seconds": 0.05, "bursts": 5, "burst_seconds": 0.005, "ceilings": "false"}

    def change(self, file: str, old: str, new: str) -> None:
        """Replaces `old`, which must occur exactly once, in a file of the copy."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise BenchError(f"stale fault: {file} holds {text.count(old)} times {old!r}, wanted once")
        path.write_text(text.replace(old, new), encoding="utf-8")

    def stepwatch(self, *arguments: str, **environment: str | None) -> "subprocess.CompletedProcess[str]":
        """`stepwatch ARGUMENTS` in the copy; an `environment` variable that is None is unset."""
        told: dict[str, str | None] = {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self.folder), os.environ.get("PYTHONPATH")))),
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "BENCH_DATA": None,
            # torch's threads would spin while others want the core, and take three times as long.
            "OMP_WAIT_POLICY": "passive",
        }
        wanted = os.environ | told | environment
        return subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=self.folder,
            env={name: value for name, value in wanted.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def suite(self, *matrices: Matrix, rounds: int = 1) -> str:
        """Writes a tiny suite (training, batch 8, synthetic images, on the CPU unless told) and returns its path."""
        lines = ['name = "tiny"', f"rounds = {rounds}", "[protocol]"]
        lines += [f"{key} = {value}" for key, value in self.protocol.items()]
        for matrix in matrices:
            told = {"workload": ["mlp"], "phase": ["train"], "batch": [8], "data": ["synthetic"], "device": ["cpu"]}
            lines += ["[[matrix]]", *(f"{key} = {value}" for key, value in (told | matrix).items())]
        path = self.folder / "tiny.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path)

    def run(
        self,
        *matrices: Matrix,
        rounds: int = 1,
        options: tuple[str, ...] = (),
        **environment: str | None,
    ) -> tuple[int, list[dict[str, str]]]:
        """Runs a tiny suite into `out/`: the exit code, and the rows of its table.csv."""
        told = ("run", self.suite(*matrices, rounds=rounds), "--out", str(self.out), "--patience", "0", *options)
        ended = self.stepwatch(*told, **environment)
        if not (self.out / "table.csv").exists():
            raise BenchError(f"exit code {ended.returncode}, no table: {ended.stderr[-2000:]}")
        with open(self.out / "table.csv", encoding="utf-8", newline="") as file:
            return ended.returncode, list(csv.DictReader(file))

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def log(self) -> bytes:
        """All that the run's workers printed."""
        return b"".join(path.read_bytes() for path in sorted((self.out / "logs").iterdir()))
