// The parts of the page "At risk": figures, curves, deciles and rows of customers.

import { facts, h, number, table } from "./parts.js";
import { depthPlot, histogram } from "./plots.js";
import { best, profits } from "./profit.js";

export const count = (value) => Math.round(value).toLocaleString("en");
const percent = (share, digits = 1) => `${(share * 100).toFixed(digits)} %`;
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function drawSummary({ run, curves, label_drops: drops }) {
  const rate = curves?.labelled ? curves.churned / curves.labelled : null;
  return [
    h("h2", { class: "unseen" }, "Summary"),
    facts([
      ["customers", count(run.rows)],
      ["expected leavers", count(run.expected_churners), run.rows ? `${percent(run.expected_churners / run.rows)} of them` : null],
      ["revenue at risk", count(run.revenue_at_risk), "a month: fee × churn_probability"],
      rate !== null && ["left", count(curves.churned), `${percent(rate)} of ${count(curves.labelled)} with a label`],
      curves && ["arm treat", count(curves.treat), "may be contacted"],
      curves && ["arm control", count(curves.customers - curves.treat), "leave alone"],
      ["version", String(run.model_version), `of AS_OF ${run.model_as_of}`],
      ["revision", String(run.revision), `scored ${run.scored_at.slice(0, 16).replace("T", " ")} UTC`],
    ]),
    !curves && h("p", { class: "quiet" }, `Counting ${count(run.rows)} customers …`),
    curves && rate === null && h("p", { class: "quiet" }, drops.length
      ? "The labels that came for this date match none of these customers."
      : "It is not known yet who left: no drop has brought labels of this date."),
  ];
}

export function drawDepth(curves, depth, csv) {
  const part = curves.depths[depth - 1];
  return [
    facts([
      ["customers", count(part.customers)],
      ["contact", count(part.treat), "arm treat"],
      ["leave alone", count(part.customers - part.treat), "arm control"],
      ["expected leavers", count(part.expected), "of these customers"],
    ]),
    csv && h("p", null, h("a", { class: "action", href: csv, download: true, id: "csv" },
      `Download ${count(part.treat)} customers (CSV)`)),
    csv && h("p", { class: "quiet" },
      "The file holds arm treat only. Whoever contacts the control arm too can no longer tell what the campaign did."),
  ];
}

export function drawProfit(curves, depth, figures, use, width) {
  if (!figures) {
    return [h("p", { class: "quiet" }, "Enter a cost, a success rate and a margin to see the expected profit by depth.")];
  }
  const values = profits(curves.depths, figures), top = best(values);
  const here = values[depth - 1], highest = top < 0 ? null : curves.depths[top];
  return [
    depthPlot({
      width, title: "Expected profit", values, start: 0, high: 1.12 * Math.max(...values), format: (value) => short.format(value),
      label: `Expected profit by depth. At ${depth} %: ${count(here)}. ` +
        (highest ? `Highest at ${highest.number} %: ${count(values[top])}.` : "No depth has a profit."),
      marks: [highest && { depth: highest.number, kind: "best", text: highest.number === depth ? null : `best: ${highest.number} %` },
        { depth, kind: "here", text: `${highest?.number === depth ? "best, " : ""}${depth} %: ${count(here)}` }].filter(Boolean),
    }),
    highest
      ? h("p", null, "The best depth is ", h("strong", { id: "best" }, `${highest.number} %`), `: ${count(highest.treat)} contacts, expected profit ${count(values[top])}. `,
          highest.number !== depth && h("button", { type: "button", id: "use-best", onclick: () => use(highest.number) }, "Go to this depth"))
      : h("p", { id: "best" }, "At these figures no depth pays: a contact costs more than it brings, even at the top of the list."),
    h("p", { class: "warning" }, "This is an assumption: no campaign has been measured against its control arm yet, so nobody knows the success rate. " +
      "Profit = success rate × margin × expected leavers contacted − cost × contacts."),
  ];
}

