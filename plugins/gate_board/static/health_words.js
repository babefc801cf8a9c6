// Verdicts, and figures as the page Health writes them.

import { badge, h, NOTHING } from "./parts.js";

const SHAPES = {
  "as promised": "AS_PROMISED", "worse than promised": "WORSE", "no better than chance": "CHANCE", "too few rows": "TOO_FEW",
};

export const VERDICTS = Object.keys(SHAPES);
export const shapeOf = (verdict) => SHAPES[verdict] ?? "REPORT";
export const verdictBadge = (verdict) => badge(shapeOf(verdict), verdict);

export const count = (value) => (value ?? null) === null ? NOTHING : value.toLocaleString("en");
export const figure = (value, digits = 3) => (value ?? null) === null ? NOTHING : value.toFixed(digits);
export const percent = (share) => (share ?? null) === null ? NOTHING : `${(share * 100).toFixed(1)} %`;

// A figure above its 95 % interval.
export const stacked = (value, low, high) => (value ?? null) === null ? NOTHING
  : [figure(value), " ", low !== null && h("small", null, `${figure(low)} to ${figure(high)}`)];

export const inLine = (value, low, high) => (value ?? null) === null ? NOTHING
  : low === null ? figure(value) : `${figure(value)} (${figure(low)} to ${figure(high)})`;
