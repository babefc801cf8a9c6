// The gate board. While the page is visible, it polls the mark and reads the board again when the mark changes.

import { drawChart } from "./chart.js";
import { drawDecision, drawPictures } from "./decision.js";
import { at, problem, put, read } from "./page.js";
import { badge, h } from "./parts.js";
import { drawDates, drawDecisions, drawMoves, drawProduction } from "./sections.js";

const EVERY = 10_000, SOON = 3_000;

let data = null, opened = null, showAll = false, asking = false, theirs = null, drawnAt = 0;

async function keepUp() {
  if (asking || document.visibilityState !== "visible") return;
  asking = true;
  try {
    if (!data || (await read("api/mark")).mark !== data.mark) show(await read("api/board"));
    problem(null);
    at("status").textContent = `up to date at ${new Date().toISOString().slice(11, 19)} UTC, refreshes every ${EVERY / 1000} seconds`;
  } catch (error) {
    problem(`${error.message}${data ? " This page may be out of date." : ""}`);
    at("status").textContent = "retrying";
  }
  asking = false;
}

function show(fresh) {
  const before = data;
  data = fresh;
  const differs = (...names) => !before || names.some((name) => JSON.stringify(before[name]) !== JSON.stringify(data[name]));
  const focused = document.activeElement?.id;
  if (differs("production", "pin", "serving", "registry_problem", "today")) put("production", drawProduction(data));
  if (differs("decisions", "decision_count")) drawAllDecisions();
  if (differs("dates", "serving", "production")) put("dates", drawDates(data));
  if (differs("moves")) put("moves", drawMoves(data));
  if (focused) at(focused)?.focus({ preventScroll: true });
  const newest = data.decisions[0];
  if (before && newest && newest.id !== before.decisions[0]?.id) {
    at("news").textContent = `New decision: ${newest.outcome} for AS_OF ${newest.as_of}`;
  }
  if (!before) openFromAddress();
}

function drawAllDecisions() {
  at("timeline").hidden = !data.decisions.length;
  if (data.decisions.length) drawChart(at("chart"), data.decisions, open);
  put("decisions", drawDecisions(data, open, showAll, () => { showAll = true; drawAllDecisions(); at(`open-${data.decisions[0].id}`).focus(); }));
  markOpened();
}

function markOpened() {
  for (const each of document.querySelectorAll("[data-decision]")) {
    if (Number(each.dataset.decision) === opened) each.setAttribute("aria-current", "true");
    else each.removeAttribute("aria-current");
  }
}

async function open(id) {
  theirs = document.activeElement?.id || `open-${id}`;
  opened = id;
  markOpened();
  history.replaceState(null, "", `#decision-${id}`);
  try {
    const found = await read(`api/decisions/${id}`);
    if (opened !== id) return;
    put("decision", drawDecision(found, data?.mlflow_url, close));
    at("decision-title").focus({ preventScroll: true });
    at("decision").scrollIntoView({ block: "nearest" });
    const files = await read(`api/decisions/${id}/files`).catch((error) => ({ files: [], problem: error.message }));
    if (opened === id) drawPictures(id, files);
  } catch (error) {
    if (opened === id) put("decision", [h("p", { class: "problem", id: "decision-title" }, error.message), h("button", { type: "button", onclick: close }, "Close")]);
  }
}

function close() {
  opened = null;
  put("decision", []);
  markOpened();
  history.replaceState(null, "", location.pathname);
  at(theirs)?.focus();
}

function openFromAddress() {
  const id = Number(location.hash.match(/^#decision-(\d+)$/)?.[1]);
  if (id && id !== opened) open(id);
}

at("legend").append(badge("PROMOTE", "PROMOTE"), badge("KEEP", "KEEP"), badge("INVALID", "INVALID"), badge("PRODUCTION", "Production at that time"),
  h("span", null, "line: 95 % interval · pale: decided again later"));
window.addEventListener("hashchange", openFromAddress);
window.addEventListener("keydown", (event) => { if (event.key === "Escape" && opened !== null) close(); });
document.addEventListener("visibilitychange", keepUp);
new ResizeObserver(() => {
  const width = at("chart").clientWidth;
  if (!data?.decisions.length || width === drawnAt) return;
  drawnAt = width;
  drawChart(at("chart"), data.decisions, open);
  markOpened();
}).observe(at("chart"));
(async function forever() {
  await keepUp();
  setTimeout(forever, data?.registry_problem ? SOON : EVERY);
})();
