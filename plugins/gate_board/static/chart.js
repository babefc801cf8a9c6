// The timeline: a slot for each decision by AS_OF, with the AUC and interval of candidate and Production.

import { around, s, shape, withError } from "./parts.js";

const HEIGHT = 260, TOP = 26, BOTTOM = 34, AXIS = 44;
const NARROW = 30, WIDE = 90, LABEL = 76;

export function drawChart(place, decisions, open) {
  const ordered = [...decisions].sort((a, b) => (a.as_of < b.as_of ? -1 : a.as_of > b.as_of ? 1 : a.id - b.id));
  const last = new Map(ordered.map((each) => [each.as_of, each.id]));
  const room = Math.max(place.clientWidth - AXIS, 200);
  const slot = Math.min(Math.max(room / ordered.length, NARROW), WIDE);
  const width = Math.max(slot * ordered.length, room);
  const scale = scaleOf(ordered);
  const grid = scale.ticks.map((tick) => s("line", { class: "grid", x1: 0, x2: width, y1: scale.y(tick), y2: scale.y(tick) }));
  const axis = s("svg", { class: "axis", width: AXIS, height: HEIGHT, "aria-hidden": "true" },
    s("text", { x: 0, y: TOP - 14 }, "AUC"),
    scale.ticks.map((tick) => s("text", { x: AXIS - 6, y: scale.y(tick) + 4, "text-anchor": "end" }, tick.toFixed(scale.digits))));
  const every = Math.ceil(LABEL / slot);
  const slots = ordered.map((each, i) => slotOf(each, i, slot, scale, last.get(each.as_of) !== each.id,
    i % every === 0 && (i + 0.5) * slot + LABEL / 2 <= width + slot));
  const svg = s("svg", { width, height: HEIGHT, role: "group", "aria-label":
    "Decisions, oldest AS_OF first: arrow keys move, Enter opens" }, grid, slots);
  const scroller = document.createElement("div");
  scroller.className = "slots";
  scroller.append(svg);
  const before = place.querySelector(".slots");
  const position = before && before.scrollLeft + before.clientWidth < before.scrollWidth - 2 ? before.scrollLeft : Infinity;
  place.replaceChildren(axis, scroller);
  scroller.scrollLeft = Math.min(position, width);
  slots.at(-1)?.setAttribute("tabindex", "0");
  listen(svg, slots, open);
}

function scaleOf(decisions) {
  const found = decisions.flatMap((each) => [around(each.candidate_auc, each.candidate_auc_error),
    around(each.production_auc, each.production_auc_error)]).filter(Boolean);
  let low = Math.min(...found.map((each) => each.low)), high = Math.max(...found.map((each) => each.high));
  if (!found.length) [low, high] = [0.5, 1];
  const step = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2].find((each) => (high - low) / each <= 6) ?? 0.2;
  low = Math.max(Math.floor(low / step) * step, 0);
  high = Math.min(Math.ceil(high / step + 0.01) * step, 1);
  const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => low + i * step);
  const y = (auc) => TOP + (1 - (Math.min(Math.max(auc, low), high) - low) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
  return { ticks, y, digits: step < 0.01 ? 3 : 2 };
}

function slotOf(decision, index, width, scale, earlier, labelled) {
  const middle = (index + 0.5) * width, apart = Math.min(width / 4, 9);
  const candidate = around(decision.candidate_auc, decision.candidate_auc_error);
  const production = around(decision.production_auc, decision.production_auc_error);
  const text = `${decision.outcome}: AS_OF ${decision.as_of}, version ${decision.candidate_version}, AUC ${withError(decision.candidate_auc, decision.candidate_auc_error)}; ` +
    (decision.production_version ? `Production, version ${decision.production_version}, ${withError(decision.production_auc, decision.production_auc_error)}` : "nothing in Production") +
    (earlier ? "; decided again later" : "");
  return s("g", { class: earlier ? "slot earlier" : "slot", role: "button", tabindex: "-1", id: `slot-${decision.id}`,
    "data-decision": decision.id, "data-outcome": decision.outcome, "aria-label": text },
    s("title", null, `${text}\n${decision.reason}`),
    s("rect", { class: "hit", x: index * width + 1, y: 1, width: width - 2, height: HEIGHT - BOTTOM + 14 - 2, rx: 4 }),
    production && mark("PRODUCTION", production, middle - apart, scale),
    candidate ? mark(decision.outcome, candidate, middle + apart, scale) : lone(decision.outcome, middle + apart),
    labelled && s("text", { x: Math.max(middle, 32), y: HEIGHT - 6, "text-anchor": "middle" }, decision.as_of));
}

const mark = (name, found, x, { y }) =>
  s("g", { class: `mark ${name}` }, found.sure && s("path", { d: `M${x} ${y(found.low)}V${y(found.high)}` }),
    s("g", { transform: `translate(${x} ${y(found.value)})` }, shape(name)));

// A decision without an AUC is drawn on the axis.
const lone = (name, x) =>
  s("g", { class: `mark ${name}` }, s("g", { transform: `translate(${x} ${HEIGHT - BOTTOM + 2})` }, shape(name)));

function listen(svg, slots, open) {
  const slotAt = (event) => event.target.closest(".slot");
  svg.addEventListener("click", (event) => slotAt(event) && open(Number(slotAt(event).dataset.decision)));
  svg.addEventListener("focusin", (event) => {
    for (const each of slots) each.setAttribute("tabindex", each === slotAt(event) ? "0" : "-1");
  });
  svg.addEventListener("keydown", (event) => {
    const at = slots.indexOf(slotAt(event));
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: slots.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") open(Number(slots[at].dataset.decision));
    else if (to === undefined) return;
    else {
      const target = slots[Math.min(Math.max(to, 0), slots.length - 1)];
      target.focus();
      target.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    event.preventDefault();
  });
}
