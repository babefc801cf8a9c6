// The page Health. While it is visible it reads again and again, and is drawn anew when something changed.

import { drawHistory, legend } from "./health_chart.js";
import { drawDrift } from "./health_drift.js";
import { drawDates, drawHeadline, drawHint, drawVersions } from "./health_sections.js";
import { at, problem, put, read } from "./page.js";

const EVERY = 30_000, SOON = 3_000;

let data = null, asking = false, drawnAt = 0;
const details = new Map();

async function keepUp() {
  if (asking || document.visibilityState !== "visible") return;
  asking = true;
  try {
    const fresh = await read("api/health");
    problem(null);
    if (JSON.stringify(fresh) !== JSON.stringify(data)) show(fresh);
    at("status").textContent = "";
  } catch (error) {
    problem(`${error.message}${data ? " This page may be out of date." : ""}`);
    at("status").textContent = "retrying";
  }
  asking = false;
}

function show(fresh) {
  const before = data;
  data = fresh;
  put("headline", drawHeadline(data));
  put("hint", drawHint(data.dates));
  put("drift", drawDrift(data.drift));
  put("versions", drawVersions(data.versions));
  drawChart();
  drawTable();
  if (!before) return openFromAddress();
  for (const as_of of details.keys()) readDetail(as_of);
  if (data.verdict && data.verdict.verdict !== before.verdict?.verdict) {
    at("news").textContent = `Version ${data.verdict.model_version} in Production is ${data.verdict.verdict}`;
  }
}

function drawChart() {
  const drawn = data.dates.some((each) => each.figures.length || each.expected);
  at("history").hidden = !drawn;
  drawnAt = document.body.clientWidth;
  if (drawn) put("chart", drawHistory(data.dates, data.floor, Math.max(at("chart").clientWidth, 280)));
}

function drawTable() {
  const focused = document.activeElement?.id;
  put("dates", drawDates(data.dates, details, toggle));
  if (focused?.startsWith("open-")) at(focused)?.focus({ preventScroll: true });
}

function toggle(as_of) {
  if (details.delete(as_of)) return drawTable();
  details.set(as_of, null);
  drawTable();
  return readDetail(as_of);
}

async function readDetail(as_of) {
  const found = await read(`api/health/${as_of}`).catch((error) => ({ problem: error.message }));
  if (!details.has(as_of)) return;
  details.set(as_of, found);
  drawTable();
}

function openFromAddress() {
  const wanted = location.hash.slice(1);
  if (!details.has(wanted) && data.dates.some((each) => each.as_of === wanted && each.revisions)) toggle(wanted);
  at(`date-${wanted}`)?.scrollIntoView({ block: "nearest" });
}

at("legend").append(...legend().flat());
window.addEventListener("hashchange", openFromAddress);
document.addEventListener("visibilitychange", keepUp);
new ResizeObserver(() => {
  if (data && document.body.clientWidth !== drawnAt) drawChart();
}).observe(document.body);
(async function forever() {
  await keepUp();
  setTimeout(forever, data?.registry_problem ? SOON : EVERY);
})();
