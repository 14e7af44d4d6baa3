"""What a gate found, for where people read it: a file a format, each with `render(report) -> str`."""

from collections.abc import Callable

from bench.pairs import Report
from bench.reports.gate import github, json, junit, markdown

FORMATS: dict[str, Callable[[Report], str]] = {
    "markdown": markdown.render,
    "github": github.render,
    "junit": junit.render,
    "json": json.render,
}
