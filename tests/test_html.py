"""`report.html`: whole in itself, every row in it, names that stay text, money that is known or a dash."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from test_reports import RECORDS, RUN, report
from test_table import PRICE

from bench.errors import BenchError
from bench.reports import charts, html
from bench.table import Report

BAD = "<script>alert(1)</script>"


def page(*reports: Report) -> str:
    return html.render(reports, [PRICE])


def test_it_asks_no_network() -> None:
    text = page(report())
    assert len(text) < 5 * 2**20
    assert not re.findall(r"<script[^>]+src", text)
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"<(?:img|iframe|link)[^>]+(?:src|href)=\"(?!data:|#)", body)
    assert "default-src 'none'" in text


def test_every_row_is_there() -> None:
    text = page(report())
    for row in report().rows:
        assert row.case.backend in text and row.status in text


def test_names_stay_text() -> None:
    named = replace(RUN, suite=replace(RUN.suite, name=BAD))
    text = page(report(run=named), report(price=replace(PRICE, instance=BAD)))
    assert BAD not in text and "&lt;script&gt;alert(1)" in text


def test_without_a_price_there_is_a_page_all_the_same() -> None:
    assert "<h1" in html.render([report(price=None)], [])


def test_the_same_records_give_the_same_page() -> None:
    assert page(report()) == page(report(list(reversed(RECORDS))))


@pytest.mark.parametrize("name", ["step", "first", "cost"])
def test_a_plot_alone(name: str) -> None:
    assert charts.render_svg([report()], name).startswith("<svg")
    assert charts.render_png([report()], name).startswith(b"\x89PNG")


def test_a_plot_is_the_same_whatever_was_drawn_before() -> None:
    first = charts.render_svg([report()], "step")
    assert "clip1" in first
    charts.render_svg([report()], "cost")
    assert charts.render_svg([report()], "step") == first


def test_a_plot_of_nothing_is_refused() -> None:
    with pytest.raises(BenchError, match="it has one batch size"):
        charts.render_svg([report()], "batch")


def test_the_script_of_every_page_is_kept_and_made_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes over a second. A home that cannot be written has its pages all the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    html.bundle.cache_clear()
    first = html.bundle()
    (kept,) = (tmp_path / "stepwatch" / "pages").iterdir()
    assert kept.read_text(encoding="utf-8") == first and kept.name.startswith("vega-")
    html.bundle.cache_clear()
    monkeypatch.setattr(html.vl_convert, "javascript_bundle", lambda _: "made again")
    assert html.bundle() == first
    for broken in ("", "</script><p>"):  # as a full disk leaves it, or a page that somebody has put there
        kept.write_text(broken, encoding="utf-8")
        html.bundle.cache_clear()
        assert html.bundle() == kept.read_text(encoding="utf-8") == "made again"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    html.bundle.cache_clear()
    assert html.bundle() == "made again"
    html.bundle.cache_clear()
