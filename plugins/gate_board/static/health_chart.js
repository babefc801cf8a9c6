// AUC over AS_OF: realized with its interval, promised as a band of each version, expected before the labels came.

import { badge, h, s, shape } from "./parts.js";
import { BOTTOM, grid, LEFT, picture, RIGHT, scaleOf, TOP } from "./plots.js";
import { inLine, shapeOf, VERDICTS, verdictBadge } from "./health_words.js";

const HEIGHT = 320, NARROWEST = 26, LABEL = 78, CHANCE = 0.5;

// dates: newest first, as in the answer of the server.
export function drawHistory(dates, floor, width) {
  const fit = Math.max(Math.floor((width - LEFT - RIGHT) / NARROWEST), 1);
  // Daily lists wait for labels for weeks: they may not displace what is known.
  const waiting = dates.filter((each) => !each.figures.length).slice(0, Math.max(fit >> 2, 1));
  const shown = dates.filter((each) => each.figures.length || waiting.includes(each)).slice(0, fit).reverse().map(slotOf);
  const scale = scaleOf(...rangeOf(shown, floor), HEIGHT);
  const slot = (width - LEFT - RIGHT) / shown.length;
  const every = Math.ceil(LABEL / slot);
  const middle = (i) => LEFT + (i + 0.5) * slot;
  return [
    picture(labelOf(shown), width, [
      s("text", { x: 0, y: 12, class: "strong" }, "AUC"),
      grid(scale, width, (tick) => tick.toFixed(2)),
      shown.map((each, i) => s("g", { class: "slot" }, s("title", null, wordsOf(each)),
        s("rect", { class: "hit", x: middle(i) - slot / 2 + 1, width: Math.max(slot - 2, 1), y: TOP - 4, height: HEIGHT - TOP - BOTTOM + 8, rx: 4 }))),
      limit(CHANCE, "chance", scale, width), limit(floor, "floor", scale, width),
      spansOf(shown).map((each) => promised(each, slot, scale)),
      shown.map((each, i) => s("g", { "pointer-events": "none" }, points(each, middle(i), slot, scale),
        (shown.length - 1 - i) % every === 0 && s("text", { x: Math.max(Math.min(middle(i), width - LABEL / 2 + 8), LABEL / 2), y: HEIGHT - 18, "text-anchor": "middle" }, each.as_of))),
      s("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, "AS_OF"),
    ], HEIGHT),
    shown.length < dates.length && h("p", { class: "quiet" }, `The newest ${shown.length} of ${dates.length} dates; the table has all of them.`),
  ];
}

export const legend = () => [
  VERDICTS.filter((each) => each !== "too few rows").map(verdictBadge),
  verdictBadge("too few rows"),
  h("span", { class: "key" }, "filled: the list; hollow: the version that was answering; whiskers: 95 % interval"),
  key(s("path", { class: "band", d: "M-13 -6H13V6H-13Z" }), s("path", { class: "promised", d: "M-13 0H13" }), "promised at training"),
  badge("EXPECTED", "expected before labels came; pale: not to be believed"),
];

export const key = (...parts) => h("span", { class: "key plot" },
  s("svg", { width: 28, height: 14, viewBox: "-14 -7 28 14", "aria-hidden": "true" }, parts.slice(0, -1)), parts.at(-1));

// What a date puts into the chart: the figures that decide, the version of its list, and what was expected of it.
function slotOf({ as_of, figures, expected }) {
  const deciding = figures.filter((each) => each.decides);
  const list = deciding.find((each) => each.source === "list");
  return { as_of, deciding, expected, list, version: list?.model_version ?? expected?.model_version ?? null };
}

function rangeOf(shown, floor) {
  const found = shown.flatMap(({ deciding, expected }) => [
    ...deciding.flatMap((each) => [each.auc_low, each.auc_high, each.promised_low, each.promised_high]), expected?.low, expected?.high]);
  const known = found.filter((each) => each !== null && each !== undefined);
  return [Math.max(Math.min(CHANCE, ...known), 0), Math.min(Math.max(floor + 0.05, ...known), 1)];
}

// Neighbouring dates whose lists are of one version.
function spansOf(shown) {
  const spans = [];
  shown.forEach(({ version, list }, i) => {
    const last = spans.at(-1);
    if (last && last.version === version) [last.end, last.promise] = [i + 1, last.promise ?? list];
    else spans.push({ version, begin: i, end: i + 1, promise: list });
  });
  return spans.filter((each) => each.version !== null);
}

function promised({ version, begin, end, promise }, slot, { y }) {
  const [from, to] = [LEFT + begin * slot, LEFT + end * slot], has = promise && promise.promised_auc !== null;
  return [
    has && s("rect", { class: "band", x: from + 2, width: Math.max(to - from - 4, 1), y: y(promise.promised_high),
      height: Math.max(y(promise.promised_low) - y(promise.promised_high), 1) }),
    has && s("line", { class: "promised", x1: from + 2, x2: to - 2, y1: y(promise.promised_auc), y2: y(promise.promised_auc) }),
    begin > 0 && s("line", { class: "change", x1: from, x2: from, y1: TOP - 8, y2: HEIGHT - BOTTOM }),
    s("text", { x: from + 6, y: 12, class: "strong" }, to - from < 66 ? `v${version}` : `version ${version}`),
  ];
}

function limit(value, name, { y }, width) {
  return [
    s("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
    s("text", { x: width - RIGHT - 2, y: y(value) - 4, "text-anchor": "end" }, `${name} ${value.toFixed(2)}`),
  ];
}

function points({ deciding, expected }, middle, slot, scale) {
  const apart = Math.min(slot / 4, 14);
  const answering = deciding.filter((each) => each.source !== "list");
  return [
    expected && expected.auc !== null && s("g", { class: `mark hollow EXPECTED${expected.believed ? "" : " doubtful"}` },
      whisker("open", expected.low, expected.high, middle - apart, scale), at(middle - apart, scale.y(expected.auc), shape("EXPECTED"))),
    deciding.filter((each) => each.source === "list").map((each) => realized(each, middle, "", scale)),
    answering.map((each) => [
      each.promised_auc !== null && s("line", { class: "promised", x1: middle + apart - 8, x2: middle + apart + 8, y1: scale.y(each.promised_auc), y2: scale.y(each.promised_auc) }),
      realized(each, middle + apart, " hollow", scale)]),
  ];
}

const realized = (each, x, kind, scale) => each.auc !== null && s("g", { class: `mark ${shapeOf(each.verdict)}${kind}`, "data-verdict": each.verdict },
  whisker(null, each.auc_low, each.auc_high, x, scale), at(x, scale.y(each.auc), shape(shapeOf(each.verdict))));

const at = (x, y, part) => s("g", { transform: `translate(${x} ${y})` }, part);

const whisker = (kind, low, high, x, { y }) => {
  const [top, bottom] = [y(Math.min(high, 1)), y(Math.max(low, 0))];
  return [s("path", { class: kind, d: `M${x} ${bottom}V${top}` }), s("path", { d: `M${x - 3} ${top}H${x + 3}M${x - 3} ${bottom}H${x + 3}` })];
};

const wordsOf = ({ as_of, deciding, expected }) => [as_of,
  ...deciding.map((each) => `version ${each.model_version} (${each.source}): ${each.verdict}, AUC ${inLine(each.auc, each.auc_low, each.auc_high)}, ` +
    `promised ${inLine(each.promised_auc, each.promised_low, each.promised_high)}`),
  ...(expected ? [`expected of version ${expected.model_version}: AUC ${inLine(expected.auc, expected.low, expected.high)}${expected.believed ? "" : ", not to be believed"}`] : []),
].join("\n");

function labelOf(shown) {
  const newest = shown.at(-1);
  return `AUC of ${shown.length} ${shown.length === 1 ? "date" : "dates"}, ${shown[0].as_of} to ${newest.as_of}. The newest: ` +
    `${wordsOf(newest).split("\n").join("; ")}. The table below has the same figures.`;
}
