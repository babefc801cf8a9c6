// The columns that drifted: their figures, and a picture of the shares of the reference above those of the AS_OF.

import { key } from "./health_chart.js";
import { percent } from "./health_words.js";
import { h, s, table } from "./parts.js";
import { picture } from "./plots.js";

const WIDTH = 348, NAMES = 144, BARS = 92, REFERENCE = 292, HEAD = 20, LINE = 20, LONGEST = 19;

const against = (finding) => finding.reference_as_of ?? "the training data";

export function drawDrift({ compared, findings }) {
  if (!compared) return [];
  // Findings from before distributions were stored have none.
  const drawn = findings.filter((each) => each.distribution);
  return [
    h("h2", { id: "drift-title" }, findings.length ? `Columns of ${compared} that drifted` : `No column of ${compared} drifted`),
    findings.length > 0 && table(
      [["column", "short"], ["finding", "short"], ["against", "short"], ["figures", "long"]],
      findings.map((each) => [each.column_name, each.finding, against(each), each.detail]),
      `The columns of ${compared} that differ from a reference`),
    drawn.length > 0 && [
      h("p", { class: "keys" },
        key(s("path", { class: "then", d: "M-12 -4H12V4H-12Z" }), "share of the rows of the reference"),
        key(s("path", { class: "now", d: "M-12 -4H12V4H-12Z" }), `share of the rows of ${compared}`)),
      h("div", { class: "spreads" }, drawn.map((each) => h("figure", null,
        h("figcaption", null, h("strong", null, each.column_name), ` against ${against(each)}`), spread(each, compared)))),
    ],
    h("p", { class: "quiet" }, "Each AS_OF is held against what its version was trained on and against an earlier AS_OF. Drift never holds a drop; docs/drift.md says how to read the figures."),
  ];
}

// A line for each bin or value; those of other texts and of NULL are set apart.
function spread(finding, compared) {
  const { bins, reference, now, other, nulls } = finding.distribution;
  const lines = [
    ...bins.map((name, i) => ({ name, shares: [reference[i], now[i]] })),
    other && { name: "other values", shares: other, aside: true },
    { name: "NULL", shares: nulls, aside: true },
  ].filter(Boolean);
  const most = Math.max(...lines.flatMap((each) => each.shares));
  const label = `${finding.column_name}, shares of the rows of ${against(finding)} and of ${compared}: ` +
    `${lines.map(wordsOf).join("; ")}.`;
  return picture(label, WIDTH, [
    s("text", { x: REFERENCE, y: 12, "text-anchor": "end" }, "reference"),
    s("text", { x: WIDTH, y: 12, "text-anchor": "end" }, "now"),
    lines.map((each, i) => drawLine(each, HEAD + i * LINE, most)),
  ], HEAD + lines.length * LINE);
}

const wordsOf = ({ name, shares: [before, after] }) => `${name}: ${percent(before)} and ${percent(after)}`;

function drawLine(line, y, most) {
  const { name, shares: [before, after], aside } = line;
  const width = (share) => Math.max((share / most) * BARS, 1);
  return s("g", null, s("title", null, wordsOf(line)),
    s("text", { class: aside && "aside", x: NAMES - 8, y: y + 13, "text-anchor": "end" }, shorter(name)),
    before > 0 && s("rect", { class: "then", x: NAMES + 0.5, y: y + 2.5, width: width(before), height: 6 }),
    after > 0 && s("rect", { class: "now", x: NAMES, y: y + 10, width: width(after) + 1, height: 7 }),
    s("text", { x: REFERENCE, y: y + 13, "text-anchor": "end" }, percent(before)),
    s("text", { class: "strong", x: WIDTH, y: y + 13, "text-anchor": "end" }, percent(after)));
}

const shorter = (name) => name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}…` : name;
