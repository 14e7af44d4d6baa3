"""The verbs `prices ...`: what is in the price books, what changed between two, and how a book of one's own is made."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import BenchError
from bench.prices import asked, book, listing, query
from bench.prices.difference import compare
from bench.prices.query import Filters
from bench.prices.rows import Price
from bench.verbs import price_books
from bench.verbs.report import say

BUNDLED = "bundled"

app = typer.Typer(help="The price books: list, find, compare and renew prices.", no_args_is_help=True)

Provider = Annotated[str | None, typer.Option(help="aws, gcp, azure, ...; own for your own rows.")]
Service = Annotated[str | None, typer.Option(help="The provider's service; Google's old names are known too.")]
Region = Annotated[str | None, typer.Option(help="The region, e.g. us-east-1.")]
Model = Annotated[str | None, typer.Option(help="on_demand, spot, committed_1y, ...")]
File = Annotated[Path | None, typer.Option(help="Your own prices; by default ./prices.toml where it exists.")]
Format = Annotated[str, typer.Option(help="markdown, csv or json.")]
Out = Annotated[Path, typer.Option(help="The folder of your own price book.")]
Yes = Annotated[bool, typer.Option("--yes", help="Write it; without, the difference is only printed.")]
Drop = Annotated[bool, typer.Option("--drop", help="Leave out the rows that fail a check, in place of refusing all.")]
AsOf = Annotated[str | None, typer.Option(help="The day that the prices are of; without, they are undated.")]
BOOK = Path("prices-book")


@app.command(name="list", epilog="Example: stepwatch prices list --provider aws --gpu H100 --price-model on_demand")
def list_(
    provider: Provider = None,
    service: Service = None,
    region: Region = None,
    price_model: Model = None,
    accelerator: Annotated[
        str | None, typer.Option("--accelerator", "--gpu", help="H100, A100-80GB, L4, ... or A100 for both sizes.")
    ] = None,
    prices: File = None,
    format: Format = "markdown",
) -> None:
    """Every price that there is, your own first; filtered."""
    listing.check_format(format)
    rows = query.select(_known(prices), Filters(provider, service, region, price_model, accelerator))
    sys.stdout.write(listing.prices(rows, _today(), format))


@app.command(name="show", epilog="Example: stepwatch prices show a3-highgpu-8g --service vertex-ai")
def show_(
    instance: Annotated[str, typer.Argument(help="An instance's name, e.g. p5.48xlarge.")],
    service: Service = None,
    region: Region = None,
    price_model: Model = None,
    prices: File = None,
    format: Format = "markdown",
) -> None:
    """Every price of one instance, by service, region and price model, with its age and its source."""
    listing.check_format(format)
    rows = query.select(query.of_instance(_known(prices), instance), Filters(None, service, region, price_model))
    sys.stdout.write(listing.prices(rows, _today(), format))
    if format == "markdown":
        sources = dict.fromkeys(row.source for row in rows)
        lines = [f"Source: {source}" for source in sources if source]
        sys.stdout.write("\n" + "\n".join([*lines, *_aliases(rows)]) + "\n")


@app.command(name="find", epilog="Example: stepwatch prices find --gpu H200 --count 8 --price-model on_demand")
def find_(
    gpu: Annotated[
        str, typer.Option("--gpu", "--accelerator", help="H200, A100-80GB, ... or as its driver prints it.")
    ],
    count: Annotated[int | None, typer.Option(help="At least so many of them in one instance.")] = None,
    provider: Provider = None,
    service: Service = None,
    region: Region = None,
    price_model: Model = None,
    prices: File = None,
    format: Format = "markdown",
) -> None:
    """The instances with an accelerator, the cheapest first: the whole instance, and the share of one accelerator."""
    listing.check_format(format)
    rows = query.of_accelerator(_known(prices), Filters(provider, service, region, price_model, gpu), count)
    sys.stdout.write(listing.prices(rows, _today(), format))
    if format == "markdown":
        sys.stdout.write("\nThe share is that of one accelerator and assumes that somebody rents the rest.\n")


@app.command(name="diff", epilog="Example: stepwatch prices diff bundled prices-book")
def diff_(
    a: Annotated[str, typer.Argument(metavar="A", help="A price CSV, a folder with one, or: bundled.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The later one.")],
    format: Format = "markdown",
) -> None:
    """What was added, removed and changed from A to B; a move of more than 30 % is marked as a jump."""
    listing.check_format(format)
    found = compare(_rows(a), _rows(b))
    if found or format != "markdown":
        sys.stdout.write(listing.changes(found, format))
    say(price_books.summary(found))


@app.command(name="refresh", epilog="Example: stepwatch prices refresh --out prices-book --yes")
def refresh_(
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="A folder of catalogues, in place of the network.")
    ] = None,
    provider: Annotated[list[str], typer.Option(help="aws, gcp and azure by default; may be repeated.")] = [],
    region: Annotated[list[str], typer.Option(help="By default the book's own; may be repeated.")] = [],
    out: Out = BOOK,
    as_of: AsOf = None,
    drop: Drop = False,
    yes: Yes = False,
) -> None:
    """Bring a price book of your own up to date through gpuhunt: checked, compared, and written only with --yes."""
    request = price_books.Request(out, tuple(region), as_of, _today(), drop=drop, yes=yes)
    sys.stdout.write(price_books.refresh(request, source, tuple(provider)))


@app.command(
    name="import", epilog="Example: stepwatch prices import vms.csv --provider lambda --as-of 2026-11-01 --yes"
)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV in the columns of SkyPilot's catalogue.")],
    provider: Annotated[str, typer.Option(help="Whose prices these are, e.g. aws or lambda.")],
    region: Annotated[list[str], typer.Option(help="Only this region; may be repeated.")] = [],
    out: Out = BOOK,
    as_of: AsOf = None,
    drop: Drop = False,
    yes: Yes = False,
) -> None:
    """Take a catalogue file into a price book of your own: checked, compared, and written only with --yes."""
    request = price_books.Request(out, tuple(region), as_of, _today(), drop=drop, yes=yes)
    sys.stdout.write(price_books.take_file(request, file, provider))


def _known(prices: Path | None) -> tuple[Price, ...]:
    return asked.known(asked.own(prices))


def _today() -> date:
    return datetime.now(UTC).date()


def _rows(name: str) -> tuple[Price, ...]:
    """Of a folder its book, or the price that a run used; of a file its rows."""
    if name == BUNDLED:
        return book.bundled()
    path = Path(name)
    if not path.exists():
        raise BenchError(f"no price CSV or folder {name!r}; name one, or: {BUNDLED}")
    if (path / "manifest.toml").exists():
        return book.load_book(path)
    if path.is_dir() and not (path / "prices.csv").exists():
        raise BenchError(f"{name} holds no price book, and no run that has a price; name another, or: {BUNDLED}")
    return book.read_used(path / "prices.csv" if path.is_dir() else path)


def _aliases(rows: tuple[Price, ...]) -> list[str]:
    """Other names that a service among these rows is asked for by."""
    services = dict.fromkeys(book.service_of(row) for row in rows)
    names = {one: [old for old, new in book.SERVICE_ALIASES.items() if new == one] for one in services}
    return [f"{service} is also: {', '.join(found)}." for service, found in names.items() if found]
