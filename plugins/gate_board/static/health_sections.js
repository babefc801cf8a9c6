// The parts of the page Health around its chart: the headline, dates, a date in detail, versions.

import { facts, h, moment, NOTHING, table } from "./parts.js";
import { count, figure, inLine, percent, stacked, verdictBadge } from "./health_words.js";

const SOURCES = { list: "the list", answering: "was answering", api: "the API" };
const isOf = (row, version) => row.model_version === version.version && row.model_run_id === version.run_id;

export function drawHeadline(data) {
  const { production, verdict, registry_problem: problem } = data;
  if (problem) return [h("h2", null, "Which version is in Production is not known"), h("p", { class: "warning" }, problem)];
  if (!production) return [h("h2", null, "Stage Production is empty"), h("p", null, "No version answers, so there is nothing to judge. The verdicts on earlier versions are below.")];
  if (!verdict) return notJudged(data);
  return [
    h("h2", null, `Version ${production.version} in Production is `, verdictBadge(verdict.verdict)),
    verdict.is_alarm && h("p", { class: "problem", id: "advice" }, h("strong", null, "What to do: "), sentence(verdict.advice)),
    facts([
      ["realized AUC", figure(verdict.auc), `95 %: ${figure(verdict.auc_low)} to ${figure(verdict.auc_high)}`],
      ["promised AUC", figure(verdict.promised_auc), verdict.promised_auc === null ? "registered by hand" : `95 %: ${figure(verdict.promised_low)} to ${figure(verdict.promised_high)}`],
      ["judged on AS_OF", verdict.as_of, `labels known at the drop of ${verdict.known_as_of}`],
      ["customers", count(verdict.rows), verdict.arm === "all" ? verdict.basis : `${verdict.arm}, ${verdict.basis}`],
      expectedFact(data),
    ]),
    h("p", { class: "quiet" }, sentence(verdict.reason)),
  ];
}

function notJudged(data) {
  const { version, as_of } = data.production;
  const few = data.dates.flatMap((each) => each.figures).find((each) => each.decides && isOf(each, data.production));
  return [
    h("h2", null, `Version ${version} in Production is not judged yet`),
    h("p", null, few ? `Labels of ${few.as_of} came, and they are too few: ${few.reason}.`
      : "No labels have come for its scores since it was promoted."),
    facts([["version", String(version), as_of && `of AS_OF ${as_of}`], expectedFact(data)]),
  ];
}

// What is expected of the newest list that the version in Production wrote, as long as it is not judged.
function expectedFact({ dates, production }) {
  const date = dates.find((each) => each.expected && isOf(each.expected, production));
  if (!date || date.revision !== null || date.expected.auc === null) return null;
  const { auc, low, high, believed, why } = date.expected;
  return ["expected AUC", figure(auc), [`95 %: ${figure(low)} to ${figure(high)}, of ${date.as_of}`, h("br"),
    believed ? why : h("strong", null, `not to be believed: ${why}`)]];
}

export function drawHint(dates) {
  if (dates.some((each) => each.figures.length)) return [];
  return [
    h("h2", null, "Nothing is judged yet"),
    h("p", null, "Labels say who left, and come later: with a drop after the period that they cover, as labels.csv. " +
      "The DAG churn_outcome then judges each date whose labels came. Nobody has to start it."),
    h("p", null, "If labels should be there: the outcome of the task load in churn_snapshot says how many came for each date and how many matched; " +
      "the log of the task judge in churn_outcome says why a date was not judged."),
  ];
}

const COLUMNS = [
  ["AS_OF"], ["verdict"], ["version", "number"], ["scores, rows"], ["customers", "number"], ["AUC", "number"], ["expected", "number"],
  ["promised", "number"], ["Brier", "number"], ["intercept", "number"], ["mean score", "number"], ["lift", "number"], ["precision", "number"],
];

