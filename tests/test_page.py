"""`report.html` in real headless Chromium: what is drawn, asked, sorted, copied and re-priced, and who can use it.

What the page's script reckons is held against what Python writes into a page that was made at that price.
"""

import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT, unless
from msgspec.structs import replace
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from test_backends import BROWSER, REQUIRED
from test_reports import RUN, report
from test_table import CASE, PRICE, pilot, proof, rounds_of, run_of

from bench.prices import book
from bench.prices.asked import Asked
from bench.reports import html
from bench.reports.markdown import digits
from bench.table import Report
from bench.verbs import report as reporting

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
WANTED = "chromium is not installed; on Debian: apt-get install chromium"
PHONE, DESK = 375, 1280
PATIENCE = 10_000  # milliseconds until what does not come is given up
BAD = "<script>alert(1)</script>"
QUICK = ROOT / "results/reference/quick-2core"
Open = Callable[..., "Opened"]


class Opened:
    """A page as it was opened, and all that it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))

    def draw_all(self) -> None:
        """Every chart comes into view once, and is waited for."""
        for chart in self.page.locator(".chart").all():
            chart.scroll_into_view_if_needed()
            self.page.locator(f"#{chart.get_attribute('id')}:is(:has(svg), [data-wait])").wait_for()

    def tables(self, of: str) -> dict[str, list[list[str]]]:
        """The texts of the tables whose id begins so."""
        return self.page.evaluate(
            """of => Object.fromEntries([...document.querySelectorAll(`table[aria-labelledby^="${of}"]`)].map(table => [
                table.getAttribute("aria-labelledby"),
                [...table.rows].map(row => [...row.cells].map(cell => cell.textContent.trim()))]))""",
            of,
        )

    @property
    def money(self) -> dict[str, list[list[str]]]:
        """Every table with money in it."""
        return self.tables("costs-") | self.tables("numbers-")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        (pytest.fail if BROWSER in REQUIRED else pytest.skip)(WANTED)
    with sync_playwright() as playwright:
        # Root, which a container is, has no sandbox to be in.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    contexts = []

    def open(text: str, *, width: int = DESK, scheme: Any = "light") -> Opened:
        path = tmp_path / f"report-{len(contexts)}.html"
        path.write_text(text, encoding="utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        contexts[-1].set_default_timeout(PATIENCE)
        made = Opened(contexts[-1].new_page())
        made.page.goto(path.as_uri())
        return made

    yield open
    for context in contexts:
        context.close()


@cache
def quick(instance: str | None = None, model: str | None = None, hourly: str | None = None) -> Report:
    (found,) = reporting.reports([QUICK], Asked(instance=instance, price_model=model, price_per_hour=hourly))
    return found


def page_of(*reports: Report) -> str:
    return html.render(reports, book.bundled())


# --- it is drawn, whole, without the network --------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (PHONE, "dark")])
def test_everything_is_drawn_and_nothing_is_asked(opened: Open, width: int, scheme: str) -> None:
    made = opened(page_of(quick("m5.4xlarge")), width=width, scheme=scheme)
    made.draw_all()
    charts = made.page.locator(".chart")
    assert charts.count() >= 12
    for chart in charts.all():
        assert chart.locator("svg path").count() > 0
    assert made.complaints == []
    assert [url for url in made.asked if not url.startswith(("data:", "blob:"))] == [made.page.url]


@pytest.mark.parametrize("width", [pytest.param(n, marks=unless(n == PHONE)) for n in (PHONE, 768, DESK)])
def test_nothing_is_wider_than_the_window(opened: Open, width: int) -> None:
    made = opened(page_of(quick("m5.4xlarge")), width=width)
    made.draw_all()
    assert made.page.evaluate("document.documentElement.scrollWidth") <= width
    for chart in made.page.locator(".chart svg").all():
        box = chart.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width


def test_names_stay_text(opened: Open) -> None:
    named = replace(RUN, suite=replace(RUN.suite, name=BAD, description=BAD))
    made = opened(html.render([report(run=named), report(price=replace(PRICE, instance=BAD))], [PRICE]))
    made.draw_all()
    assert made.complaints == []
    assert BAD in made.page.locator("h1").inner_text()
    assert made.page.locator("script:text('alert(1)')").count() == 0


# --- light and dark ---------------------------------------------------------------------------------------------------


def ground(made: Opened) -> tuple[float, str]:
    """How bright the ground is (0 to 255), and the colour of a chart's first text."""
    colour = made.page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [float(c) for c in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(channels) / 3, made.page.locator(".chart svg text").first.get_attribute("fill") or ""


def test_it_follows_the_system_and_the_button(opened: Open) -> None:
    text = page_of(quick())
    light, dark = opened(text), opened(text, scheme="dark")
    for made in (light, dark):
        made.draw_all()
    (bright, ink), (dim, chalk) = ground(light), ground(dark)
    assert bright > 200 > 60 > dim and ink != chalk
    button = light.page.get_by_role("button", name="Dark")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    light.page.wait_for_function(
        "chalk => document.querySelector('.chart svg text').getAttribute('fill') === chalk", arg=chalk
    )
    assert ground(light) == (dim, chalk)


# --- re-pricing in the page -------------------------------------------------------------------------------------------


def type_price(made: Opened, usd: str) -> None:
    made.page.get_by_label("USD an hour").first.fill(usd)


@pytest.mark.parametrize(
    "usd",
    [
        pytest.param(n, marks=unless(n in ("3.6", "0.000001")))
        for n in ("3.6", "0.29678", "98.32", "1234.5", "0.000001")
    ],
)
def test_a_typed_price_gives_what_python_gives(opened: Open, usd: str) -> None:
    made, wanted = opened(page_of(quick())), opened(page_of(quick(hourly=usd)))
    before = made.money
    type_price(made, usd)
    assert made.money == wanted.money != before
    row = next(row for row in quick(hourly=usd).rows if row.step_ms)
    cell = Decimal(usd) / 3600 * Decimal(row.step_ms) / row.case.batch * 1000
    assert any(text.startswith(digits(float(cell))) for table in made.money.values() for line in table for text in line)


def test_the_switch_gives_what_python_gives(opened: Open) -> None:
    made = opened(page_of(quick("m5.4xlarge", "on_demand")))
    assert made.page.get_by_role("radio", name="on demand").is_checked()
    made.page.get_by_role("radio", name="spot").check()
    spot = opened(page_of(quick("m5.4xlarge", "spot")))
    assert made.money == spot.money
    assert made.page.locator(".price .said").inner_text() == spot.page.locator(".price .said").inner_text()
    assert made.page.get_by_label("USD an hour").input_value() == str(quick("m5.4xlarge", "spot").price.usd_per_hour)  # type: ignore[union-attr]


def test_an_instance_chosen_in_the_page_gives_what_python_gives(opened: Open) -> None:
    made = opened(page_of(quick()))
    choose = made.page.get_by_label("Instance")
    value = next(
        option.get_attribute("value")
        for option in choose.locator("option").all()
        if "p5.48xlarge, us-east-1" in option.inner_text()
    )
    choose.select_option(value)
    wanted = opened(page_of(quick("p5.48xlarge", "on_demand")))
    assert made.money == wanted.money
    assert "one accelerator's share (95 %)" in made.tables("costs-")["costs-1"][0]


@pytest.mark.parametrize("usd", [pytest.param(n, marks=unless(n == "")) for n in ("", "0", "-3")])
def test_no_price_is_a_dash_everywhere(opened: Open, usd: str) -> None:
    made, never = opened(page_of(quick("m5.4xlarge"))), opened(page_of(quick()))
    type_price(made, usd)
    assert made.money == never.money
    assert made.page.locator(".price .said").inner_text() == "No price is known."
    made.page.locator("#money").scroll_into_view_if_needed()
    made.page.wait_for_function(
        "[...document.querySelectorAll('[data-chart^=cost]')].every(c => !c.querySelector('svg'))"
    )


RING = '[stroke="#808890"]'


def marks(made: Opened, kind: str = "") -> list[str]:
    """Where the marks of the first chart of money are; `RING`: what nobody beats in both time and money."""
    chart = made.page.locator("[data-chart=cost-1]")
    chart.scroll_into_view_if_needed()
    chart.locator("svg").wait_for()
    return [mark.get_attribute("transform") or "" for mark in chart.locator(f"path{kind}[transform]").all()]


def test_the_pareto_line_is_drawn_anew(opened: Open) -> None:
    """The same run twice, at two prices: the dearer is beaten until its price falls under the other's."""
    other = replace(quick(hourly="2"), run=replace(quick().run, started="2026-11-24T00:00:00Z"))
    made = opened(page_of(quick(hourly="1"), other))
    cheaper = opened(
        page_of(quick(hourly="1"), replace(other, price=book.hourly("0.3"), rows=quick(hourly="0.3").rows))
    )
    before = marks(made)
    made.page.get_by_label("USD an hour").nth(1).fill("0.3")
    made.page.wait_for_function("document.querySelectorAll('[data-chart=cost-1] svg').length === 1")
    made.page.wait_for_timeout(500)
    # The ring itself may be in the same corner, around another run's row.
    assert len(marks(made, RING)) >= 1 and marks(made, RING) == marks(cheaper, RING)
    assert marks(made) == marks(cheaper) != before
    assert made.money == cheaper.money
    assert made.page.locator(".price .now").all_inner_texts() == cheaper.page.locator(".price .now").all_inner_texts()


def test_what_is_repriced_is_called_by_its_new_name(opened: Open) -> None:
    """One run at three prices: the cost tables name the price of each row, and stay in order of cost."""
    made = opened(page_of(*(quick(name, "spot") for name in ("m5.4xlarge", "c5.2xlarge", "g6.xlarge"))))
    choose = made.page.get_by_label("Instance").first
    choose.select_option(
        next(o.get_attribute("value") for o in choose.locator("option").all() if "p5.48xlarge, us-e" in o.inner_text())
    )
    wanted = opened(page_of(quick("p5.48xlarge"), quick("c5.2xlarge", "spot"), quick("g6.xlarge", "spot")))
    assert made.money == wanted.money
    names = {line[1] for line in made.tables("costs-")["costs-1"][1:]}
    assert "1: p5.48xlarge on_demand us-east-1" in names and not any("m5.4xlarge" in name for name in names)


def test_no_amount_stays_at_the_old_price(opened: Open) -> None:
    """A row whose compilation is repaid: its remark has steps and seconds, and its dollars stand in the table."""
    slow, quicker = replace(CASE, mode="eager"), replace(CASE, mode="compiled")
    records = [
        proof(slow),
        proof(quicker),
        *rounds_of(slow, *[2.0] * 6),
        pilot(quicker),
        *rounds_of(quicker, *[1.0] * 6)[1:],
    ]
    made = opened(page_of(report(records, run_of(slow, quicker))))
    remark = made.page.locator("#numbers ~ .data .remarks").inner_text()
    assert "repays its compilation" in remark and "USD" not in remark
    assert "USD to break-even" in made.tables("costs-")["costs-1"][0]


# --- tables -----------------------------------------------------------------------------------------------------------


def column(table: Locator, place: int) -> list[str]:
    return [row.locator("th,td").nth(place).inner_text() for row in table.locator("tbody tr").all()]


def test_a_table_is_sorted_by_keyboard(opened: Open) -> None:
    made = opened(page_of(report()))
    table = made.page.locator("table[aria-labelledby=numbers-1]")
    heads = [head.inner_text() for head in table.locator("thead th").all()]
    place = next(i for i, head in enumerate(heads) if head.startswith("step ms"))
    head = table.locator("thead th").nth(place)
    table.locator("tbody").evaluate("body => body.prepend(body.lastElementChild)")
    assert column(table, place)[0] == "-", "what has no number stands somewhere else at first"
    head.locator("button").focus()
    ways = []
    for way in ("ascending", "descending"):
        made.page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == way
        ways.append(column(table, place))
        assert way in made.page.locator("#announce").inner_text()
    known = [[text for text in texts if text != "-"] for texts in ways]
    values = [[float(text.split(" ")[0].replace(",", "")) for text in texts] for texts in known]
    assert values[0] == sorted(values[0]) == values[1][::-1] and len(set(values[0])) > 2
    assert all(texts[len(values[0]) :] == ["-"] * (len(texts) - len(values[0])) for texts in ways)
    assert "-" in ways[0], "what is not known comes last, either way"


def test_a_table_is_copied_as_markdown(opened: Open) -> None:
    made = opened(page_of(report()))
    section = made.page.locator(".data", has=made.page.locator("table[aria-labelledby=numbers-1]"))
    section.get_by_role("button", name="Copy as Markdown").click()
    made.page.get_by_text("The table is copied as Markdown.").wait_for(state="attached")
    made.page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), {id: 'pasted'}))")
    made.page.locator("#pasted").focus()
    made.page.keyboard.press("Control+V")
    lines = made.page.locator("#pasted").input_value().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert cells[0] == made.tables("numbers-")["numbers-1"][0]
    assert cells[2:] == made.tables("numbers-")["numbers-1"][1:]
    assert set(lines[1]) <= set("| :-")


# --- for everyone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "scheme"),
    [pytest.param(w, s, marks=unless((w, s) == (DESK, "light"))) for w in (DESK, PHONE) for s in ("light", "dark")],
)
def test_nothing_that_axe_finds_in_the_way(opened: Open, width: int, scheme: str) -> None:
    made = opened(page_of(quick("m5.4xlarge")), width=width, scheme=scheme)
    made.draw_all()
    found = Axe().run(made.page)
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found.response["violations"]] == []


def test_every_chart_says_its_numbers(opened: Open) -> None:
    made = opened(page_of(quick("m5.4xlarge")))
    made.draw_all()
    for chart in made.page.get_by_role("img").all():
        said = chart.get_attribute("aria-label")
        assert said and any(character.isdigit() for character in said)
    assert made.page.get_by_role("img").count() == made.page.locator(".chart").count()


def test_the_keyboard_begins_with_the_content(opened: Open) -> None:
    made = opened(page_of(quick()))
    made.page.keyboard.press("Tab")
    assert made.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    made.page.keyboard.press("Enter")
    assert made.page.evaluate("document.activeElement.id") == "main"
