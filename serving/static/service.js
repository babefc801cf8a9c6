// Which version answers, or why none does: looked at every few seconds, while somebody sees the page.

import { ready } from "./api.js";
import { ago } from "./parts.js";
import { inShort } from "./problem.js";

const EVERY = 10_000;

const told = ({ model, trouble }) =>
  `Version ${model.version} of ${model.name} answers. Its AS_OF is ${model.as_of}, ${ago(model.as_of)}.` +
  (trouble ? ` Production may be another one now: ${trouble}` : "");

// Keep `line` up to date; returns what looks at once.
export function follow(line) {
  let looking = false;

  async function look() {
    if (looking || document.visibilityState !== "visible") return;
    looking = true;
    const { answer, problem } = await ready();
    looking = false;
    const text = answer?.model ? told(answer) : inShort(problem ?? { type: "unreadable" });
    // A screen reader says a text again that is written again.
    if (line.textContent !== text) line.textContent = text;
    line.className = !answer?.model ? "problem" : answer.trouble ? "warning" : "quiet";
  }

  document.addEventListener("visibilitychange", look);
  (async function forever() {
    await look();
    setTimeout(forever, EVERY);
  })();
  return look;
}