// details: the dates that are open, each with its detail, null while it is read.
export function drawDates(dates, details, toggle) {
  if (!dates.length) return [];
  return [
    h("h2", { id: "dates-title" }, "By AS_OF"),
    h("div", { class: "scroll" }, h("table", null,
      h("caption", { class: "unseen" }, "Figures of each AS_OF, newest first"),
      h("thead", null, h("tr", null, COLUMNS.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)))),
      dates.map((each) => drawDate(each, details, toggle)))),
    h("p", { class: "quiet" }, "A verdict with a mark decides; the other rows are shown beside it. Intercept above 0: more customers left than the scores say. " +
      "Slope below 1: the scores are too extreme. Lift and capture are of the top decile; precision and recall are at the threshold."),
  ];
}

function drawDate(date, details, toggle) {
  const open = details.has(date.as_of), rows = date.figures.map((each) => drawRow(each, date.expected));
  if (!rows.length) rows.push(drawEmpty(date));
  const name = date.revisions
    ? h("button", { type: "button", class: "link", id: `open-${date.as_of}`, "aria-expanded": String(open), "aria-controls": `detail-${date.as_of}`,
        onclick: () => toggle(date.as_of) }, date.as_of, open ? " ▾" : " ▸")
    : date.as_of;
  const first = h("th", { scope: "rowgroup", rowspan: rows.length }, name,
    date.revision !== null && h("small", null, `labels of ${date.known_as_of}`),
    date.revisions > 1 && h("small", null, `judged ${date.revisions} times`));
  rows[0].prepend(first);
  return h("tbody", { class: "date", id: `date-${date.as_of}` }, rows,
    h("tr", { class: "detail", id: `detail-${date.as_of}`, hidden: !open }, h("td", { colspan: COLUMNS.length },
      open && h("div", { class: "inside" }, drawDetail(date, details.get(date.as_of))))));
}

function drawRow(each, expected) {
  const hasExpected = each.source === "list" && each.arm === "all" && each.basis === expected?.basis && expected.model_version === each.model_version && expected.model_run_id === each.model_run_id;
  return h("tr", null, [
    each.decides ? verdictBadge(each.verdict) : h("span", { class: "quiet" }, each.verdict),
    String(each.model_version),
    [SOURCES[each.source] ?? each.source, " ", h("small", null, each.arm === "all" ? each.basis : `arm ${each.arm}, ${each.basis}`)],
    [count(each.rows), " ", h("small", null, `${count(each.churned)} left`)],
    stacked(each.auc, each.auc_low, each.auc_high),
    hasExpected ? drawExpected(expected) : null,
    stacked(each.promised_auc, each.promised_low, each.promised_high),
    figure(each.brier), below(figure(each.calibration_intercept, 2), "slope", figure(each.calibration_slope, 2)),
    below(percent(each.mean_probability), "churn rate", percent(each.churn_rate)), below(figure(each.lift, 2), "capture", percent(each.capture)),
    below(percent(each.precision), "recall", percent(each.recall)),
  ].map((cell, i) => h("td", { class: COLUMNS[i + 1][1] }, cell ?? NOTHING)));
}

const below = (value, name, other) => [value, " ", h("small", null, `${name} ${other}`)];

const drawExpected = (found) => [stacked(found.auc, found.low, found.high), !found.believed && h("small", { title: found.why }, "not believed")];

// A date without figures: its labels have not come, or every judgement of it is withdrawn.
function drawEmpty({ expected, revisions }) {
  const cells = COLUMNS.slice(1).map(([, kind]) => h("td", { class: kind }, NOTHING));
  cells[0].replaceChildren(h("span", { class: "quiet" }, revisions ? "withdrawn" : "no labels yet"));
  if (expected) {
    cells[1].replaceChildren(String(expected.model_version));
    cells[2].replaceChildren("the list");
    cells[3].replaceChildren(count(expected.rows));
    cells[5].replaceChildren(...[drawExpected(expected)].flat(2).filter(Boolean));
  }
  return h("tr", null, cells);
}

