"""The verb `report`: run folders to a table, a page or a file for another tool; a gate's folder to its verdicts.

Other packages add formats of one run by the entry point `stepwatch.reports`.
"""

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from msgspec.structs import replace

from bench import folder as folders
from bench import gate, pairs, table
from bench import run as runs
from bench.errors import BenchError
from bench.prices.asked import Asked, Chosen, choose, known, own
from bench.prices.book import Price, age_note
from bench.reports import csv, focus, json, money, pytest_benchmark, whole
from bench.reports import gate as gates
from bench.table import Report
from bench.third_parties import Offer, Offers, kind_of

Render = Callable[[Report], str | bytes]
# Of one run at one price; and of several runs, or one at several prices, side by side.
ONE: dict[str, Callable[[Report], str]] = {
    "markdown": whole.render,
    "csv": csv.render,
    "json": json.render,
    "pytest-benchmark": pytest_benchmark.render,
}
SEVERAL: dict[str, Callable[[Sequence[Report]], str]] = {
    "markdown": money.render,
    "csv": csv.several,
    "json": json.several,
    "focus": focus.render,
}
DRAWN = ("html", "svg", "png")
FORMATS = (*ONE, "focus", *DRAWN)


def _checked(offer: Offer, found: object) -> Render:
    """What another package renders by: it is called with a report, and what goes wrong in it is one line."""
    if not callable(found):
        raise BenchError(f"{offer.entry} is to be a function render(report), found {kind_of(found)}")

    def render(report: Report) -> str | bytes:
        try:
            made = found(report)
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise BenchError(f"{offer} failed: {said[:300]} ({at.filename}, line {at.lineno})") from error
        if not isinstance(made, str | bytes):
            raise BenchError(f"{offer} made {kind_of(made)}, wanted str or bytes")
        return made

    return render


OTHERS = Offers("format", "stepwatch.reports", taken=lambda: {*FORMATS, *gates.FORMATS}, check=_checked)


def names() -> list[str]:
    """Every format of a run, those of other packages last."""
    return [*FORMATS, *OTHERS.names()]


def text(
    paths: Sequence[Path], wanted: str, asked: Asked, instances: Sequence[str] = (), plot: str | None = None
) -> str | bytes:
    """What was asked for, in one format: a run at the price that applies, or everything side by side."""
    if plot is not None and wanted not in ("svg", "png"):
        raise BenchError("--plot wants --format svg or png, one picture; html has all of them")
    if any(folders.exists(path / "gate.json") for path in paths):
        with _no_traceback():
            return _gate(paths, wanted, asked, instances)
    others = None if wanted in FORMATS else OTHERS.get(wanted)
    if wanted not in FORMATS and others is None:
        raise BenchError(f"no format '{wanted}'; there are {', '.join(names())}")
    made = reports(paths, asked, instances)
    if wanted in DRAWN:
        return _drawn(made, wanted, asked, plot)
    if wanted == "focus":
        _say_not_charged(made)
    if wanted in SEVERAL and (len(made) > 1 or wanted not in ONE):
        return SEVERAL[wanted](made)
    if len(made) > 1:
        raise BenchError(f"--format {wanted} is of one run at one price, found {len(made)}; ask for one at a time")
    if wanted == "pytest-benchmark":
        _say_left_out(made[0], paths[0])
    return others(made[0]) if others else ONE[wanted](made[0])


def put(made: str | bytes, out: Path | None) -> None:
    """Prints it, or writes it to a new file; bytes, a picture say, are not for a terminal."""
    data = made if isinstance(made, bytes) else made.encode()
    if out is None:
        if isinstance(made, bytes) and sys.stdout.isatty():
            raise BenchError("what this format makes is not for a terminal: name a file with --out")
        sys.stdout.buffer.write(data)
        return
    try:
        with open(out, "xb") as file:
            file.write(data)
    except FileExistsError:
        raise BenchError(f"{out} is there already, and nothing is overwritten; name another --out") from None
    except OSError as error:
        raise BenchError(f"cannot write {out}: {error.strerror}; name another --out", exit_code=74) from None


