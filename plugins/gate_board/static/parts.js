// Building blocks of the pages. Text is inserted as text nodes, never as markup.

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

// Outcomes differ by shape as well as by colour.
const SHAPES = {
  PROMOTE: ["M0 -6L6 5H-6Z", true],
  KEEP: ["M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z", true],
  INVALID: ["M-5 -5L5 5M5 -5L-5 5", false],
  PRODUCTION: ["M0 -5L5 0L0 5L-5 0Z", false],
  PASS: ["M-5 0L-1 4L5 -4", false],
  FAIL: ["M-5 -5L5 5M5 -5L-5 5", false],
  UNCHANGED: ["M-5 -2H5M-5 3H5", false],
  REPORT: ["M0 -2V5M0 -6V-5", false],
  AS_PROMISED: ["M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z", true],
  WORSE: ["M0 6L6 -5H-6Z", true],
  CHANCE: ["M-5 -5H5V5H-5Z", true],
  TOO_FEW: ["M-4 -4L4 4M4 -4L-4 4", false],
  EXPECTED: ["M0 -5L5 0L0 5L-5 0Z", true],
};

export const shape = (name) => {
  const [path, filled] = SHAPES[name] ?? SHAPES.REPORT;
  return s("path", { d: path, class: filled ? "filled" : null });
};

export const badge = (name, text = name) =>
  h("span", { class: `badge ${name}` },
    s("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", class: "mark", "aria-hidden": "true" }, shape(name)), text);

export const NOTHING = "–";

export function number(value, digits = 4) {
  if (value === null || value === undefined || value === "") return NOTHING;
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : rounded(value, digits);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "object" ? interval(value, digits) : String(value);
}

const rounded = (value, digits) =>
  value !== 0 && Math.abs(value) < 10 ** -digits ? value.toExponential(1) : value.toFixed(digits);

export function interval(found, digits = 3) {
  if (!found) return NOTHING;
  if (found.value === undefined) return JSON.stringify(found);
  return `${found.value.toFixed(digits)} (${found.low.toFixed(digits)} to ${found.high.toFixed(digits)})`;
}

// The 95 % interval of a value with this standard error.
export const around = (value, error) =>
  value === null ? null : { value, low: value - 1.96 * (error ?? 0), high: value + 1.96 * (error ?? 0), sure: error !== null };

export const withError = (value, error) =>
  value === null ? NOTHING : error === null ? value.toFixed(3) : interval(around(value, error));

export const moment = (text) =>
  text ? h("time", { datetime: text }, text.slice(0, 16).replace("T", " ")) : NOTHING;

// rows: each a list of cells, or {attributes, cells}; columns: [title, class, further attributes of the heading].
export function table(columns, rows, caption) {
  const cells = (row) => row.map((cell, i) => h("td", { class: columns[i][1] }, cell ?? NOTHING));
  return h("div", { class: "scroll" }, h("table", null,
    caption && h("caption", { class: "unseen" }, caption),
    h("thead", null, h("tr", null, columns.map(([title, kind, more]) => h("th", { scope: "col", class: kind, ...more }, title)))),
    h("tbody", null, rows.map((row) => Array.isArray(row)
      ? h("tr", null, cells(row)) : h("tr", row.attributes, cells(row.cells))))));
}

export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(Boolean).map(([title, value, note]) =>
    h("div", null, h("dt", null, title), h("dd", null, value ?? NOTHING, note && h("small", null, note)))));

// Airflow's sandboxed iframe cannot open windows; the same-origin page around it can.
export const out = (address, text) =>
  h("a", { href: address, target: "_blank", rel: "noopener", onclick: (event) => {
    if (window.parent === window) return;
    event.preventDefault();
    const link = window.parent.document.createElement("a");
    Object.assign(link, { href: event.currentTarget.href, target: "_blank", rel: "noopener" });
    link.click();
  } }, text, " ↗");
