"""The command line: one function a verb. It parses, calls, prints, and makes of a `BenchError` one line and a code."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from bench import datasets, fetch
from bench.comparison import Asked as Compared
from bench.errors import CANNOT_WRITE, BenchError
from bench.prices.asked import Asked
from bench.suite import Filters
from bench.verbs import compare as comparing
from bench.verbs import doctor, gate_rates, selftest, show
from bench.verbs import gate as gating
from bench.verbs import list as listing
from bench.verbs import parity as proof
from bench.verbs import prices as price_verbs
from bench.verbs import report as reporting
from bench.verbs import run as running

app = typer.Typer(
    name="stepwatch",
    help="Times the same training step in PyTorch, TensorFlow and JAX, proves that it is the same, and prices it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Real images: fetch them once.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(price_verbs.app, name="prices")

Workloads = Annotated[list[str], typer.Option("--workload", "-w", help="Only this workload; may be repeated.")]
Backends = Annotated[list[str], typer.Option("--backend", "-b", help="Only this backend; may be repeated.")]
Modes = Annotated[list[str], typer.Option("--mode", "-m", help="Only this mode: eager, graph or compiled.")]
Programs = Annotated[list[str], typer.Option(help="A Python file with a model of your own; may be repeated.")]
Devices = Annotated[list[str], typer.Option("--device", help="Only this device: cpu or gpu.")]
Instance = Annotated[str | None, typer.Option(help="Price the rows as this cloud instance, e.g. p5.48xlarge.")]
Region = Annotated[str | None, typer.Option(help="The instance's region, where it has several prices.")]
Service = Annotated[str | None, typer.Option(help="The provider's service, where several sell the instance.")]
PriceModel = Annotated[str | None, typer.Option(help="on_demand, spot, committed_1y, ...; by default on_demand.")]
PerHour = Annotated[str | None, typer.Option(help="A price in USD per hour, e.g. 2.1; wins over every book.")]
Prices = Annotated[Path | None, typer.Option(help="Your own prices; by default ./prices.toml where it exists.")]
Deadline = Annotated[
    float | None,
    typer.Option(
        help=f"Seconds that a case may take in a process before it is killed, by default {running.DEADLINE:g}."
    ),
]

Patience = Annotated[
    float,
    typer.Option(
        help="Seconds in all to wait, between processes, for a busy machine.", envvar=running.PATIENCE_VARIABLE
    ),
]


@app.command(epilog="Example: stepwatch run quick --backend torch --backend jax --rounds 10 --instance c5.2xlarge")
def run(
    suite: Annotated[str | None, typer.Argument(help="A shipped suite's name or the path of a TOML file.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; it must not exist yet.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Fresh processes per case, in place of the suite's.")] = None,
    workload: Workloads = [],
    backend: Backends = [],
    mode: Modes = [],
    device: Devices = [],
    program: Programs = [],
    resume: Annotated[Path | None, typer.Option(help="Go on with an interrupted run folder.")] = None,
    retry: Annotated[Path | None, typer.Option(help="Measure a run folder's failed records again.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cases and how long they may take.")] = False,
    deadline: Deadline = None,
    patience: Patience = running.PATIENCE,
    instance: Instance = None,
    region: Region = None,
    service: Service = None,
    price_model: PriceModel = None,
    price_per_hour: PerHour = None,
    prices: Prices = None,
) -> None:
    """Measure a suite: proofs, pilots, rounds; print the table and where the run folder is."""
    filters = Filters(tuple(workload), tuple(backend), tuple(mode), tuple(device))
    asked = Asked(instance, region, service, price_model, price_per_hour, prices)
    own = tuple(program)
    request = running.Request(suite, out, rounds, filters, resume, retry, deadline, patience, asked, own)
    raise typer.Exit(running.dry_run(request) if dry_run else running.execute(request))


@app.command(epilog="Example: stepwatch gate gate --base-env /path/to/the-old/.venv --format github")
def gate(
    suite: Annotated[str | None, typer.Argument(help="A shipped suite's name or the path of a TOML file.")] = None,
    base_env: Annotated[Path | None, typer.Option(help="Compare with another Python environment.")] = None,
    base_ref: Annotated[
        str | None, typer.Option(help="Compare a --program with itself at another git revision.")
    ] = None,
    base_flags: Annotated[
        list[str], typer.Option(help="Compare with mode=, precision=, layout=, threads= or VARIABLE=; may be repeated.")
    ] = [],
    against: Annotated[
        Path | None, typer.Option(metavar="RUN", help="A stored run of this machine, in place of a base measured now.")
    ] = None,
    program: Programs = [],
    workload: Workloads = [],
    backend: Backends = [],
    mode: Modes = [],
    device: Devices = [],
    out: Annotated[Path | None, typer.Option(help="The gate's folder; it must not exist yet.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with an interrupted gate's folder.")] = None,
    deadline: Deadline = None,
    patience: Patience = running.PATIENCE,
    format: Annotated[str, typer.Option(help="markdown, github, junit or json.")] = "markdown",
    strict: Annotated[bool, typer.Option("--strict", help="Exit 4 for INCONCLUSIVE too.")] = False,
) -> None:
    """Did it get slower? Both arms measured side by side; exit 0 no, or too noisy to say, 1 FAIL, 4 INVALID."""
    filters = Filters(tuple(workload), tuple(backend), tuple(mode), tuple(device))
    asked = Compared(suite, tuple(program), filters, base_env, base_ref, tuple(base_flags), out, against)
    raise typer.Exit(gating.execute(gating.Request(asked, resume, deadline, patience, format, strict)))


@app.command(epilog="Example: stepwatch parity cnn --backend torch --mode eager")
def parity(
    workload: Annotated[list[str], typer.Argument(help="Workloads; all of them if none is named.")] = [],
    backend: Backends = [],
    mode: Modes = [],
    device: Annotated[str, typer.Option(help="cpu or gpu: where the measured precision runs.")] = "cpu",
    batch: Annotated[
        int | None,
        typer.Option(
            help="Samples in each of the real batches whose first losses must agree; 64 or, most large models, 16."
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Prove again what is already proved and cached.")] = False,
    write_golden: Annotated[
        bool,
        typer.Option("--write-golden", help="Write the golden evidence anew, if all proofs that end in time agree."),
    ] = False,
    deadline: Deadline = None,
) -> None:
    """Prove that every backend and mode does the same work; exit 1 and name the rung and tensor where one does not."""
    filters = Filters(tuple(workload), tuple(backend), tuple(mode), (device,))
    until = running.check_deadline(deadline)
    code = proof.execute(filters, device=device, batch=batch, fresh=fresh, write_golden=write_golden, deadline=until)
    raise typer.Exit(code)


@app.command(epilog="Example: stepwatch report results/20261123T170000Z-quick-1a2b3c4 --format csv")
def report(
    folder: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; or one gate's.")],
    format: Annotated[
        str,
        typer.Option(
            help="markdown, csv, json, html, svg, png, focus, pytest-benchmark or another package's; of a gate "
            "markdown, github, junit or json."
        ),
    ] = "markdown",
    plot: Annotated[str | None, typer.Option(help="Which picture for svg and png: step, batch, cost, ...")] = None,
    out: Annotated[Path | None, typer.Option(help="A new file to write it to, in place of printing it.")] = None,
    instances: Annotated[str | None, typer.Option(help="Side by side at the prices of these: a,b,c.")] = None,
    instance: Instance = None,
    region: Region = None,
    service: Service = None,
    price_model: PriceModel = None,
    price_per_hour: PerHour = None,
    prices: Prices = None,
) -> None:
    """A run's table again, the same bytes every time, or at another price; a page; several runs; a gate's verdicts."""
    asked = Asked(instance, region, service, price_model, price_per_hour, prices)
    names = [name.strip() for name in instances.split(",")] if instances is not None else []
    reporting.put(reporting.text(folder, format, asked, names, plot), out)
    raise typer.Exit(reporting.exit_code(folder))


@app.command(epilog="Example: stepwatch compare results/monday results/tuesday")
def compare(
    folder: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders, the first is the base.")],
    format: Annotated[str, typer.Option(help="markdown or json.")] = "markdown",
    anyway: Annotated[bool, typer.Option("--anyway", help="Print runs of different machines too, marked.")] = False,
) -> None:
    """Stored runs side by side: what vanished, what is new, what fails, how far times moved. Advisory."""
    sys.stdout.write(comparing.text(folder, format, anyway=anyway))


@app.command(epilog="Example: stepwatch history results --format csv")
def history(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of run folders.")],
    format: Annotated[str, typer.Option(help="markdown, csv or svg.")] = "markdown",
) -> None:
    """How the cases of many stored runs moved: a line a case, its drift, its change points. Advisory."""
    from bench.verbs import history as trending  # charts and SciPy take a second that no other verb has to wait for

    sys.stdout.write(trending.text(folder, format))


@app.command(name="show", epilog="Example: stepwatch show cnn --backend torch")
def show_(
    workload: Annotated[str, typer.Argument(help="A workload's name.")],
    backend: Annotated[str | None, typer.Option("--backend", "-b", help="Print its native module too.")] = None,
) -> None:
    """A workload's layers, shapes, parameters and FLOPs, beside the native module of a backend."""
    typer.echo(show.text(workload, backend))


