"""JUnit XML, which CI systems show as tests: FAIL is a failure, INVALID an error, INCONCLUSIVE a skipped test."""

import xml.etree.ElementTree as xml

from bench.gate import Verdict
from bench.pairs import Report
from bench.reports.gate.markdown import cells

ELEMENTS = {"FAIL": "failure", "INVALID": "error", "INCONCLUSIVE": "skipped"}


def render(report: Report) -> str:
    verdicts = report.judgement.verdicts
    counts: dict[str, str] = {
        plural: str(sum(ELEMENTS.get(v.word) == element for v in verdicts))
        for plural, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    comparison = report.comparison
    name = f"stepwatch gate {comparison.name}"
    suite = xml.Element(
        "testsuite", {"name": name, "tests": str(len(verdicts)), "timestamp": comparison.started} | counts
    )
    properties = xml.SubElement(suite, "properties")
    for number, difference in enumerate(comparison.differences):
        xml.SubElement(properties, "property", name=f"difference {number + 1}", value=_printable(difference))
    for number, line in enumerate(comparison.left_out):
        xml.SubElement(properties, "property", name=f"left out {number + 1}", value=_printable(line))
    for verdict in verdicts:
        _case(suite, verdict)
    return _document(suite)


def failed(reason: str) -> str:
    """A gate that is INVALID before it has a cell: one test, one error."""
    suite = xml.Element("testsuite", {"name": "stepwatch gate", "tests": "1", "failures": "0", "errors": "1"})
    case = xml.SubElement(suite, "testcase", classname="stepwatch.gate", name="gate")
    xml.SubElement(case, "error", message=_printable(reason))
    return _document(suite)


def _document(suite: xml.Element) -> str:
    root = xml.Element("testsuites")
    root.append(suite)
    xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def _case(suite: xml.Element, verdict: Verdict) -> None:
    case = xml.SubElement(suite, "testcase", classname="stepwatch.gate", name=_printable(verdict.name))
    _, _, ratio, interval, pairs, margin, visible, why = cells(verdict)
    if element := ELEMENTS.get(verdict.word):
        xml.SubElement(case, element, message=_printable(f"{verdict.word}: {verdict.reason}"))
    text = f"ratio {ratio}, 95 % interval {interval}, {pairs} pairs, margin {margin}, visible from {visible}. {why}"
    xml.SubElement(case, "system-out").text = _printable(text)


def _printable(text: str) -> str:
    """Without the control characters that XML 1.0 has no way to write."""
    return "".join(c if c.isprintable() else " " for c in text)
