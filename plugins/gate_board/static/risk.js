// The page "At risk": one list at a time, chosen by AS_OF. Its figures are read once, its customers a page at a time.

import { at, problem, put, read } from "./page.js";
import { h } from "./parts.js";
import { count, drawDepth, drawDistribution, drawProfit, drawQuality, drawRows, drawSummary } from "./risk_sections.js";

const PAGE = 25, AGAIN = 700, EVERY = 30_000, TYPING = 250;
const FIGURES = ["cost", "success", "margin"];

let lists = [], named = false, chosen = null, data = null, opening = null, failed = false;
let sort = "rank", starts = [0], asking = null;

const address = () => `api/scores/${chosen.as_of}/${chosen.revision}`;
const depth = () => Number(at("depth").value);
const roomIn = (element) => Math.max(Math.floor(element.clientWidth), 280);

// The lists, again and again while the page is visible: another AS_OF, or another revision of this one.
async function keepUp() {
  if (document.visibilityState !== "visible") return;
  try {
    const found = await read("api/scores");
    problem(null);
    [lists, named] = [found.lists, found.may_see_customers];
    pick();
  } catch (error) {
    problem(`${error.message}${data ? " This page may be out of date." : ""}`);
    at("status").textContent = "retrying";
  }
}

function pick() {
  at("picker").hidden = !lists.length;
  const names = lists.map((each) => each.as_of);
  if (names.join() !== [...at("as-of").options].map((each) => each.value).join()) {
    at("as-of").replaceChildren(...names.map((name) => h("option", { value: name }, name)));
  }
  if (!lists.length) {
    at("status").textContent = "There is no list yet. The DAG churn_score writes one at the end of each AS_OF.";
    return;
  }
  const wanted = location.hash.slice(1);
  const list = lists.find((each) => each.as_of === wanted) ?? lists[0];
  at("as-of").value = list.as_of;
  at("status").textContent = list.as_of === wanted || !wanted ? "" : `There is no list of ${wanted}; this is the newest.`;
  if (list.as_of === chosen?.as_of && list.revision === chosen?.revision && !failed) return;
  if (list.as_of === chosen?.as_of && !failed) at("news").textContent = `Revision ${list.revision} of the list is shown.`;
  chosen = list;
  open();
}

async function open() {
  opening?.abort();
  const own = opening = new AbortController();
  [data, failed] = [null, false];
  [starts, sort] = [[0], "rank"];
  at("search").value = "";
  for (const id of ["depth-section", "quality", "distribution"]) at(id).hidden = true;
  at("customers").hidden = false;
  at("customers-shown").hidden = !named;
  at("customers-hidden").hidden = named;
  if (named) showCustomers();
  try {
    do {
      data = await read(address(), own.signal);
      put("summary", drawSummary(data));
      if (!data.curves) await new Promise((done) => setTimeout(done, AGAIN));
    } while (!data.curves && !own.signal.aborted);
    if (own.signal.aborted) return;
    at("depth-section").hidden = !data.run.rows;
    if (data.run.rows) drawAll();
  } catch (error) {
    if (own.signal.aborted) return;
    failed = true;
    problem(`${error.message} This page asks again.`);
  }
}

function drawAll() {
  drawAtDepth();
  at("distribution").hidden = false;
  put("distribution", drawDistribution(data, halfOf("distribution")));
}

// Half of a section where two plots stand side by side, all of it where they do not.
function halfOf(id) {
  const room = at(id).clientWidth - 34;
  return Math.max(room >= 2 * 340 + 32 ? Math.floor((room - 32) / 2) : room, 280);
}

function drawAtDepth() {
  const focused = document.activeElement?.id;
  at("depth-said").textContent = `${depth()} %`;
  put("depth-facts", drawDepth(data.curves, depth(), named && `${address()}/contacts.csv?depth=${depth()}`));
  put("profit", drawProfit(data.curves, depth(), figures(), goTo, roomIn(at("profit"))));
  at("quality").hidden = false;
  put("quality", drawQuality(data, depth(), halfOf("quality")));
  if (focused && document.activeElement?.id !== focused) (at(focused) ?? at("depth")).focus({ preventScroll: true });
}

function goTo(wanted) {
  at("depth").value = wanted;
  drawAtDepth();
}

// What the reader typed in; null until all three are there and right.
function figures() {
  const fields = FIGURES.map(at);
  if (fields.some((field) => field.value === "" || !field.checkValidity())) return null;
  const [cost, success, margin] = fields.map((field) => Number(field.value));
  return { cost, success: success / 100, margin };
}

async function showCustomers() {
  asking?.abort();
  const own = asking = new AbortController();
  at("rows").setAttribute("aria-busy", "true");
  try {
    const asked = new URLSearchParams({ search: at("search").value.trim(), sort, after: starts.at(-1), limit: PAGE });
    const found = await read(`${address()}/customers?${asked}`, own.signal);
    if (own.signal.aborted) return;
    drawCustomers(found);
  } catch (error) {
    if (own.signal.aborted) return;
    put("rows", [h("p", { class: "problem" }, error.message)]);
  }
  at("rows").removeAttribute("aria-busy");
}

function drawCustomers({ customers, matches, next }) {
  const focused = document.activeElement?.id;
  const begin = (starts.length - 1) * PAGE, all = matches ?? chosen.rows;
  put("rows", drawRows(customers, sort, sortBy));
  at("place").textContent = customers.length ? `${count(begin + 1)} to ${count(begin + customers.length)} of ${count(all)}` : "";
  at("matches").textContent = matches === null ? "" : `${count(matches)} ${matches === 1 ? "customer" : "customers"}`;
  at("first").disabled = at("previous").disabled = starts.length === 1;
  at("next").disabled = next === null;
  at("next").onclick = () => { starts.push(next); showCustomers(); };
  // A button that is now disabled would lose the keyboard's place.
  if (focused && (document.activeElement?.id !== focused || at(focused).disabled)) {
    (at(focused)?.disabled ? at(focused === "next" ? "previous" : "next") : at(focused))?.focus({ preventScroll: true });
  }
}

function again() {
  starts = [0];
  showCustomers();
}

function sortBy(name) {
  sort = name;
  again();
}

function remembered(change) {
  // Without storage the reader types them again.
  try { return change(window.localStorage); } catch { return null; }
}

let typing = null;
at("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(again, TYPING);
});
at("first").addEventListener("click", again);
at("previous").addEventListener("click", () => { starts.pop(); showCustomers(); });
at("as-of").addEventListener("change", () => { location.hash = at("as-of").value; });
at("depth").addEventListener("input", drawAtDepth);
at("assumptions").addEventListener("submit", (event) => event.preventDefault());
for (const name of FIGURES) {
  at(name).value = remembered((storage) => storage.getItem(`at-risk.${name}`)) ?? "";
  at(name).addEventListener("input", () => {
    remembered((storage) => storage.setItem(`at-risk.${name}`, at(name).value));
    if (data?.curves) drawAtDepth();
  });
}
window.addEventListener("hashchange", pick);
document.addEventListener("visibilitychange", keepUp);
let drawnAt = 0;
new ResizeObserver(() => {
  const width = document.body.clientWidth;
  if (width !== drawnAt && data?.curves && data.run.rows) drawAll();
  drawnAt = width;
}).observe(document.body);
(async function forever() {
  await keepUp();
  setTimeout(forever, EVERY);
})();
