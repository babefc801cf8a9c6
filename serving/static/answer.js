// The answer about one customer: the decision, the probability against the threshold, the model, and what moved it.

import { ago, h, id, NO_VALUE, percent, percents, s, value, words } from "./parts.js";

const SHAPES = { leave: "M0 -6L6 5H-6Z", stay: "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z" };

// What to show: {title, news, parts}.
export function drawAnswer(answer) {
  const { prediction, churn_probability: probability, threshold, model } = answer;
  if (![probability, threshold].every(Number.isFinite)) throw new TypeError("an answer without a probability");
  const [p, t] = percents(probability, threshold).map(percent);
  const decision = prediction === 1 ? "leave" : "stay";
  const against = `${prediction === 1 ? "at or above" : "below"} the threshold of ${t}`;
  return {
    title: ["Customer ", id(answer.user_id)],
    news: `Will ${decision}: the probability of leaving is ${p}, ${against}.`,
    parts: [
      h("p", { class: `verdict ${decision}` },
        s("svg", { width: 20, height: 20, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, s("path", { d: SHAPES[decision] })),
        h("strong", null, `Will ${decision}`)),
      h("p", null, "The probability of leaving is ", h("strong", { class: "number" }, p), `, ${against}.`),
      meter(probability, threshold, p, t, decision),
      h("dl", { class: "facts" },
        fact("Model", `version ${model.version}`, model.name),
        fact("AS_OF of the model", model.as_of, ago(model.as_of)),
        fact("AS_OF of the features", answer.features_as_of, ago(answer.features_as_of))),
      features(answer.features_used, answer.explanation),
    ],
  };
}

const fact = (name, what, note) => h("div", null, h("dt", null, name), h("dd", null, what, h("small", null, note)));

function meter(probability, threshold, p, t, decision) {
  const at = `${Math.min(Math.max(threshold, 0), 1) * 100}%`;
  const anchor = threshold < 0.2 ? "start" : threshold > 0.8 ? "end" : "middle";
  return h("div", {
    role: "meter", class: `meter ${decision}`, "aria-label": "Probability of leaving", "aria-valuemin": "0", "aria-valuemax": "100",
    "aria-valuenow": parseFloat(p), "aria-valuetext": `${p}, threshold ${t}`,
  }, s("svg", { width: "100%", height: 58, "aria-hidden": "true" },
    s("text", { x: at, y: 12, "text-anchor": anchor, class: "threshold" }, `threshold ${t}`),
    s("rect", { class: "track", y: 20, width: "100%", height: 16, rx: 4 }),
    s("rect", { class: "filled", y: 20, width: `${probability * 100}%`, height: 16, rx: 4 }),
    s("line", { class: "halo", x1: at, x2: at, y1: 16, y2: 40 }),
    s("line", { class: "mark", x1: at, x2: at, y1: 16, y2: 40 }),
    s("text", { x: "0", y: 54 }, "0 %"),
    s("text", { x: "50%", y: 54, "text-anchor": "middle" }, "50 %"),
    s("text", { x: "100%", y: 54, "text-anchor": "end" }, "100 %")));
}

// The features that moved the probability come first, the most first; then those of which no effect is told.
function features(used, explanation) {
  const effects = explanation?.effects ?? [];
  const told = new Set(effects.map((each) => each.feature));
  const rows = [...effects, ...Object.entries(used).filter(([name]) => !told.has(name)).map(([feature, given]) => ({ feature, value: given }))];
  const most = Math.max(...effects.map((each) => Math.abs(each.effect)), Number.MIN_VALUE);
  const title = effects.length ? "What moved it" : "The features";
  return [
    h("h3", null, title),
    effects.length > 0 && h("p", { class: "quiet" },
      "By how many percentage points the probability is higher (+) or lower (−) than it would be, on average, with other customers’ values of that one feature."),
    h("table", null,
      h("caption", { class: "unseen" }, effects.length ? "Features, with what moved the probability most first" : "Features"),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Feature"), h("th", { scope: "col", class: "number" }, "Value"),
        effects.length > 0 && h("th", { scope: "col", class: "effect" }, h("span", { class: "unseen" }, "Percentage points"),
          h("span", { class: "sides", "aria-hidden": "true" }, h("span", null, "◂ towards staying"), h("span", null, "towards leaving ▸"))))),
      h("tbody", null, rows.map((row) => h("tr", null,
        h("th", { scope: "row" }, h("span", { class: "words" }, words(row.feature)), " ", h("code", null, row.feature.split(/(?<=_)/).map((part) => [part, h("wbr")]))),
        h("td", { class: typeof row.value === "string" ? "text" : "number" }, shown(row.value)),
        effects.length > 0 && effect(row.effect, most))))),
    h("p", { class: "quiet" }, effects.length > 0 ? `Method: ${explanation.method}` : "What moved the probability is not told for this version."),
  ];
}

const shown = (given) => value(given) === NO_VALUE ? h("span", { class: "quiet" }, NO_VALUE) : value(given);

function effect(moved, most) {
  if (moved === undefined) return h("td", { class: "effect quiet" }, "not told");
  const points = Math.abs(moved * 100).toFixed(1);
  const sign = points === "0.0" ? "" : moved > 0 ? "+" : "−";
  const width = 50 * Math.abs(moved) / most;
  return h("td", { class: "effect" }, h("div", null,
    s("svg", { width: "100%", height: 16, "aria-hidden": "true" },
      s("rect", { class: moved > 0 ? "leave" : "stay", x: `${moved > 0 ? 50 : 50 - width}%`, y: 2, width: `${width}%`, height: 12, rx: 2 }),
      s("line", { class: "middle", x1: "50%", x2: "50%", y1: 0, y2: 16 })),
    h("span", { class: "number" }, `${sign}${points}`)));
}