def reports(paths: Sequence[Path], asked: Asked, instances: Sequence[str] = ()) -> list[Report]:
    """Each run at its price, or at that of each instance; which price won is said."""
    if instances and (asked.instance or asked.price_per_hour):
        raise BenchError("--instances names the prices: leave out --instance and --price-per-hour")
    for what in (paths, instances):
        if doubled := next((one for place, one in enumerate(what) if one in what[:place]), None):
            raise BenchError(f"{doubled} is named twice; name each once")
    made, said = [], set()
    for path in paths:
        plain = rendered(path, None)
        for one in [replace(asked, instance=name) for name in instances] or [asked]:
            chosen = choose(one, plain.run.machine, path / "prices.csv")
            made.append(table.repriced(plain, chosen.price))
            if chosen.origin not in said:
                said.add(chosen.origin)
                say_price(chosen, plain.run)
    return made


def rendered(folder: Path, at: Price | None) -> Report:
    """What a run folder's records come to, at a price or at none."""
    run, found, torn = runs.stored(folder)
    if torn:
        say(f"{folder / 'results.jsonl'}: the last line is torn and is left out; --resume makes that record again")
    return table.report(run, found, at)


def _drawn(made: Sequence[Report], wanted: str, asked: Asked, plot: str | None) -> str | bytes:
    from bench.reports import charts, html  # charts take a second to import, which no table has to wait for

    if wanted == "html":
        return html.render(made, known(own(asked.prices)))
    name = plot or next(iter(charts.PLOTS))
    return charts.render_png(made, name) if wanted == "png" else charts.render_svg(made, name)


@contextmanager
def _no_traceback() -> Iterator[None]:
    """Of a gate's folder: what goes wrong is INVALID. Exit code 1 would say that the candidate is slower."""
    try:
        yield
    except BenchError:
        raise
    except Exception:
        traceback.print_exc()
        raise BenchError("INVALID: the gate's report itself failed, see above; no verdict", exit_code=4) from None


def _gate(paths: Sequence[Path], wanted: str, asked: Asked, instances: Sequence[str]) -> str:
    if len(paths) > 1:
        raise BenchError("a gate's folder has verdicts, which stand beside no run's times: report it alone")
    if asked != Asked() or instances:
        raise BenchError(f"{paths[0]} is a gate's folder: it has verdicts and no price; leave out the price")
    if wanted not in gates.FORMATS:
        raise BenchError(f"no format '{wanted}' of a gate; there are {', '.join(gates.FORMATS)}")
    return gates.FORMATS[wanted](judged(paths[0]))


def _say_left_out(made: Report, folder: Path) -> None:
    """Its readers know no status: what has no entry would be forgotten in silence."""
    out = [row for row in made.rows if pytest_benchmark.incomplete(row)]
    if len(out) == len(made.rows):
        raise BenchError(f"{folder} holds no case that was measured: there is nothing to write", exit_code=3)
    for row in out:
        say(f"left out: {row.case}: {row.status}: {row.reason}")


def _say_not_charged(made: Sequence[Report]) -> None:
    """A cost tool would take what has no line for what cost nothing."""
    out = [row for report in made for row in report.rows if not focus.charged(row)]
    if len(out) == sum(len(report.rows) for report in made):
        raise BenchError("no row has a price and a time: there is nothing to write; name an --instance", exit_code=3)
    if out:
        say(f"left out: {len(out)} rows without a time or a price")


def exit_code(paths: Sequence[Path]) -> int:
    """That of the gate whose folder it is, 4 INVALID and 1 FAIL, so that no reader takes it for a PASS; 0 for runs."""
    if not any(folders.exists(path / "gate.json") for path in paths):
        return 0
    with _no_traceback():
        return gate.exit_code(judged(paths[0]).judgement, strict=False)


def judged(folder: Path) -> pairs.Report:
    """What a gate's folder comes to."""
    comparison, found = pairs.read(folder)
    cells, control = pairs.cells(comparison, found)
    return pairs.Report(comparison, gate.judge(cells, control), tuple(found))


def say_price(chosen: Chosen, run: runs.Run, *, always: bool = False) -> None:
    """Which price won and why, and how old it was on the day of the run if that is not quiet.

    A CPU that nobody named has no price, and need not be told so each time, only when it is measured (`always`).
    """
    if chosen.price or run.machine.gpus or always:
        say(chosen.origin)
    if chosen.price and (note := age_note(chosen.price, date.fromisoformat(run.started[:10]))):
        say(note)
    if chosen.price and chosen.price.as_of > datetime.now(UTC).date().isoformat():
        say(f"the price of {chosen.price.instance} is of a day to come (as of {chosen.price.as_of}): check it")


def say(text: str) -> None:
    """A line for the person, beside the output."""
    print(f"stepwatch: {text}", file=sys.stderr)
