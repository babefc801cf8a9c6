// The page: takes an id, asks, shows the answer or the problem. The newest question counts; what comes late is dropped.

import { drawAnswer } from "./answer.js";
import { predict } from "./api.js";
import { h, id } from "./parts.js";
import { drawProblem } from "./problem.js";
import { follow } from "./service.js";

// An answer that comes sooner replaces the one before without a flicker.
const MOMENT = 300;
const NAME = document.title;

const at = (name) => document.getElementById(name);
const field = at("user-id"), result = at("result");
const look = follow(at("service"));

let newest = 0, running = null;

// `opened`: by the address and not by the person, who then is not taken anywhere.
async function ask(userId, opened = false) {
  const mine = ++newest;
  running?.abort();
  running = new AbortController();
  // From here on the person may type the next one, and is then left alone.
  const typed = [field.value, at("key").value].join("\n");
  const untouched = () => !opened && typed === [field.value, at("key").value].join("\n");
  mark(null);
  if (!userId) {
    result.removeAttribute("aria-busy");
    return show(drawProblem(userId, { type: "no-id" }), true);
  }
  history.replaceState(null, "", `?${new URLSearchParams({ user_id: userId })}`);
  document.title = `${userId} – ${NAME}`;
  result.setAttribute("aria-busy", "true");
  const asking = setTimeout(() => {
    if (mine === newest) show({ title: ["Asking about customer ", id(userId), " …"], news: "", parts: [] }, false);
  }, MOMENT);
  const outcome = await predict(userId, at("key").value, running.signal);
  clearTimeout(asking);
  if (mine !== newest) return;
  result.removeAttribute("aria-busy");
  if (outcome.problem) look();
  show(drawn(userId, outcome), untouched());
}

function drawn(userId, { answer, problem }) {
  const retry = () => ask(userId);
  if (problem) return drawProblem(userId, problem, retry);
  try {
    return drawAnswer(answer);
  } catch (error) {
    console.warn(error);
    return drawProblem(userId, { type: "unreadable" }, retry);
  }
}

// The focus reads the title out and the live region the rest; where the focus stays, the live region reads both.
function show({ title, news, parts, field: toMend }, take) {
  const held = result.contains(document.activeElement);
  const heading = h("h2", { id: "result-title", tabindex: "-1" }, title);
  result.hidden = false;
  result.replaceChildren(heading, ...parts.flat(Infinity).filter(Boolean));
  if (toMend === "key") at("key-field").hidden = false;
  mark(toMend);
  const takes = take || held;
  if (takes) (toMend ? at(toMend) : heading).focus();
  at("news").textContent = takes && !toMend ? news : [heading.textContent, news].filter(Boolean).join(". ");
}

// Say which field is to be mended, and that the title says why.
function mark(toMend) {
  for (const [name, hint] of [["user-id", "hint"], ["key", "key-hint"]]) {
    at(name).toggleAttribute("aria-invalid", false);
    at(name).setAttribute("aria-describedby", name === toMend ? `result-title ${hint}` : hint);
    if (name === toMend) at(name).setAttribute("aria-invalid", "true");
  }
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(field.value);
});

// An id is taken as it is; what surrounds it where it was copied from is not part of it.
field.addEventListener("paste", (event) => {
  const pasted = event.clipboardData.getData("text");
  if (pasted === pasted.trim()) return;
  event.preventDefault();
  field.setRangeText(pasted.trim(), field.selectionStart, field.selectionEnd, "end");
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  field.focus();
  field.select();
});

const given = new URLSearchParams(location.search).get("user_id");
if (given) {
  field.value = given;
  ask(given, true);
} else {
  field.focus();
}
