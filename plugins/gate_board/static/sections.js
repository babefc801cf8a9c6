// The parts of the page around the timeline: Production, the list of decisions, the freshness of each AS_OF, the moves.

import { badge, facts, h, moment, NOTHING, number, out, table, withError } from "./parts.js";

const FIRST = 25;

export function drawProduction(data) {
  const { production, pin, serving, registry_problem: problem } = data;
  const title = h("h2", null, "Production");
  if (problem) return [title, h("p", { class: "problem" }, problem, ". The rest of this page is read from the database.")];
  if (!production) return [title, pinned(pin), h("p", null, "Stage Production is empty: the gate promotes the first candidate that passes the absolute checks.")];
  const graded = production.grades.filter((each) => each.auc !== null);
  const [newest, own] = [graded[0], graded.findLast((each) => each.graded_as === "candidate")];
  return [
    title,
    production.tags.superseded && h("p", { class: "warning" }, `Superseded: ${production.tags.superseded}`),
    production.erased && h("p", { class: "warning", id: "erased" }, `Version ${production.version} ${production.erased}.`),
    pinned(pin),
    facts([
      ["version", String(production.version), data.mlflow_url && out(`${data.mlflow_url}/#/models/streamflow_churn/versions/${production.version}`, "in MLflow")],
      ["AS_OF", production.as_of ?? "unknown"],
      ["age", production.age_days === null ? NOTHING : `${number(production.age_days)} ${production.age_days === 1 ? "day" : "days"}`, `on ${data.today}`],
      newest && ["latest AUC", withError(newest.auc, newest.auc_error), `graded on ${newest.graded_on}, decision ${newest.decision}`],
      own && own !== newest && ["AUC as candidate", withError(own.auc, own.auc_error), `graded on ${own.graded_on}, decision ${own.decision}`],
      production.tags.threshold && ["threshold", number(Number(production.tags.threshold)), "of churn_probability"],
      ["pin", pin ? "pinned" : "not pinned"],
      serving && ["serving", serving.ready ? `version ${serving.version}` : "not ready"],
    ]),
    serving && !serving.ready && h("p", { class: "warning" }, `Serving: ${serving.detail}`),
    serving?.ready && serving.version !== production.version &&
      h("p", { class: "warning" }, `Serving answers with version ${serving.version}; it loads a new Production within seconds.`),
    production.tags["gate.reason"] && h("p", { class: "quiet" }, `Gate: ${production.tags["gate.reason"]}`),
  ];
}

const pinned = (pin) => pin && h("p", { class: "warning", id: "pin" },
  `Pinned${pin.version ? ` to version ${pin.version}` : ""}${pin.who ? ` by ${pin.who}` : ""}` +
  `${pin.at ? ` on ${String(pin.at).slice(0, 16).replace("T", " ")}` : ""}${pin.why ? `: ${pin.why}` : ""}. ` +
  "Until it is released, PROMOTE is a recommendation.");

export function drawDecisions(data, open, showAll, more) {
  const title = h("h2", null, "Decisions");
  if (!data.decisions.length) {
    return [title, h("p", null, "There is no decision yet. The gate decides in the DAG churn_train, once for each AS_OF.")];
  }
  const shown = showAll ? data.decisions : data.decisions.slice(0, FIRST);
  return [
    title,
    table(
      [["AS_OF", "short"], ["decision"], ["version", "number"], ["AUC (95 %)", "number"], ["Production", "number"], ["its AUC (95 %)", "number"],
        ["reason", "long"], ["decided (UTC)", "short"]],
      shown.map((each) => ({
        attributes: { "data-decision": each.id, onclick: () => open(each.id) },
        cells: [
          h("button", { type: "button", class: "link", id: `open-${each.id}`, "aria-label": `Open decision ${each.id}, AS_OF ${each.as_of}` }, each.as_of),
          badge(each.outcome), String(each.candidate_version), withError(each.candidate_auc, each.candidate_auc_error),
          each.production_version === null ? NOTHING : String(each.production_version),
          withError(each.production_auc, each.production_auc_error),
          [h("span", { title: each.reason }, each.reason), each.overridden && h("small", { class: "late" }, "thresholds overridden")],
          moment(each.decided_at)],
      })),
      "Decisions, newest first"),
    shown.length < data.decisions.length &&
      h("p", null, h("button", { type: "button", id: "show-all", onclick: more }, `Show all ${number(data.decisions.length)}`)),
    data.decision_count > data.decisions.length &&
      h("p", { class: "quiet" }, `The newest ${number(data.decisions.length)} of ${number(data.decision_count)} decisions.`),
  ];
}

export function drawDates(data) {
  const title = h("h2", null, "Freshness");
  if (!data.dates.length) return [title, h("p", null, "No drop is loaded yet. The DAG churn_landing checks the landing directory for drops every few minutes.")];
  const late = (current, text, than = "drop") => current === false ? h("span", { class: "late" }, text, ` ▲ older than the ${than}`) : text;
  const serves = (each) => {
    const parts = [];
    if (each.is_served) parts.push("features");
    if (data.production?.as_of === each.as_of) parts.push(data.serving?.ready && data.serving.version === data.production.version ? "model" : "model (in Production)");
    return parts.length ? h("strong", null, parts.join(" and ")) : NOTHING;
  };
  const held = data.dates.filter((each) => each.held_at).map((each) => h("p", { class: "warning" },
    `The drop of ${each.as_of} is held since ${each.held_at.slice(0, 16).replace("T", " ")}: ${each.findings.join("; ")}. ` +
    "Have it corrected, or add a file _ACCEPT that says why it is right."));
  return [title, held, table(
    [["AS_OF", "short"], ["drop received (UTC)", "short"], ["revision", "number"], ["customers", "number"], ["snapshot built", "short"],
      ["online features written", "short"], ["last decision", "short"], ["scored (UTC)", "short"], ["serving", "short"]],
    data.dates.map((each) => [each.as_of, moment(each.received_at), number(each.revision), number(each.rows),
      late(each.snapshot_is_current, moment(each.snapshot_at)), late(each.online_is_current, moment(each.online_at)),
      each.outcome && [badge(each.outcome), ` version ${each.candidate_version}`],
      each.scored_at && [late(each.list_is_current, moment(each.scored_at), "snapshot"), ` version ${each.list_version}, revision ${each.list_revision}`],
      serves(each)]),
    "What the system holds for each AS_OF")];
}

export function drawMoves(data) {
  if (!data.moves.length) return [];
  return [h("h2", null, "Moves of Production"), table(
    [["when (UTC)", "short"], ["move", "short"], ["version", "number"], ["previous", "number"], ["who", "short"], ["reason", "long"]],
    data.moves.map((each) => [moment(each.moved_at), each.kind, each.version === null ? NOTHING : String(each.version),
      each.previous_version === null ? NOTHING : String(each.previous_version), each.who, each.why]),
    "Moves of Production, newest first")];
}
