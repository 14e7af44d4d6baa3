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
# Of a gate that came to no verdict: what its readers find in place of a report. A person reads the error itself.
FAILED: dict[str, Callable[[str], str]] = {"github": github.failed, "junit": junit.failed, "json": json.failed}
