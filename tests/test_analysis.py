"""docs/analysis.md, run from top to bottom in one namespace: each block prints what the page shows beneath it."""

import ast
import contextlib
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

PAGE = (ROOT / "docs/analysis.md").read_text()
CELL = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def cells(page: str) -> list[tuple[str, str]]:
    """The blocks of code, each with what is said to be printed, "" where nothing is."""
    return [(match[1], match[2] or "") for match in CELL.finditer(page)]


def run(code: str, namespace: dict[str, object]) -> str:
    """What a notebook would show: what is printed, then the value of a last line that is an expression."""
    tree = ast.parse(code)
    shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        exec(compile(tree, "analysis.md", "exec"), namespace)
        if isinstance(shown, ast.Expr):
            value = eval(compile(ast.Expression(shown.value), "analysis.md", "eval"), namespace)
            if value is not None:
                print(value)
    return text.getvalue()


def differences(page: str) -> list[str]:
    """Every block whose output is not what the page shows, with what it printed."""
    namespace: dict[str, object] = {}
    with pd.option_context("display.width", 120, "display.max_columns", 20, "display.max_rows", 60):
        found = [(code, wanted, run(code, namespace)) for code, wanted in cells(page)]
    return [f"{code}```\n```text\n{printed}```" for code, wanted, printed in found if lines(printed) != lines(wanted)]


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has the committed runs and nothing else, for what the page writes."""
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_shows_what_it_prints(here: Path) -> None:
    assert len(cells(PAGE)) == PAGE.count("```python") >= 7
    assert differences(PAGE) == []
    assert (here / "steps.svg").read_text().startswith("<svg")


def test_what_is_not_printed_is_seen(here: Path) -> None:
    good = "```python\nx = 1\n```\n\n```python\nprint(x)\nx + 1\n```\n```text\n1\n2\n```\n"
    assert differences(good) == []
    assert differences(good.replace("2\n```", "3\n```")) == ["print(x)\nx + 1\n```\n```text\n1\n2\n```"]
    assert differences("```python\n1\n```\n") == ["1\n```\n```text\n1\n```"]  # shown, and the page does not say what
