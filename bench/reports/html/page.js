// The page's own script: charts when they come into view, sorting, copying, re-pricing, light and dark.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const announce = (text) => { document.getElementById("announce").textContent = text; };

  // --- light and dark -----------------------------------------------------------------------------------------------

  const wish = matchMedia("(prefers-color-scheme: dark)");
  const toggle = document.getElementById("theme");
  const theme = () => root.dataset.theme || (wish.matches ? "dark" : "light");

  function themed() {
    toggle.setAttribute("aria-pressed", String(theme() === "dark"));
    all(".chart[data-drawn]").forEach(draw);
  }

  toggle.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    themed();
  });
  wish.addEventListener("change", themed);

  // --- numbers as the tables have them: three significant digits, no powers of ten ----------------------------------

  function digits(value) {
    const exponent = Number(value.toPrecision(3).includes("e")
      ? value.toPrecision(3).split("e")[1]
      : Math.floor(Math.log10(Number(value.toPrecision(3)))));
    const rounded = Number(value.toPrecision(3));
    if (rounded >= 100) return rounded.toLocaleString("en-US", { maximumFractionDigits: 0 });
    return rounded.toFixed(Math.min(100, Math.max(0, 2 - exponent)));
  }

  // --- money --------------------------------------------------------------------------------------------------------

  const offered = data.offers.map(() => null);   // the offer chosen for each report, null for a price of one's own
  const hourly = data.offers.map(() => null);    // USD an hour of each report, null where it is not known

  function amount(kind, seconds, report) {
    const usd = hourly[report];
    const offer = offered[report];
    if (usd === null) return null;
    if (kind === "per") return seconds * 3600 / usd;
    if (kind === "share") return offer && offer.count ? usd / offer.count * seconds / 3600 : null;
    if (kind === "billed") {
      if (!offer || offer.unit === null) return null;
      return usd * Math.max(Math.ceil(seconds / offer.unit) * offer.unit, offer.minimum) / 3600;
    }
    return usd * seconds / 3600;
  }

  const priceName = (report) => (offered[report] ? offered[report].name : hourly[report] === null ? "-" : "given");
  // Seconds that a million samples of a row take, which is all that its place among the others depends on.
  const perMillion = (row) => Number(row.querySelector("td[data-kind=whole]").dataset.seconds.split(" ")[0]);
  const reportOf = (row) => Number(row.querySelector("td[data-kind=whole]").dataset.report);
  const cost = (row) => (hourly[reportOf(row)] === null ? Infinity : hourly[reportOf(row)] * perMillion(row));

  // Below which price of an hour a row, the cheapest of its own report, is cheaper than every row of another run.
  function under(cell) {
    const row = cell.parentElement;
    const rows = [...row.parentElement.rows].sort((a, b) => cost(a) - cost(b));
    const run = (other) => other.querySelector("td[data-kind=under]").dataset.seconds;
    const report = reportOf(row);
    const other = rows.find((one) => run(one) !== run(row) && cost(one) < Infinity);
    if (!other || hourly[report] === null) return "-";
    if (rows.some((one) => reportOf(one) === report && perMillion(one) < perMillion(row))) return "-";
    const mark = offered[report] ? offered[report].mark : "";
    return mark + digits(cost(other) / perMillion(row));
  }

  // Cheapest first, as the page was made, unless a reader has sorted the table.
  function resort(table) {
    if (table.querySelector("th[aria-sort]:not([aria-sort=none])")) return;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => (cost(a) === cost(b) ? perMillion(a) - perMillion(b) : cost(a) - cost(b)));
    table.tBodies[0].append(...rows);
  }

  function reprice(report) {
    const offer = offered[report];
    const now = document.querySelector(`.price[data-report="${report}"] .now`);
    if (now) now.textContent = priceName(report);
    for (const cell of all(`td[data-kind=price][data-report="${report}"]`)) {
      cell.textContent = `${cell.dataset.seconds}: ${priceName(report)}`;
    }
    for (const cell of all(`td[data-kind][data-report="${report}"]:not([data-kind=price], [data-kind=under])`)) {
      const found = cell.dataset.seconds.split(" ").map((seconds) => amount(cell.dataset.kind, Number(seconds), report));
      const mark = offer ? offer.mark : "";
      if (found.includes(null)) cell.textContent = "-";
      else cell.textContent = mark + digits(found[0]) + (found.length === 3 ? ` (${digits(found[1])}-${digits(found[2])})` : "");
    }
    all("td[data-kind=under]").forEach((cell) => { cell.textContent = under(cell); });
    all("table[aria-labelledby^=costs-]").forEach(resort);
    for (const key of data.repriced) {
      const chart = document.querySelector(`.chart[data-chart="${key}"]`);
      if (chart) price(chart);
    }
  }

  // Of points in time and money: those that no other beats in both, of those that passed their checks.
  function front(points) {
    const kept = points.filter((point) => point.sound && point.usd !== null);
    const beats = (a, b) => a.us <= b.us && a.usd <= b.usd && (a.us < b.us || a.usd < b.usd);
    for (const point of points) point.best = kept.includes(point) && !kept.some((other) => beats(other, point));
  }

  const pointsOf = (chart) => Object.values(data.charts[chart.dataset.chart].datasets).flat();

  function price(chart) {
    const points = pointsOf(chart);
    for (const point of points) {
      const usd = hourly[point.report];
      const offer = offered[point.report];
      point.usd = usd === null ? null : usd * point.us / 3600;
      point.price = priceName(point.report);
    }
    front(points);
    const several = new Set(points.map((point) => point.price)).size > 1;
    for (const point of points) {  // each of several prices is named once, at its cheapest row
      const same = points.filter((other) => other.price === point.price && other.usd !== null);
      point.label = several && point === same.reduce((a, b) => (b.usd < a.usd ? b : a), same[0]) ? point.price : "";
    }
    chart.setAttribute("aria-label", `Time against money a sample. ${points.map((point) =>
      `${point.name}: ${digits(point.us)} us, ${point.usd === null ? "no known cost" : `${digits(point.usd)} USD a million`}`).join("; ")}.`);
    if (chart.dataset.drawn) draw(chart);
  }

  for (const box of all(".price")) {
    const report = Number(box.dataset.report);
    const offers = data.offers[report];
    const instance = box.querySelector(".instance");
    const models = box.querySelector(".models");
    const field = box.querySelector(".usd");
    const said = box.querySelector(".said");
    const name = (offer) => `${offer.seller}|${offer.what}`;

    function choose(offer) {
      offered[report] = offer;
      hourly[report] = offer ? Number(offer.usd) : null;
      field.value = offer ? offer.usd : field.value;
      if (offer) said.textContent = offer.said;
    }

    function list(offer) {
      models.replaceChildren(...offers.filter((other) => offer && other.model && name(other) === name(offer)).map((other) => {
        const label = document.createElement("label");
        const radio = Object.assign(document.createElement("input"), { type: "radio", name: `model-${report}`, value: other.model });
        radio.checked = other === offer;
        radio.addEventListener("change", () => { choose(other); reprice(report); });
        label.append(radio, other.model.replaceAll("_", " "));
        return label;
      }));
    }

    if (instance) {
      instance.addEventListener("change", () => {
        const sold = offers.filter((offer) => name(offer) === instance.value);
        const offer = sold.find((one) => one.model === "on_demand") || sold[0] || null;
        list(offer);
        if (offer) { choose(offer); reprice(report); } else own();
      });
    }

    function own() {
      const usd = Number(field.value);
      const known = field.value.trim() !== "" && usd >= 0.000001 && usd <= 1000000;
      offered[report] = null;
      hourly[report] = known ? usd : null;
      if (instance) { instance.value = ""; list(null); }
      said.textContent = known ? `Price: ${field.value} USD/h, your own.` : "No price is known.";
      reprice(report);
    }

    field.addEventListener("input", own);
    // What the page was made with stands in its cells already.
    const made = field.getAttribute("value") ? offers[0] : null;
    field.value = field.getAttribute("value");
    if (made && made.model && instance) { instance.value = name(made); list(made); }
    if (made) choose(made);
  }

  // --- charts -------------------------------------------------------------------------------------------------------

  async function draw(chart) {
    chart.dataset.drawn = "yes";
    if (data.repriced.includes(chart.dataset.chart) && pointsOf(chart).every((point) => point.usd === null)) {
      chart.replaceChildren();
      chart.dataset.wait = "Without a price there is nothing to draw.";
      return;
    }
    const turn = chart.turn = (chart.turn || 0) + 1;
    const made = structuredClone(data.charts[chart.dataset.chart]);
    // A wish for another theme or price may come while this one is being drawn: the last one stays.
    const place = document.createElement("div");
    place.style.width = "100%";
    place.setAttribute("aria-hidden", "true");  // the chart itself is an image with a text
    const old = [...chart.children];
    chart.append(place);
    const result = await vegaEmbed(place, made, {
      mode: "vega-lite", renderer: "svg", actions: false, ast: true,
      config: data.themes[theme()], tooltip: { theme: theme() },
    });
    old.forEach((child) => child.remove());
    if (turn !== chart.turn) result.finalize();
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "400px" });
  all(".chart").forEach((chart) => seen.observe(chart));
  addEventListener("beforeprint", () => all(".chart:not([data-drawn])").forEach(draw));

  // --- tables -------------------------------------------------------------------------------------------------------

  const number = (text) => Number.parseFloat(text.replace(/^~/, "").replaceAll(",", ""));

  function sort(heading) {
    const table = heading.closest("table");
    const place = [...heading.parentElement.children].indexOf(heading);
    const rows = [...table.tBodies[0].rows].map((row) => [row, row.cells[place].textContent.trim()]);
    const known = ([, text]) => text !== "-" && !text.startsWith("- /");
    const numeric = rows.filter(known).every(([, text]) => Number.isFinite(number(text)));
    const way = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const order = (a, b) => (numeric ? number(a[1]) - number(b[1]) : a[1].localeCompare(b[1], "en")) * way;
    all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
    const sorted = [...rows.filter(known).sort(order), ...rows.filter((row) => !known(row))];
    table.tBodies[0].append(...sorted.map(([row]) => row));  // what is not known comes last, either way
    announce(`Sorted by ${heading.textContent.trim()}, ${heading.getAttribute("aria-sort")}.`);
  }

  all("thead th").forEach((heading) => heading.querySelector("button").addEventListener("click", () => sort(heading)));

  function markdown(table) {
    const plain = (cell) => cell.textContent.trim().replaceAll("&", "&amp;").replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;").replaceAll("|", "\\|").replace(/\s+/g, " ");
    const lines = [...table.rows].map((row) => `| ${[...row.cells].map(plain).join(" | ")} |`);
    const rule = [...table.tHead.rows[0].cells].map((cell) => (cell.classList.contains("n") ? "---:" : ":---"));
    lines.splice(1, 0, `| ${rule.join(" | ")} |`);
    return `${lines.join("\n")}\n`;
  }

  async function copy(button) {
    const text = markdown(button.closest(".data").querySelector("table"));
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // a page that may not: as before there was a clipboard to ask
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    announce("The table is copied as Markdown.");
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy as Markdown"; }, 2000);
  }

  all(".copy").forEach((button) => button.addEventListener("click", () => copy(button)));
  themed();
})();
