// One decision: its checks, the figures of the compared versions, the slices, and its pictures.

import { badge, facts, h, interval, moment, NOTHING, number, out, table } from "./parts.js";

// Figures that only a candidate's twin has.
const UNKNOWN = { out_of_fold_auc: null, brier: null, calibration_error: null };

export function drawDecision(found, mlflow, close) {
  const report = found.report;
  return [
    h("header", null,
      h("h2", { id: "decision-title", tabindex: "-1" }, `Decision ${found.id}: AS_OF ${found.as_of}, version ${found.candidate_version}`),
      h("button", { type: "button", onclick: close }, "Close")),
    h("p", null, badge(found.outcome), " ", found.reason),
    report.recommendation && h("p", { class: "warning" },
      `Production is pinned. Without the pin: ${report.recommendation}.`),
    report.needs_person && !report.sets_aside && h("p", { class: "warning" }, "Needs a person's decision."),
    report.sets_aside && h("p", { class: "warning" },
      `Overrules decision ${report.sets_aside}; the figures and pictures are from that decision.`),
    overridden(found),
    facts([
      ["decided", moment(found.decided_at), "UTC"],
      ["graded on", found.graded_on, report.out_of_time === undefined ? null
        : report.out_of_time ? "out of time: a twin trained without it" : "the candidate itself, on the gate cohort"],
      report.rows !== undefined && ["gate cohort", `${number(report.rows)} rows`, `${number(report.churned)} churned`],
      report.basis && ["compared with Production", report.basis, report.production?.basis_reason],
      report.difference && ["AUC, candidate − Production", interval(report.difference, 4), "95 % interval, DeLong"],
      report.brier_difference && ["Brier score, candidate − Production", interval(report.brier_difference, 4), "95 % interval; lower is better"],
    ]),
    h("p", { class: "links" }, h("span", { id: "card" }),
      mlflow && out(`${mlflow}/#/runs/${encodeURIComponent(found.run_id)}`, "Run in MLflow"),
      mlflow && out(`${mlflow}/#/models/streamflow_churn/versions/${found.candidate_version}`, "Version in MLflow"),
      out(`api/decisions/${found.id}`, "Report as JSON")),
    checks(report.checks),
    versions(report),
    slices(report.slices),
    h("div", { id: "pictures" }, h("h3", null, "Pictures"), h("p", { class: "quiet" }, "Loading …")),
  ];
}

function overridden(found) {
  const names = Object.entries(found.overridden ?? {});
  if (!names.length) return null;
  const by = found.report.overridden_by ? ` by ${found.report.overridden_by}` : "";
  return h("p", { class: "warning" },
    `Thresholds overridden${by}: ${names.map(([name, value]) => `${name} = ${number(value)}`).join(", ")}`);
}

function checks(found) {
  if (!found?.length) return h("p", { class: "quiet" }, "This decision has no checks, since no versions were compared.");
  return [h("h3", null, "Checks"), table(
    [["outcome"], ["check", "short"], ["figure", "number"], ["threshold", "number"], ["explanation", "long"], ["if it fails", "short"]],
    found.map((each) => [badge(each.outcome), each.name, number(each.figure), number(each.threshold), each.sentence, each.failing]),
    "The checks of this decision")];
}

function versions(report) {
  const shown = [["candidate", report.candidate], ["Production", report.production], ["anchor", report.anchor]]
    .filter(([, found]) => found && typeof found === "object");
  if (report.candidate?.shipped_auc) shown.splice(1, 0, ["candidate as shipped", { ...report.candidate, ...UNKNOWN, auc: report.candidate.shipped_auc }]);
  if (report.audit) shown.push(["audit, candidate", { auc: report.audit.candidate_auc }], ["audit, Production", { auc: report.audit.production_auc }]);
  if (!shown.length) return null;
  return [h("h3", null, "Compared versions"), table(
    [[""], ["version", "number"], ["AS_OF", "short"], ["recipe", "short"], ["AUC (95 %)", "number"], ["basis", "short"], ["candidate AUC on this basis", "number"], ["out-of-fold AUC (95 %)", "number"],
      ["Brier score", "number"], ["calibration error", "number"]],
    shown.map(([name, found]) => [name, number(found.version), found.as_of, found.recipe, interval(found.auc),
      found.basis ?? NOTHING, interval(found.candidate_auc), interval(found.out_of_fold_auc), number(found.brier), number(found.calibration_error)]),
    "The compared versions"),
    shown.filter(([, found]) => found.problem).map(([name, found]) => h("p", { class: "warning" }, `${name}: ${found.problem}`)),
    report.audit && h("p", { class: "quiet" },
      `The audit cohort (${number(report.audit.rows)} rows, ${number(report.audit.churned)} churned) is used only before a promotion.`)];
}

function slices(found) {
  if (!found?.length) return null;
  return [h("h3", null, "Slices"), table(
    [["slice", "short"], ["rows", "number"], ["churned", "number"], ["candidate AUC", "number"], ["Production AUC", "number"],
      ["difference (95 %)", "number"], ["p", "number"], ["harm"]],
    found.map((each) => [each.name, number(each.rows), number(each.churned), number(each.candidate_auc, 3),
      number(each.production_auc, 3), interval(each.difference), number(each.p_value, 3),
      each.harmed ? badge("FAIL", "significant") : NOTHING]),
    "The slices of the gate cohort")];
}

export function drawPictures(id, { files, problem }) {
  const address = (file) => `api/decisions/${id}/files/${file.split("/").map(encodeURIComponent).join("/")}`;
  const card = files.find((file) => file === "report.html");
  if (card) document.getElementById("card").replaceChildren(out(address(card), "Model card"));
  const pictures = files.filter((file) => /\.(svg|png)$/.test(file));
  const name = (file) => file.split("/").at(-1).replace(/\.\w+$/, "").replaceAll(/[_-]/g, " ");
  document.getElementById("pictures").replaceChildren(
    h("h3", null, "Pictures"),
    problem ? h("p", { class: "problem" }, problem)
      : pictures.length ? h("div", { class: "pictures" }, pictures.map((file) => h("figure", null,
          h("img", { src: address(file), alt: name(file), loading: "lazy" }), h("figcaption", null, name(file)))))
      : h("p", { class: "quiet" }, "This decision has no pictures yet."));
}