@app.command(name="list", epilog="Example: stepwatch list")
def list_() -> None:
    """Workloads, backends with their modes (and why one is missing), suites, data, formats; whose they are."""
    typer.echo(listing.text())


@app.command(name="doctor", epilog="Example: stepwatch doctor")
def doctor_() -> None:
    """The machine as a result would record it, and what each installed backend says of itself."""
    typer.echo(doctor.text())


@app.command(name="selftest", epilog="Example: stepwatch selftest --quick")
def selftest_(
    quick: Annotated[bool, typer.Option("--quick", help="Only the deterministic parts, within 3 minutes.")] = False,
    minutes: Annotated[float, typer.Option(help="How long it may take in all; started again it goes on.")] = 45.0,
    out: Annotated[Path | None, typer.Option(help="Where findings and samples are kept.")] = None,
    part: Annotated[list[str], typer.Option(help="Only this part; may be repeated.")] = [],
    gate: Annotated[bool, typer.Option("--gate", help="The gate's own error rates, in place of the parts.")] = False,
) -> None:
    """Try the harness itself: seeded faults, determinism, its own cost, hand-written loops, interval coverage."""
    if gate and (quick or part):
        raise BenchError("--gate takes the place of the parts: leave out --quick and --part")
    if gate:
        raise typer.Exit(gate_rates.execute(minutes=minutes, out=out))
    raise typer.Exit(selftest.execute(quick=quick, minutes=minutes, out=out, parts=tuple(part)))


