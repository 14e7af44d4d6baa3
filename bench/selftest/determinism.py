"""The same records give the same bytes, in every format and in whichever order they lie."""

import random
import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from bench import backends
from bench.prices.asked import Asked
from bench.selftest.finding import Finding
from bench.selftest.seeding import Copy
from bench.verbs.report import DRAWN, FORMATS, text

PERMUTATIONS = 5
PRICE = "3.6"  # with one there is money in every format; focus has nothing to say without
PRICED = Asked(price_per_hour=PRICE)


def one(name: str) -> Finding:
    """Renders one real run in every format, then again from permuted records, and in other processes."""
    installed = [b.name for b in backends.NATIVE.values() if not b.missing()][:1]
    with tempfile.TemporaryDirectory(prefix="stepwatch-selftest-") as folder:
        copy = Copy(Path(folder), heeds_neighbours=True)  # rendered by this process too
        copy.protocol["ceilings"] = "true"
        copy.run({"backend": ["null", *installed]}, rounds=6)  # from six on every interval is there
        path = copy.out / "results.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        differing, characters = 0, 0
        for format in FORMATS:
            file = copy.folder / f"report.{format}"
            copy.stepwatch("report", str(copy.out), "--format", format, "--out", str(file), "--price-per-hour", PRICE)
            wanted = file.read_bytes()
            characters += len(wanted)
            for seed in range(1 if format in DRAWN else PERMUTATIONS):  # a page takes a second
                path.write_bytes(b"".join(random.Random(seed).sample(lines, len(lines))))
                with redirect_stderr(StringIO()):  # each time it says where the price is from
                    found = text([copy.out], format, PRICED)
                differing += (found if isinstance(found, bytes) else found.encode()) != wanted
    said = (
        f"{len(FORMATS)} formats, {PERMUTATIONS} permutations of {len(lines)} records each (one of those drawn: "
        f"{', '.join(DRAWN)}), {differing} differ"
    )
    return Finding("determinism", name, "byte-identical", said, "holds" if characters and not differing else "broken")


def names() -> list[str]:
    return ["reports"]