function drawDetail(date, detail) {
  if (!detail) return [h("p", { class: "quiet" }, "Reading …")];
  if (detail.problem) return [h("p", { class: "problem" }, detail.problem)];
  const said = date.figures.filter((each) => each.decides);
  return [
    h("h3", null, "Why"),
    said.map((each) => h("p", null, `Version ${each.model_version} (${SOURCES[each.source] ?? each.source}): `, verdictBadge(each.verdict), ` ${sentence(each.reason)}`)),
    !said.length && h("p", null, date.revision === null ? "Every judgement of this date is withdrawn with its drop." : "No row decides: the version had learned from all of them."),
    date.expected && h("p", null, `Expected before labels came: AUC ${inLine(date.expected.auc, date.expected.low, date.expected.high)}, churn rate ${percent(date.expected.churn_rate)}. ` +
      `${date.expected.believed ? "" : "Not to be believed: "}${sentence(date.expected.why)}`),
    detail.effect && drawEffect(detail.effect),
    detail.parts.length > 0 && [h("h3", null, "By arm and slice"), drawParts(detail.parts)],
    h("h3", null, "Judgements"), drawRevisions(detail.revisions),
  ];
}

const points = (share) => `${(share * 100).toFixed(1)}`;

function drawEffect(found) {
  const rate = (churned, rows) => `${count(churned)} of ${count(rows)}`;
  return [
    h("h3", null, "Campaign"),
    h("p", null, found.effect === null ? "Its effect is not known: an arm has no customers with labels in the top decile." :
      `In the top decile the churn rate of arm treat less that of arm control is ${points(found.effect)} percentage points (95 %: ${points(found.low)} to ${points(found.high)}). ` +
      `Left: ${rate(found.treat_churned, found.treat_rows)} in arm treat, ${rate(found.control_churned, found.control_rows)} in arm control.`,
      ` ${count(found.contacted)} of arm treat were contacted. The control arm alone decides on this date.`),
    found.control_contacted > 0 && h("p", { class: "warning" }, `${count(found.control_contacted)} of arm control were contacted too: the effect is blurred.`),
  ];
}

const drawParts = (parts) => table(
  [["part", "short"], ["version", "number"], ["scores", "short"], ["rows are of", "short"], ["customers", "number"], ["left", "number"], ["AUC (95 %)", "number"],
    ["Brier", "number"], ["mean score", "number"], ["churn rate", "number"], ["lift", "number"], ["would be", "short"]],
  parts.map((each) => [each.arm === "all" ? each.slice : `arm ${each.arm}`, String(each.model_version), SOURCES[each.source] ?? each.source, each.basis,
    count(each.rows), count(each.churned), inLine(each.auc, each.auc_low, each.auc_high), figure(each.brier), percent(each.mean_probability), percent(each.churn_rate),
    figure(each.lift, 2), h("span", { class: "quiet" }, each.verdict)]),
  "The newest figures by arm and slice; none of them decides");

const drawRevisions = (revisions) => table(
  [["revision", "number"], ["known at the drop of", "short"], ["judged (UTC)", "short"], ["state", "short"], ["what changed", "long"], ["verdicts"]],
  revisions.map((each) => [String(each.revision), each.known_as_of, moment(each.judged_at),
    each.withdrawn_at ? [h("strong", null, "withdrawn"), " ", moment(each.withdrawn_at)] : each.is_current ? h("strong", null, "shown") : "replaced",
    each.changes.length ? each.changes.join("; ") : each.revision === 1 ? "first judgement" : null,
    each.figures.map((row) => h("div", null, `version ${row.model_version} (${SOURCES[row.source] ?? row.source}): `, verdictBadge(row.verdict), ` AUC ${inLine(row.auc, row.auc_low, row.auc_high)}`))]),
  "The judgements of this date, newest first");

export function drawVersions(versions) {
  if (!versions.length) return [];
  return [
    h("h2", { id: "versions-title" }, "The verdict on each version"),
    table(
      [["version", "short"], ["verdict", "short"], ["on AS_OF", "short"], ["scores", "short"], ["AUC (95 %)", "number"], ["promised", "number"], ["customers", "number"], ["reason", "long"]],
      versions.map((each) => [each.in_production ? [String(each.model_version), " ", h("strong", null, "Production")] : String(each.model_version),
        verdictBadge(each.verdict), each.as_of, SOURCES[each.source] ?? each.source, inLine(each.auc, each.auc_low, each.auc_high),
        inLine(each.promised_auc, each.promised_low, each.promised_high), count(each.rows), each.reason]),
      "The verdict on each version, of the newest date with enough rows"),
    h("p", { class: "quiet" }, "make rollback VERSION=n brings an earlier version back into Production. A verdict stays until newer labels change it."),
  ];
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
