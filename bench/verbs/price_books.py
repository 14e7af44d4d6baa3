"""Of the verbs `prices refresh` and `prices import`: from a catalogue to a book of one's own, checked and compared.

The only place that may go to the network for a price, and only when it is asked to.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from msgspec import Struct

from bench.backend import install
from bench.errors import BenchError
from bench.prices import book, catalogues, checks, listing
from bench.prices.catalogues import Item, Source
from bench.prices.difference import JUMP, Change, compare
from bench.prices.rows import Price, file_bytes, is_date
from bench.verbs.report import say

PROVIDERS = ("aws", "gcp", "azure")
FOLDER = "GPUHUNT_CATALOG_DIR"
# Beyond this many a list of added rows says nothing to a person.
MOST_SHOWN = 40
MOST_NAMED = 3


class Request(Struct, frozen=True):
    """Where to, which regions (none is the default), the day of the prices (None is not known) and today."""

    out: Path
    regions: tuple[str, ...]
    as_of: str | None
    today: date
    drop: bool
    yes: bool


def refresh(request: Request, folder: Path | None, providers: Sequence[str]) -> str:
    """A book brought up to date by gpuhunt's catalogue, of the network or of a folder; what changed, as a table."""
    folder = folder or (Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None)
    last = _last(request)
    # From the network the prices are today's; of files nobody knows but who made them.
    as_of = _day(request, "" if folder else request.today.isoformat())
    name = f"gpuhunt catalogue {'read from a folder' if folder else 'of the network'}"
    rows = catalogues.of_items(_items(folder, providers), Source(name, as_of))
    text = _take(request, last, catalogues.wanted_regions(rows, last, request.regions), name)
    # It passes over a provider whose catalogue it could not load.
    absent = set(providers or (() if folder else PROVIDERS)) - {row.provider for row in rows}
    if absent:
        say(f"gpuhunt has nothing of {', '.join(sorted(absent))}: what the book has of it stays")
    return text


def take_file(request: Request, file: Path, provider: str) -> str:
    """A book with what a CSV in SkyPilot's columns says of one provider; what changed, as a table."""
    last = _last(request)
    source = Source(f"catalogue {file.name}", _day(request, ""))
    rows = catalogues.of_csv(file_bytes(file), file, provider, source)
    if request.regions:
        rows = catalogues.wanted_regions(rows, (), request.regions)
    return _take(request, last, rows, source.name)


def summary(changes: Sequence[Change]) -> str:
    """How many prices were added, removed and changed, and which jumped."""
    counts = Counter(change.kind for change in changes)
    text = ", ".join(f"{counts[kind]} {kind}" for kind in ("added", "removed", "changed"))
    jumps = [f"{one.row.instance} {book.offer(one.row)} {one.percent:+.0f} %" for one in changes if one.jump]
    if not jumps:
        return text
    more = f" and {len(jumps) - MOST_SHOWN} more" if len(jumps) > MOST_SHOWN else ""
    return f"{text}; moved by more than {JUMP} %, check them: {', '.join(jumps[:MOST_SHOWN])}{more}"


def _last(request: Request) -> tuple[Price, ...]:
    """The book that is there, else the bundled one, which the first one of the user's own begins with."""
    return book.load_book(request.out) if (request.out / "manifest.toml").exists() else book.bundled()


def _day(request: Request, otherwise: str) -> str:
    if request.as_of is None:
        return otherwise
    if not request.as_of or not is_date(request.as_of):
        raise BenchError(f"--as-of wants a date such as 2026-11-01, found {request.as_of!r}")
    return request.as_of


def _take(request: Request, last: tuple[Price, ...], rows: tuple[Price, ...], origin: str) -> str:
    problems = checks.problems(rows, last)
    if request.drop:
        bad = {row.key for problem in problems for row in problem.rows}
        for problem in problems:
            if problem.rows:
                say(f"left out: {problem.text}")
        rows = tuple(row for row in rows if row.key not in bad)
        problems = checks.problems(rows, last)
    if problems:
        texts = [problem.text for problem in problems]
        more = f"; and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
        advice = "--drop leaves such rows out" if any(problem.rows for problem in problems) else "get a whole one"
        raise BenchError(f"{origin}: it is not taken: {'; '.join(texts[:MOST_NAMED])}{more}; {advice}")
    merged = catalogues.joined(last, rows)
    changes = compare(last, merged)
    if request.yes:
        book.save_book(request.out, merged, origin, request.today)
    say(summary(changes))
    if request.yes:
        say(f'{len(merged)} prices in {request.out}; use them by book = "{request.out}" in prices.toml')
    else:
        say(f"nothing is written; with --yes it goes to {request.out}")
    shown = [change for change in changes if change.kind != "added"]
    added = [change for change in changes if change.kind == "added"]
    if len(added) > MOST_SHOWN:
        say(f"of the {len(added)} that are added the first {MOST_SHOWN} are shown")
    return listing.changes([*shown, *added[:MOST_SHOWN]], "markdown") if changes else ""


def _items(folder: Path | None, providers: Sequence[str]) -> list[Item]:
    try:
        from gpuhunt import Catalog
    except ImportError:
        raise BenchError(f"refresh wants gpuhunt, which is not installed: {install('prices')}") from None
    if folder is not None and not providers:
        providers = [name for name in PROVIDERS if (folder / f"{name}.csv").exists()]
        if not providers:
            raise BenchError(f"no catalogue in {folder}: wanted {', '.join(f'{name}.csv' for name in PROVIDERS)}")
    # What fails is said below in one line: the library logs the traceback of every provider, hundreds of lines.
    logging.getLogger("gpuhunt").setLevel(logging.CRITICAL)
    try:
        with _catalogues_in(folder):
            found: list[Item] = Catalog(auto_reload=folder is None).query(provider=list(providers or PROVIDERS))
    except FileNotFoundError as error:
        raise BenchError(f"no catalogue {error.filename}; name the --provider that there is one of") from None
    except Exception as error:  # which kinds of error it raises, the library does not promise
        why = f"{error} ({error.__cause__})" if error.__cause__ else str(error)
        raise BenchError(f"gpuhunt has no catalogue for it: {why}; get it as files and name them by --from") from None
    return found


@contextmanager
def _catalogues_in(folder: Path | None) -> Iterator[None]:
    """gpuhunt takes the folder from the environment alone."""
    before = os.environ.get(FOLDER)
    if folder is not None:
        os.environ[FOLDER] = str(folder)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(FOLDER, None)
        else:
            os.environ[FOLDER] = before
