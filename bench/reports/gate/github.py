"""For GitHub Actions: an annotation a failing case, then the table, which belongs into the job's summary too."""

from bench.gate import Verdict
from bench.pairs import Report
from bench.reports.gate import markdown

LEVELS = {"FAIL": "error", "INVALID": "error", "INCONCLUSIVE": "warning"}


def render(report: Report) -> str:
    lines = [annotation(v) for v in report.judgement.verdicts if v.word in LEVELS]
    return "".join(f"{line}\n" for line in lines) + markdown.render(report)


def failed(reason: str) -> str:
    """A gate that came to no verdict at all, where a person looks first."""
    return command("error", "stepwatch gate", reason) + "\n"


def annotation(verdict: Verdict) -> str:
    """The verdict as an annotation; docs.github.com/actions, "Workflow commands"."""
    ratio = "" if verdict.ratio is None else f"{verdict.ratio:.3f} times the base's time over {verdict.pairs} pairs; "
    title = f"{verdict.word}: {verdict.name}"
    return command(LEVELS[verdict.word], title, ratio + verdict.reason)


def command(level: str, title: str, text: str) -> str:
    """One line of a workflow command, escaped."""
    return f"::{level} title={_property(title)}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
