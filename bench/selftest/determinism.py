"""The same records give the same bytes, in every format and in whichever order they lie."""

import random
import tempfile
from pathlib import Path

from bench.prices.asked import Asked
from bench.selftest.finding import Finding
from bench.selftest.seeding import Copy
from bench.verbs.report import FORMATS, text

PERMUTATIONS = 5


def one(name: str) -> Finding:
    """Renders one real run in one format, then again from permuted records, and in another process."""
    with tempfile.TemporaryDirectory(prefix="stepwatch-selftest-") as folder:
        copy = Copy(Path(folder))
        copy.run({"backend": ["null"], "phase": ["train", "infer"]}, rounds=6)
        path = copy.out / "results.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        wanted = copy.stepwatch("report", str(copy.out), "--format", name).stdout
        differing = 0
        for seed in range(PERMUTATIONS):
            path.write_bytes(b"".join(random.Random(seed).sample(lines, len(lines))))
            differing += text(copy.out, name, Asked()) != wanted
    found = f"{PERMUTATIONS} permutations, {differing} differ; {len(wanted)} characters"
    return Finding("determinism", name, "byte-identical", found, "holds" if wanted and not differing else "broken")


def names() -> list[str]:
    return list(FORMATS)