@data.command(name="fetch", epilog="Example: stepwatch data fetch fashion-mnist")
def fetch_(
    name: Annotated[str, typer.Argument(help="fashion-mnist or mnist.")] = "fashion-mnist",
    folder: Annotated[Path | None, typer.Option(help="Where to put it, in place of the user's cache.")] = None,
    address: Annotated[str | None, typer.Option(help="Another server, in place of the official one.")] = None,
) -> None:
    """Download a data set, check its SHA-256 and keep it in the user's cache."""
    fetch.fetch(name, folder=folder, address=address, report=typer.echo)


@data.command(name="here", epilog="Example: stepwatch data here fashion-mnist")
def here(name: Annotated[str, typer.Argument(help="A data set.")] = "fashion-mnist") -> None:
    """Say where a data set is and check its files; exit 2 where it is not."""
    source = datasets.locate(name)
    datasets.verify(source)
    typer.echo(f"{source.name}: {source.images:,} training images" + (f" in {source.folder}" if source.folder else ""))


def main(arguments: list[str] | None = None) -> Any:
    """The exit code of one command line. The only place where a `BenchError` is caught."""
    try:
        code = app(arguments, prog_name="stepwatch", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except BenchError as error:
        typer.echo(f"stepwatch: {' '.join(str(error).split())}", err=True)
        return error.exit_code
    except TyperException as error:
        # No arguments at all, or a verb without its own, is a request for help: the text is already printed.
        if text := error.format_message():
            typer.echo(f"stepwatch: {' '.join(text.split())} (see --help)", err=True)
        return 2
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        what = error.filename or "the output"
        typer.echo(f"stepwatch: cannot write {what}: {error.strerror}; nothing measured is lost", err=True)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it once more at its end
        return 74
    except KeyboardInterrupt:
        typer.echo("stepwatch: interrupted", err=True)
        return 130


def entry() -> None:
    sys.exit(main())


if __name__ == "__main__":
    entry()
