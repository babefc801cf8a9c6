// Asks the service. Whatever comes back, or does not, is {answer} or {problem}: its type is the service's, or one of
// no-connection, no-answer (in time) and unreadable.

const PATIENCE = 20_000;

export const predict = (userId, key, signal) =>
  ask("predict?explain=true", key, signal, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user_id: userId }),
  });

// For everybody: no key is sent along.
export const ready = () => ask("health/ready", "");

async function ask(path, key, signal, { headers, ...options } = {}) {
  // A header cannot carry anything else, and the browser would say so in the words of a broken connection.
  if (/[^\x21-\x7e]/.test(key)) return { problem: { type: "impossible-key" } };
  const late = AbortSignal.timeout(PATIENCE);
  let response, text;
  try {
    response = await fetch(path, {
      ...options,
      headers: { Accept: "application/json", ...(key && { Authorization: `Bearer ${key}` }), ...headers },
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
    text = await response.text();
  } catch {
    return { problem: { type: late.aborted ? "no-answer" : "no-connection" } };
  }
  const body = object(text);
  if (response.ok) return body ? { answer: body } : { problem: { type: "unreadable" } };
  return { problem: { ...(body ?? { type: "unreadable" }), status: response.status, seconds: seconds(response) } };
}

function object(text) {
  try {
    const found = JSON.parse(text);
    return found && typeof found === "object" ? found : null;
  } catch {
    return null;
  }
}

// After how many seconds to try again; null where that is not said in seconds.
function seconds(response) {
  const said = response.headers.get("Retry-After") ?? "";
  return /^\d+$/.test(said) ? Number(said) : null;
}
