"""What README.md and docs/ promise: commands parse, the files and tests that they name are there, examples run."""

import ast
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import ROOT

from bench import __main__ as cli
from bench import backends, load, status, suite, workloads
from bench.prices import book, user_file
from bench.prices.asked import Asked
from bench.recipe import RECIPES
from bench.reports.columns import COLUMNS, ORIGIN
from bench.reports.markdown import digits
from bench.verbs import report as reporting
from bench.workload import Workload

PAGES = {
    str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
}
PLANNED = "not built yet"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def paragraphs(page: str) -> list[str]:
    """The text around the fenced blocks, paragraph by paragraph."""
    return re.split(r"\n\s*\n", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL))


def spans(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def commands(page: str, program: str) -> Iterator[list[str]]:
    """Each `PROGRAM ...` of a page, in a block of shell or between backticks, as a shell would cut it up."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += [span for text in paragraphs(page) if PLANNED not in text for span in spans(text)]
    for line in lines:
        words = shlex.split(line, comments=True)
        while program in words:
            words = words[words.index(program) + 1 :]
            end = next((i for i, word in enumerate(words) if word in ("&&", "||", "|", ";")), len(words))
            yield words[:end]


def planned(page: str, program: str) -> Iterator[list[str]]:
    """The commands of paragraphs that say that they are not built yet."""
    for text in paragraphs(page):
        if PLANNED in text:
            yield from (shlex.split(span)[1:] for span in spans(text) if span.startswith(f"{program} "))


# --- commands ---------------------------------------------------------------------------------------------------------


def stub(callback: Callable[..., Any]) -> Callable[..., None]:
    """Takes the same arguments, so that typer parses for it as for the original, and does nothing."""

    @wraps(callback)
    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    return nothing


def apps(app: typer.Typer) -> list[typer.Typer]:
    return [
        app,
        *(one for group in app.registered_groups if group.typer_instance for one in apps(group.typer_instance)),
    ]


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], bool]:
    """Whether a command line parses, verbs, flags and types; nothing is run."""
    for app in apps(cli.app):
        for command in app.registered_commands:
            assert command.callback
            monkeypatch.setattr(command, "callback", stub(command.callback))
    return lambda words: cli.main(words) == 0


def listed(find: Callable[[str, str], Iterator[list[str]]], program: str) -> list[tuple[str, list[str]]]:
    return [(page, words) for page, text in PAGES.items() for words in find(text, program)]


@pytest.mark.parametrize(("page", "words"), listed(commands, "stepwatch"), ids=str)
def test_every_command_parses(parses: Callable[[list[str]], bool], page: str, words: list[str]) -> None:
    assert not words or parses(words)  # the bare name is a name


@pytest.mark.parametrize(("page", "words"), listed(planned, "stepwatch"), ids=str)
def test_what_is_said_to_be_planned_is_not_there(
    parses: Callable[[list[str]], bool], page: str, words: list[str]
) -> None:
    assert not parses(words)


def test_the_readme_shows_every_verb() -> None:
    verbs = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    verbs |= {group.name for group in cli.app.registered_groups if group.name}
    assert verbs == {words[0] for words in commands(PAGES["README.md"], "stepwatch") if words}


@pytest.mark.parametrize(
    "words",
    [
        ["walk"],
        ["run", "quick", "--fast"],
        ["run", "--rounds", "many"],
        ["data", "bring"],
        ["parity", "--device"],
        ["show"],
    ],
    ids=" ".join,
)
def test_a_command_that_is_none_is_seen(parses: Callable[[list[str]], bool], words: list[str]) -> None:
    assert not parses(words)


def test_commands_are_found_wherever_they_stand() -> None:
    block = "```sh\nmake x && stepwatch run a --b 'c d'   # stepwatch not\n```"
    page = f"Try `stepwatch list`.\n\n{block}\n\n`stepwatch z` is not built yet."
    assert list(commands(page, "stepwatch")) == [["run", "a", "--b", "c d"], ["list"]]
    assert list(planned(page, "stepwatch")) == [["z"]]
    assert list(commands(page, "make")) == [["x"]]


def test_every_epilog_is_an_example_that_parses(parses: Callable[[list[str]], bool]) -> None:
    for app in apps(cli.app):
        for command in app.registered_commands:
            assert command.epilog, command.name
            words = shlex.split(command.epilog.removeprefix("Example: "))
            assert words[0] == "stepwatch"
            assert parses(words[1:]), command.epilog


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize(("page", "words"), listed(commands, "make"), ids=str)
def test_every_make_target_and_variable_exists(page: str, words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        name, given, value = word.partition("=")
        if not given:
            assert name in targets(makefile)
            continue
        assert re.search(rf"^{name}\s*\??:?=", makefile, re.MULTILINE), name
        if name == "SUITE":
            assert value in suite.shipped()
        if name == "EXTRAS":
            assert set(value.split(",")) <= extras.keys()


def test_every_suite_extra_workload_and_backend_named_in_a_command_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {*workloads.names(), *(f"{name}+{recipe}" for name in workloads.names() for recipe in RECIPES)}
    known = {"--backend": set(backends.REGISTRY), "--workload": named, "--mode": set(backends.MODES)}
    for page, text in PAGES.items():
        for verb, *words in filter(None, commands(text, "stepwatch")):
            for flag, names in known.items():
                said = {words[i + 1] for i, word in enumerate(words) if word == flag and i + 1 < len(words)}
                assert {name for name in said if name.islower()} <= names, page  # NAME stands for any
            if verb == "run" and words and words[0].islower() and words[0][0] != "-" and not words[0].endswith(".toml"):
                assert words[0] in suite.shipped(), page
        for named in re.findall(r"(?:stepwatch|\.)\[([a-z,-]+)\]", text):
            assert set(named.split(",")) <= extras.keys(), page


# --- files ------------------------------------------------------------------------------------------------------------


def missing(page: str, folder: Path) -> list[str]:
    """The files of the checkout that a page names, between backticks or as a link, and that are not there."""
    named = [span for span in spans(page) if re.fullmatch(r"(bench|suites|docs|tests|results)/[\w./-]*", span)]
    named += [span for span in spans(page) if re.fullmatch(r"[\w-]+\.(md|toml|txt)", span)]
    named += [link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link]
    return sorted({name for name in named if not (folder / name).exists()})


# Files that a reader makes, or that a run does; by page, so that no other page may lack them.
MADE = {
    "README.md": {"prices.toml", "run.json", "table.md"},
    "docs/adding.md": {"prices.toml", "manifest.toml", "pyproject.toml", "bench/workloads/golden/wide.json"},
    "docs/measurement.md": set(),
    "docs/prices.md": {"prices.toml", "manifest.toml"},
    "docs/keras.md": {"table.md"},
    "docs/report.md": {"prices.toml", "table.md"},
    "docs/statuses.md": set(),
    "docs/workloads.md": {"table.md"},
}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    known = MADE.get(page, set())
    beside = [
        name
        for name in missing(PAGES[page], ROOT)
        if name not in known and not (ROOT / page).parent.joinpath(name).exists()
    ]
    assert beside == []


def test_a_file_that_is_not_there_is_seen() -> None:
    page = "See `suites/none.toml`, `bench/case.py` and [this](docs/none.md), and [that](https://example.org/x)."
    assert missing(page, ROOT) == ["docs/none.md", "suites/none.toml"]


# --- columns ----------------------------------------------------------------------------------------------------------


def columns_named(page: str) -> list[str]:
    """The names between backticks in the first cells of the page's table, and in the line of a row's origin."""
    first = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    last = [line for line in page.splitlines() if line.startswith("Of several runs")]
    return [name for cell in (*first, *last) for name in re.findall(r"`(\w+)`", cell)]


def test_every_column_is_explained_once_and_no_other() -> None:
    assert sorted(columns_named(PAGES["docs/columns.md"])) == sorted((*COLUMNS, *ORIGIN))


# --- statuses ---------------------------------------------------------------------------------------------------------


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose first heading is `first`."""
    lines = [line.strip("| ") for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    start = next(i for i, row in enumerate(cells) if row[0] == first)
    width = len(cells[start])
    found = []
    for row in cells[start + 2 :]:
        if len(row) != width or row[0] == "code":
            break
        found.append(row)
    return found


def test_the_statuses_are_those_of_the_table_worst_first() -> None:
    assert tuple(row[0].strip("`") for row in rows(PAGES["docs/statuses.md"], "status")) == status.STATUSES


def test_the_exit_codes_of_the_statuses_are_those_of_the_table() -> None:
    for name, _, _, code, _ in rows(PAGES["docs/statuses.md"], "status"):
        wanted = status.exit_code([name.strip("`")])
        assert code in (str(wanted), "as above"), name
        if code != "as above":
            above = code
        assert above == str(wanted), name


def cited(page: str) -> list[tuple[str, str]]:
    """File and function of every test that a page cites; `::name` belongs to the file named last."""
    found, file = [], ""
    for span in spans(page):
        match = re.fullmatch(r"(test_\w+\.py)?(?:::(test_\w+))?", span)
        if match and any(match.groups()):
            file = match[1] or file
            found.append((file, match[2] or ""))
    return found


def absent(tests: list[tuple[str, str]], folder: Path) -> list[str]:
    """The cited tests that are not in the folder."""
    gone = []
    for file, function in tests:
        path = folder / file
        tree = ast.parse(path.read_text()) if path.is_file() else ast.Module([], [])
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        if not path.is_file() or (function and function not in names):
            gone.append(f"{file}::{function}" if function else file)
    return gone


def test_every_cited_test_exists() -> None:
    tests = [test for page in PAGES.values() for test in cited(page)]
    assert len(tests) >= len(status.STATUSES)
    assert absent(tests, ROOT / "tests") == []


def test_every_status_cites_a_test() -> None:
    assert [row[0] for row in rows(PAGES["docs/statuses.md"], "status") if not cited(row[-1])] == []


def test_a_cited_test_that_is_not_there_is_seen(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_x(): ...")
    tests = cited("`test_a.py::test_x`, `::test_y`, `test_b.py`, `not_a_test.py`")
    assert tests == [("test_a.py", "test_x"), ("test_a.py", "test_y"), ("test_b.py", "")]
    assert absent(tests, tmp_path) == ["test_a.py::test_y", "test_b.py"]


# --- examples ---------------------------------------------------------------------------------------------------------


def test_the_example_of_a_workload_is_found_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks(PAGES["docs/adding.md"], "python")
    (tmp_path / "wide.py").write_text(example)
    monkeypatch.setattr(workloads, "__path__", [*workloads.__path__, str(tmp_path)])
    assert "wide" in workloads.names()
    workload = workloads.get("wide")
    assert isinstance(workload, Workload)
    assert workload.name == "wide"
    assert workload.placed()[-1].leaves == (10,)
    assert workload.description.replace("-", " ").split()[1] in str(workload.layers)  # 4096, as it says of itself


def test_the_examples_of_third_parties_are_those_that_are_tested() -> None:
    folder = ROOT / "tests" / "third_party"
    (entries,) = blocks(PAGES["docs/third-parties.md"], "toml")
    assert entries in (folder / "pyproject.toml").read_text()
    examples = blocks(PAGES["docs/third-parties.md"], "python")
    assert len(examples) == 2
    assert all(example in (folder / "by_hand" / "offers.py").read_text() for example in examples)


def test_the_example_of_a_price_is_read(tmp_path: Path) -> None:
    (example,) = blocks(PAGES["docs/adding.md"], "toml")
    (tmp_path / "prices.toml").write_text(example)
    (price,) = user_file.read(tmp_path / "prices.toml").prices
    found = book.find(price.instance, user=(price,))
    assert found is not None
    assert str(found.usd_per_hour) == "2.10"


def test_the_list_of_formats_is_where_the_page_says() -> None:
    assert "`ONE` in `bench/verbs/report.py`" in PAGES["docs/adding.md"] and "`SEVERAL`" in PAGES["docs/adding.md"]
    assert all(callable(render) for render in (*reporting.ONE.values(), *reporting.SEVERAL.values()))
    (said,) = set(re.findall(r"--format csv\s+# or ([\w, -]+);", PAGES["README.md"]))
    assert {"csv", *said.split(", ")} == set(reporting.FORMATS)


@pytest.mark.parametrize("path", sorted((ROOT / "suites").glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_suite_is_named_after_its_file_and_described(path: Path) -> None:
    found = suite.load(path)
    assert found.name == path.stem
    assert found.description.endswith(".")


def test_readme_shows_the_committed_run_as_it_is_reported_now() -> None:
    report = reporting.text([ROOT / "results/reference/quick-2core"], "markdown", Asked())
    body = report.split("\n\n", 1)[1].replace("\n## ", "\n### ")
    shown = PAGES["README.md"].split("<!-- quick: begin -->\n")[1].split("<!-- quick: end -->")[0]
    assert shown == body, "README's table is stale: put the report of results/reference/quick-2core there"


COMMITTED = [("quick", "report.html", "html")] + [
    (of, name, format)
    for of in ("quick", "keras", "models", "recipes", "input", "search")
    for name, format in (("table.md", "markdown"), ("table.csv", "csv"))
]


@pytest.mark.parametrize(("of", "name", "format"), COMMITTED)
def test_committed_tables_are_what_their_records_give(of: str, name: str, format: str) -> None:
    folder = ROOT / "results/reference" / f"{of}-2core"
    assert (folder / name).read_text() == reporting.text([folder], format, Asked())


def test_the_pictures_show_the_page_as_it_is_made_now() -> None:
    import look_at_page  # the browser's library, which no other test here wants

    kept = (ROOT / "docs/images/report.sha256").read_text().strip()
    assert kept == look_at_page.digest(look_at_page.shown()), (
        "the pictures are stale: python tests/look_at_page.py --pictures docs/images, and look at them"
    )


def test_the_tree_names_every_room() -> None:
    named = set(spans(PAGES["docs/tree.md"]))
    rooms = {path.name for path in (ROOT / "bench").glob("*.py")} - {"__init__.py"}
    rooms |= {f"{path.name}/" for path in (ROOT / "bench").iterdir() if (path / "__init__.py").exists()}
    assert rooms - named == set(), "docs/tree.md lacks these"
    gone = (
        {name for name in named if name.endswith(".py")}
        - rooms
        - {"layers.py", "optimiser.py", "loader.py", "device.py", "gradients.py"}
    )
    assert gone == set(), "docs/tree.md names these, which are gone"


TABLES = {
    "keras": ("docs/keras.md", "keras-2core", "What Keras costs"),
    "recipes": ("docs/workloads.md", "recipes-2core", "What recipes cost"),
    "input": ("docs/workloads.md", "input-2core", "What input from the host costs"),
    "search": ("docs/suites.md", "search-2core", "The search for a batch"),
}


@pytest.mark.parametrize(("name", "shown"), TABLES.items())
def test_a_page_shows_the_committed_run_as_it_is_reported_now(name: str, shown: tuple[str, str, str]) -> None:
    page, folder, title = shown
    text = reporting.text([ROOT / "results/reference" / folder], "markdown", Asked())
    assert isinstance(text, str)
    wanted = text.split(f"## {title}\n\n")[1].split("\n\n")[0] + "\n"
    assert PAGES[page].split(f"<!-- {name}: begin -->\n")[1].split(f"<!-- {name}: end -->")[0] == wanted


BLOCKS = {"neighbour": "neighbour-2core/table.md", "selftest": "selftest-2core/table.md"}


@pytest.mark.parametrize(("name", "file"), BLOCKS.items())
def test_the_measurement_page_shows_the_committed_results(name: str, file: str) -> None:
    shown = PAGES["docs/measurement.md"].split(f"<!-- {name}: begin -->\n")[1].split(f"<!-- {name}: end -->")[0]
    body = (ROOT / "results/reference" / file).read_text().split("\n\n", 1)[1]
    assert shown == body, f"docs/measurement.md is stale: put results/reference/{file} there"


def test_the_example_of_a_suite_has_every_key_with_its_default(tmp_path: Path) -> None:
    (example,) = blocks(PAGES["docs/suites.md"], "toml")
    (tmp_path / "mine.toml").write_text(example)
    found = suite.load(tmp_path / "mine.toml")
    (matrix,) = found.matrix
    assert found == suite.Suite(name="mine", description=found.description, matrix=(matrix,))
    assert matrix == suite.Matrix(workload=matrix.workload, backend=matrix.backend)
    for kind in (suite.Suite, suite.Protocol, suite.Matrix):
        for key in set(kind.__struct_fields__) - {"matrix", "protocol"}:
            assert re.search(rf"^{key} = ", example, re.MULTILINE), key


def of_a_gpu(row: Any) -> str:
    """A row of the page's first table, of a row of the report."""
    case = row.case
    text = case.workload == "gpt"
    rate = row.samples_per_second * (256 if text else 1)
    cells = (
        f"{case.workload}, batch {case.batch}{' of 256 characters' if text else ''}, {case.backend} {case.mode}"
        + ("" if text else f", {case.layout.upper()}"),
        digits(row.step_ms),
        ", ".join(map(digits, row.process_ms)),
        f"{digits(rate / 1e6)} M tokens" if text else f"{digits(rate)} images",
        f"{row.utilisation:.1%}".replace("%", " %"),
        f"{row.energy.joules_per_step:.1f}",
        f"{row.energy.watts:.0f}",
        digits(row.peak_memory_mib),
        f"{row.first_step_cold_ms / 1e3:.1f} / {row.first_step_warm_ms / 1e3:.1f}",
        row.status,
    )
    return f"| {' | '.join(cells)} |"


def test_the_page_on_gpus_has_the_numbers_of_its_records() -> None:
    folder = ROOT / "results/reference/gpu-h200/suite"
    found = [of_a_gpu(row) for row in load(folder).report.rows if row.step_ms]
    assert len(found) == 4 and set(found) <= set(PAGES["docs/gpu.md"].splitlines())
    p5en = Asked(instance="p5en.48xlarge")
    assert (folder / "table.md").read_text() == reporting.text([folder], "markdown", p5en)
    # The README's sentence, and the hours and dollars of 90 epochs.
    fastest = max(row.samples_per_second or 0 for row in load(folder).report.rows if row.case.workload == "resnet50")
    hours = 90 * 1_281_167 / fastest / 3600
    offer = book.find("p5en.48xlarge")
    assert offer
    share = hours * float(offer.usd_per_hour) / 8
    for page in ("README.md", "docs/gpu.md"):
        said = " ".join(PAGES[page].split())
        assert f"{digits(fastest)} images" in said and f"{hours:.1f} h" in said and f"{share:.0f} USD" in said, page
