"""compare.py for every installed framework, mode and model, one after another: into results.jsonl, and a table.md.

`python tests/idiom/every.py --bursts 60 --out FOLDER`. Started again it measures only what the folder lacks: of this
machine, this commit and these sources, these versions, and as many bursts. On a busy machine it proves nothing.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from tabulate import tabulate

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
sys.path.insert(0, str(ROOT))

from bench import backends, machine, run  # noqa: E402
from bench.selftest.handwritten import LONG_MS, LOOSE, MODELS, TIGHT, verdict  # noqa: E402

Result = dict[str, Any]
Combination = tuple[str, str, str]  # framework, mode, model


def installed(models: Sequence[str] = MODELS, names: Sequence[str] = tuple(backends.NATIVE)) -> list[Combination]:
    rows = [row for row in map(backends.get, names) if not row.missing()]
    return [(row.name, mode, model) for row in rows for mode in row.modes for model in models]


def sources() -> str:
    """Digest of bench and of this folder: a dirty checkout's commit does not say what was measured."""
    return run.source_digest(sorted([*(ROOT / "bench").rglob("*.py"), *FOLDER.glob("*.py")]))


def origin() -> Result:
    """Where, and of which code, a result is."""
    here = machine.read()
    code = {"commit": run.commit(), "harness": run.harness(), "sources": sources()}
    return code | {"cpu": here.cpu, "cores": here.cores}


def there(results: list[Result], wanted: Result, bursts: int) -> dict[Combination, Result]:
    """The last result of each combination, of those from `wanted`, from the versions here, and of enough bursts."""
    kept = [r for r in results if wanted.items() <= r.items() and r["bursts"] >= bursts]
    kept = [r for r in kept if r["versions"] == backends.get(r["framework"]).versions()]
    return {(r["framework"], r["mode"], r["model"]): r for r in kept}


def rows(results: list[Result]) -> list[list[str]]:
    """A row for each result's phases. The hand-written loop's time says which bound applies."""
    made = []
    for result in results:
        for phase in filter(result.__contains__, backends.PHASES):
            bench_ms, idiom_ms = result[phase]["bench_us"] / 1e3, result[phase]["idiom_us"] / 1e3
            bound, interval = TIGHT if idiom_ms >= LONG_MS else LOOSE, result[phase]["interval"]
            names = [result["framework"], result["mode"], result["model"], phase]
            ratio = [f"{result[phase]['ratio']:.3f}", "-".join(f"{end:.3f}" for end in interval or ()) or "none"]
            made.append(
                [*names, f"{bench_ms:.3f}", f"{idiom_ms:.3f}", *ratio, f"{bound:.2f}", verdict(bound, interval)]
            )
    return made


def table(results: list[Result]) -> str:
    """The rows below what the results, at least one, have in common."""
    first = results[0]
    versions = {name: version for result in results for name, version in result["versions"].items()}
    pairs = " or ".join(map(str, sorted({result["bursts"] for result in results})))
    head = ["framework", "mode", "model", "phase", "bench ms", "hand-written ms", "ratio", "95 % interval"]
    align = ["left"] * 4 + ["right"] * 5 + ["left"]
    parts = [
        "# Built programs against hand-written loops",
        f"tests/idiom/compare.py: both in one process, {pairs} pairs of bursts in turn (ABBA), batch {first['batch']}, "
        f"{first['feed']} batches, "
        f"fp32, threads {first['threads']}. A ratio above 1 means that bench's program is slower. Bound on it: "
        f"{TIGHT} for steps of {LONG_MS:g} ms and more, {LOOSE} for shorter ones.",
        f"{first['cpu']}, cores {first['cores']}; commit {first['commit']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        tabulate(rows(results), [*head, "bound", "verdict"], tablefmt="pipe", colalign=align, disable_numparse=True),
    ]
    return "\n\n".join(parts) + "\n"


def compare(combination: Combination, bursts: int, options: Sequence[str] = ()) -> Result:
    """What compare.py prints; `CalledProcessError` where it fails. Its standard error is shown as it comes."""
    framework, mode, model = combination
    told = ["--mode", mode, "--bursts", str(bursts), *options]
    command = [sys.executable, str(FOLDER / "compare.py"), framework, model, *told]
    found: Result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bursts", type=int, required=True, help="pairs of bursts a phase")
    parser.add_argument("--out", type=Path, required=True, help="folder of results.jsonl and table.md")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no comparison begins after so many")
    parser.add_argument("--model", action="append", help="in place of the small ones: resnet50, gpt")
    parser.add_argument("--mode", action="append", help="only these")
    parser.add_argument("--framework", action="append", help="in place of the native ones: keras-jax, say")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--feed", type=int, default=32, help="batches that the steps cycle over")
    told = parser.parse_args()

    begun, wanted = monotonic(), origin() | {"batch": told.batch, "feed": told.feed}
    combinations = [
        c
        for c in installed(told.model or MODELS, told.framework or [*backends.NATIVE])
        if not told.mode or c[1] in told.mode
    ]
    options = ["--batch", str(told.batch), "--feed", str(told.feed)]
    told.out.mkdir(parents=True, exist_ok=True)
    path = told.out / "results.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    done, failed = there([json.loads(line) for line in lines], wanted, told.bursts), []

    def write_table() -> None:
        if done:
            # Whatever was asked for this time: of two calls with other frameworks the table has both.
            (told.out / "table.md").write_text(table([*done.values()]))

    write_table()
    for combination in (c for c in combinations if c not in done):
        name = " ".join(combination)
        if monotonic() - begun > 60 * told.minutes:
            print(f"{told.minutes:g} minutes are over before {name}; start it again for the rest", file=sys.stderr)
            break
        print(name, file=sys.stderr)
        try:
            found = compare(combination, told.bursts, options)
        except subprocess.CalledProcessError:
            failed.append(name)
            continue
        if sources() != wanted["sources"]:
            sys.exit(f"the sources changed during {name}, which is not kept; start it again")
        done[combination] = wanted | found
        with path.open("a") as file:
            file.write(json.dumps(done[combination]) + "\n")
        write_table()
    sys.exit(f"failed: {', '.join(failed)}" if failed else None)


if __name__ == "__main__":
    main()
