// What every part of the page is made of. Text comes in as text nodes and never as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// An id as it is: its blanks are kept, and its direction of writing does not turn the text around it.
export const id = (userId) => h("bdi", { class: "id" }, userId);

export const NO_VALUE = "no value";

export function value(given) {
  if (given === null || given === undefined) return NO_VALUE;
  if (typeof given === "boolean") return given ? "yes" : "no";
  if (typeof given !== "number") return String(given);
  const small = given !== 0 && Math.abs(given) < 0.01;
  return given.toLocaleString("en", small ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 2 });
}

// The name of a feature in words: watch_hours_30d is "watch hours, last 30 days".
const SHORT = { avg: "average", hrs: "hours", mins: "minutes", tv: "TV" };
export const words = (feature) =>
  feature.replace(/_(\d+)d$/, ", last $1 days").replace(/[^_, ]+/g, (word) => SHORT[word] ?? word).replaceAll("_", " ");

// Its parts stay together on one line.
export const percent = (number) => `${number}\u00a0%`;

const MOST_DIGITS = 4;

// A probability and a threshold in percent, with as many digits as show that they differ, and that one is not quite 0 or 1.
export function percents(probability, threshold) {
  for (let digits = 1; ; digits += 1) {
    const [p, t] = [probability, threshold].map((each) => (each * 100).toFixed(digits));
    const rounded = probability !== Math.round(probability) && [0, 100].includes(Number(p));
    if (digits === MOST_DIGITS || (!rounded && (p !== t || probability === threshold))) return [p, t];
  }
}

const DAY = 86_400_000;

// How long ago a date is, in days of UTC.
export function ago(date, now = Date.now()) {
  const days = Math.floor(now / DAY) - Date.parse(`${date}T00:00:00Z`) / DAY;
  if (days === 0) return "today";
  const count = Math.abs(days).toLocaleString("en");
  return `${count} ${Math.abs(days) === 1 ? "day" : "days"} ${days > 0 ? "ago" : "ahead"}`;
}