export function drawQuality({ run, curves, learned_from_labels: learned, label_drops: drops }, depth, width) {
  if (!curves.churned) return [];
  const part = curves.depths[depth - 1];
  const values = (name) => curves.depths.map((each) => each[name]);
  return [
    h("h2", { id: "quality-title" }, "How good the list is"),
    h("p", null, `The first ${depth} % hold `, h("strong", null, percent(part.gain)), ` of the customers who left`,
      part.lift !== null && [": ", h("strong", null, `${part.lift.toFixed(2)} times`), " as many as a random choice"], "."),
    learned && h("p", { class: "warning" },
      `Version ${run.model_version} may have learned from these labels: the curves flatter it. The gate's figures are for customers it did not learn from.`),
    h("div", { class: "columns" },
      depthPlot({
        width, title: "Gains: share of the leavers reached", values: values("gain"), base: curves.depths.map((each) => each.number / 100),
        start: 0, low: 0, high: 1, format: (value) => percent(value, 0), marks: [{ depth, kind: "here", text: percent(part.gain, 0) }],
        label: `Gains by depth: the first ${depth} % of the list hold ${percent(part.gain)} of the leavers; a random choice would hold ${depth} %.`,
      }),
      depthPlot({
        width, title: "Lift: times the average rate", values: values("lift"), base: curves.depths.map(() => 1), low: 0,
        format: (value) => number(value, 1), marks: part.lift === null ? [] : [{ depth, kind: "here", text: part.lift.toFixed(2) }],
        label: `Lift by depth: ${part.lift?.toFixed(2) ?? "unknown"} at ${depth} %, 1 for a random choice.`,
      })),
    h("p", { class: "quiet" }, `Dashed: a random choice. ${count(curves.labelled)} of ${count(curves.customers)} customers have a label, from ` +
      `${drops.length === 1 ? "the drop" : "the drops"} of ${drops.join(", ")}.`),
  ];
}

export function drawDistribution({ run, curves }, width) {
  const labelled = curves.churned > 0;
  const rows = curves.deciles.map((each) => [
    String(each.number), count(each.customers), count(each.treat), count(each.expected), count(each.revenue_at_risk),
    ...(labelled ? [count(each.churned), each.labelled ? percent(each.churned / each.labelled) : null, each.lift === null ? null : each.lift.toFixed(2)] : [])]);
  const expected = percent(run.rows ? run.expected_churners / run.rows : 0);
  return [
    h("h2", { id: "distribution-title" }, "Scores"),
    h("div", { class: "columns" },
      histogram({
        width, title: "Customers by churn_probability", counts: curves.bins, at: run.threshold, format: (value) => short.format(value),
        text: `threshold ${run.threshold.toFixed(2)}`,
        label: `Distribution of churn_probability over ${count(curves.customers)} customers: ${expected} on average, threshold ${run.threshold.toFixed(2)}.`,
      }),
      table(
        [["decile", "number"], ["customers", "number"], ["treat", "number"], ["expected leavers", "number"], ["revenue at risk", "number"],
          ...(labelled ? [["left", "number"], ["rate", "number"], ["lift", "number"]] : [])],
        rows, "The deciles of the list, the most likely to leave first")),
  ];
}

const SORTS = { rank: "rank", monthly_fee: "monthly fee", revenue_at_risk: "revenue at risk" };

export function drawRows(customers, sort, sortBy) {
  const heading = (name) => [
    h("button", { type: "button", class: "link", id: `sort-${name}`, onclick: () => sortBy(name) }, SORTS[name]), "number",
    { "aria-sort": sort === name ? (name === "rank" ? "ascending" : "descending") : null }];
  if (!customers.length) return [h("p", null, "No customer id begins with this text. Upper and lower case differ.")];
  return [table(
    [heading("rank"), ["customer", "short"], ["churn_probability", "number"], heading("monthly_fee"), heading("revenue_at_risk"), ["arm", "short"],
      ["strongest reasons", "reasons"]],
    customers.map((each) => [count(each.rank), each.user_id, each.churn_probability.toFixed(3), each.monthly_fee.toFixed(2),
      each.revenue_at_risk.toFixed(2), each.arm === "control" ? h("span", { class: "control" }, "control") : each.arm,
      each.reasons.length ? each.reasons.map((reason) => h("span", null, reason)) : null]),
    "Customers")];
}
