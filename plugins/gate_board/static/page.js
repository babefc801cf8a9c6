// What the pages share: reading from the server, reporting problems, replacing a section, Airflow's theme.

import { h } from "./parts.js";

export const at = (id) => document.getElementById(id);

export async function read(path, signal) {
  let answer;
  try {
    const signals = [AbortSignal.timeout(30_000), signal].filter(Boolean);
    answer = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.any(signals) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Error("Airflow does not answer.");
  }
  const body = await answer.json().catch(() => null);
  const detail = typeof body?.detail === "string" ? body.detail : null;
  if (answer.status === 401 || (answer.status === 403 && !detail?.startsWith("customers"))) {
    throw new Error("Your session has ended: reload this page to sign in again.");
  }
  if (!answer.ok) throw new Error(detail ?? `Airflow answers with status ${answer.status}.`);
  return body;
}

export function problem(text) {
  if (at("problems").textContent !== (text ?? "")) at("problems").replaceChildren(...(text ? [h("p", { class: "problem" }, text)] : []));
}

export function put(id, parts) {
  const fresh = parts.flat(Infinity).filter(Boolean);
  at(id).replaceChildren(...fresh);
  at(id).hidden = !fresh.length;
}

// Airflow keeps the chosen theme in localStorage.
function theme() {
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* without storage the system's preference applies */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}

theme();
window.addEventListener("storage", theme);
