// Each problem in words: what happened, what the service says about it, and what to do.

import { h, id } from "./parts.js";

// field: where the person can mend it; again: whether asking the same again can help.
const PROBLEMS = {
  "no-id": { title: "Type a customer id", detail: "As in the column user_id of the drop, for example 7892-POOKP.", field: "user-id" },
  "unknown-user": {
    title: "Unknown customer", about: "is not among the online features.",
    advice: "The id is written differently, or the customer is not in the newest drop: one who has left is not.",
  },
  "incomplete-features": { title: "Features are missing", advice: "Without them there is no honest answer. Who runs the pipeline can materialize the newest AS_OF again." },
  "stale-features": { title: "The features are too old", advice: "A newer drop has to go through the pipeline first." },
  "invalid-request": { title: "That cannot be a customer id", field: "user-id" },
  unauthorized: { title: "The service wants an API key", field: "key", advice: "Whoever runs the service gives out keys." },
  "impossible-key": { title: "That cannot be an API key", field: "key", detail: "A key has no blanks, accents or umlauts." },
  "model-unavailable": { title: "There is no model to answer with", again: true },
  "feature-store-unavailable": { title: "The feature store cannot be reached", again: true },
  "not-ready": { title: "The service is not ready", again: true },
  overloaded: { title: "Too many are asking at the moment", again: true },
  "internal-error": { title: "The service failed", again: true },
  "no-connection": { title: "No connection to the service", detail: "It is not running, or the network is away.", again: true },
  "no-answer": { title: "The service does not answer", detail: "It took the question, and said nothing for 20 seconds.", again: true },
  unreadable: { title: "The answer cannot be read", detail: "It is not of the form that the service promises. Something between here and the service may have changed it.", again: true },
};

// What to show about `problem`: {title, news, parts, field}. `retry` asks again.
export function drawProblem(userId, problem, retry) {
  const known = PROBLEMS[problem.type] ?? { title: problem.title ?? `The service answers with status ${problem.status}`, again: true };
  const { title, about, advice, field, again } = known;
  const said = problem.detail && !about ? `The service says: ${problem.detail}` : null;
  const detail = said ?? [known.detail, !problem.detail && problem.status && `Its status is ${problem.status}.`].filter(Boolean).join(" ");
  const when = again && problem.seconds ? `Try again in ${problem.seconds} ${problem.seconds === 1 ? "second" : "seconds"}.` : null;
  const blanks = problem.type === "unknown-user" && userId.trim() !== userId
    ? "Mind that this id begins or ends with a blank." : null;
  const missing = problem.missing_features ?? [];
  const listed = problem.type === "incomplete-features" && missing.length > 0;
  const tone = field || problem.type === "unknown-user" ? "warning" : "problem";
  return {
    title,
    field,
    news: [about && `Customer ${userId} ${about}`, detail, listed && `Missing: ${missing.join(", ")}.`, blanks, advice, when].filter(Boolean).join(" "),
    parts: [h("div", { class: tone },
      userId && h("p", null, about ? ["Customer ", id(userId), " ", about] : ["Asked about customer ", id(userId), "."]),
      detail && h("p", null, detail),
      listed && h("ul", { "aria-label": "Missing features" }, missing.map((name) => h("li", null, h("code", null, name)))),
      [blanks, advice, when].map((text) => text && h("p", null, text)),
      again && h("p", null, h("button", { type: "button", onclick: retry }, "Try again")))],
  };
}

// The same in one line, for the state of the service.
export function inShort(problem) {
  if (problem.type === "not-ready") return `The service is not ready: ${(problem.reasons ?? [problem.detail]).join("; ")}`;
  const title = PROBLEMS[problem.type]?.title ?? problem.title ?? `It answers with status ${problem.status}`;
  return `${title}.`;
}
