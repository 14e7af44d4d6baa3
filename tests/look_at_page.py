"""README's pictures of a report's page, and how soon the page of a full CPU suite can be used, in headless Chromium.

`python tests/look_at_page.py --pictures docs/images --out results/reference/report-2core`.
"""

import argparse
import hashlib
import random
import shutil
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from msgspec.structs import replace
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from test_table import ceiling, pilot, proof, run_of, sample  # noqa: E402

from bench import machine, run, suite, table  # noqa: E402
from bench.prices import book  # noqa: E402
from bench.prices.asked import Asked  # noqa: E402
from bench.records import Record, latest  # noqa: E402
from bench.reports import html  # noqa: E402
from bench.suite import Filters  # noqa: E402
from bench.table import Report  # noqa: E402
from bench.verbs import report as reporting  # noqa: E402

SHOWN = ROOT / "results/reference/quick-2core"
INSTANCE = "m5.4xlarge"
LOADS = 7
# In the page: when all charts in view are drawn, a heading is pressed; `ready` is the frame after its table is sorted.
WATCH = """
addEventListener("load", () => {
  const inView = (e) => e.getBoundingClientRect().top < innerHeight;
  const look = () => {
    if (![...document.querySelectorAll(".chart")].filter(inView).every((chart) => chart.querySelector("svg")))
      return requestAnimationFrame(look);
    const drawn = performance.now();
    document.querySelector("thead th button").click();
    requestAnimationFrame(() => requestAnimationFrame(() => { window.ready = [drawn, performance.now()]; }));
  };
  look();
});
"""


def shown() -> str:
    """The page that the pictures show."""
    return html.render(reporting.reports([SHOWN], Asked(instance=INSTANCE)), book.bundled())


def digest(page: str) -> str:
    """What tells a stale picture: of everything but Vega's own scripts, which another version draws alike."""
    return hashlib.sha256(page.replace(html.bundle(), "").encode()).hexdigest()


def pictures(browser: Browser, folder: Path) -> None:
    path = folder / "report.html"
    page = shown()
    path.write_text(page, encoding="utf-8")
    views = {"light": (1200, 1560, "body"), "dark": (1200, 1000, "#money"), "phone": (375, 1200, "#fastest")}
    for name, (width, height, at) in views.items():
        scheme = "dark" if name == "dark" else "light"
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            device_scale_factor=1.5,
            reduced_motion="reduce",
        )
        tab = context.new_page()
        tab.goto(path.resolve().as_uri())
        for chart in tab.locator(".chart").all():
            chart.scroll_into_view_if_needed()
            chart.locator("svg").wait_for()
        tab.locator(at).evaluate("element => element.scrollIntoView()")
        tab.screenshot(path=folder / f"report-{name}.png")
        context.close()
    path.unlink()
    (folder / "report.sha256").write_text(f"{digest(page)}\n")


def full() -> Report:
    """A made-up run of the suite `cpu` on this machine: every case that is measured there, six rounds."""
    here = machine.read()
    planned = suite.plan(suite.load(suite.find("cpu")), here, Filters())
    cases = [one.case for one in planned if not one.status]
    draw, records = random.Random(1), list[Record]()
    records += [proof(case) for case in {case.worker: case for case in cases}.values()]
    records += [ceiling(case) for case in {(case.backend, case.mode): case for case in cases}.values()]
    for case in cases:
        level = case.batch * draw.lognormvariate(-3, 0.5)
        records.append(pilot(case, cold=draw.lognormvariate(0, 1)))
        bursts = [[level * draw.lognormvariate(0, 0.02) for _ in range(20)] for _ in range(6)]
        records += [sample(case, number, milliseconds) for number, milliseconds in enumerate(bursts)]
    made = run_of(*planned)
    return table.report(replace(made, machine=here), latest(records), book.find(INSTANCE))


def speed(browser: Browser, folder: Path) -> None:
    report = full()
    html.bundle.cache_clear()  # starting vl-convert is part of it
    began = perf_counter()
    page = html.render([report], book.bundled())
    seconds = perf_counter() - began
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    taken: list[tuple[float, float, float]] = []
    for _ in range(LOADS):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        tab = context.new_page()
        tab.add_init_script(WATCH)
        tab.goto(path.resolve().as_uri())
        tab.wait_for_function("window.ready")
        drawn, ready = tab.evaluate("window.ready")
        began = perf_counter()
        for chart in tab.locator(".chart").all():
            chart.scroll_into_view_if_needed()
            chart.locator("svg").wait_for()
        taken.append((drawn / 1e3, ready / 1e3, perf_counter() - began))
        context.close()
    path.unlink()
    here, timed = machine.read(), sum(row.step_ms is not None for row in report.rows)
    first, usable, rest = (median(column) for column in zip(*taken, strict=True))
    (folder / "page.md").write_text(
        "# The page of a full CPU suite\n\n"
        f"A made-up run of the suite `cpu`: {len(report.rows)} rows, {timed} with a time. The page "
        f"is written in {seconds:.1f} s after imports and is {len(page.encode()) / 2**20:.1f} MiB. In headless "
        f"Chromium {browser.version}, medians of {LOADS} loads, from the navigation's start: the charts in view are "
        f"drawn after {first:.2f} s, and a heading pressed then has sorted its table after {usable:.2f} s "
        f"(slowest {max(t[1] for t in taken):.2f} s). Scrolling through all charts drew the rest in {rest:.1f} s.\n\n"
        f"{here.cpu}, {here.cores} cores; commit {run.commit()}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", type=Path)
    told = parser.parse_args()
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        if told.pictures:
            pictures(browser, told.pictures)
        if told.out:
            speed(browser, told.out)
        browser.close()


if __name__ == "__main__":
    main()
