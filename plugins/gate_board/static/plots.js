// Plots as SVG: lines over the depth of a list, and bars. A plot is one picture for a screen reader, named by its label.

import { h, s } from "./parts.js";

export const TOP = 22, BOTTOM = 36, LEFT = 58, RIGHT = 14;
const HEIGHT = 230;

export const picture = (label, width, parts, height = HEIGHT) =>
  h("div", { class: "plot", role: "img", "aria-label": label },
    s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, parts));

export function niceStep(range, steps = 5) {
  const rough = range / steps, power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((each) => each * power >= rough);
}

export function scaleOf(low, high, height = HEIGHT) {
  const step = niceStep(high - low || 1);
  const from = Math.floor(low / step + 1e-9) * step, to = Math.ceil(high / step - 1e-9) * step;
  const count = Math.round((to - from) / step) || 1;
  const y = (value) => TOP + (1 - (value - from) / (count * step)) * (height - TOP - BOTTOM);
  return { ticks: Array.from({ length: count + 1 }, (_, i) => from + i * step), y };
}

export const grid = (scale, width, format) => scale.ticks.map((tick) => [
  s("line", { class: Math.abs(tick) < 1e-9 ? "axis" : "grid", x1: LEFT, x2: width - RIGHT, y1: scale.y(tick), y2: scale.y(tick) }),
  s("text", { x: LEFT - 8, y: scale.y(tick) + 4, "text-anchor": "end" }, format(tick))]);

// values: one for each depth 1 to 100; base: the line to compare with, likewise; start: the value at depth 0, if any;
// marks: [{depth, kind, text}].
export function depthPlot({ width, label, title, values, base, start, marks, low, high, format }) {
  const known = [...values, ...(base ?? []), start].filter((each) => each !== null && each !== undefined);
  const scale = scaleOf(Math.min(low ?? Infinity, ...known), Math.max(high ?? -Infinity, ...known));
  const x = (depth) => LEFT + (depth / 100) * (width - LEFT - RIGHT);
  const path = (list) => {
    const points = list.map((value, i) => [i + 1, value]).filter(([, value]) => value !== null);
    if (start !== undefined) points.unshift([0, start]);
    return points.map(([depth, value], i) => `${i ? "L" : "M"}${x(depth).toFixed(1)} ${scale.y(value).toFixed(1)}`).join("");
  };
  return picture(label, width, [
    s("text", { x: 0, y: 12, class: "strong" }, title),
    grid(scale, width, format),
    [0, 20, 40, 60, 80, 100].map((depth) =>
      s("text", { x: x(depth), y: HEIGHT - 18, "text-anchor": depth === 100 ? "end" : "middle" }, `${depth} %`)),
    s("text", { x: x(50), y: HEIGHT - 3, "text-anchor": "middle" }, "depth of the list"),
    base && s("path", { class: "base", d: path(base) }),
    s("path", { class: "line", d: path(values) }),
    marks.filter((mark) => values[mark.depth - 1] !== null).map((mark) => markOf(mark, x(mark.depth), scale.y(values[mark.depth - 1]), width)),
  ]);
}

function markOf({ kind, text }, x, y, width) {
  const right = x > width / 2;
  return [
    kind === "here" && s("line", { class: "here", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
    s("circle", { class: kind === "here" ? "dot" : kind, cx: x, cy: y, r: kind === "best" ? 6 : 4.5 }),
    text && s("text", { class: "strong", x: right ? x - 9 : x + 9, y: Math.max(y - 9, TOP + 4), "text-anchor": right ? "end" : "start" }, text),
  ];
}

// counts: one for each of equal bins from 0 to 1; at: where a dashed line stands, with its text.
export function histogram({ width, label, title, counts, at, text, format }) {
  const scale = scaleOf(0, Math.max(...counts, 1));
  const x = (value) => LEFT + value * (width - LEFT - RIGHT);
  const right = at > 0.5;
  return picture(label, width, [
    s("text", { x: 0, y: 12, class: "strong" }, title),
    grid(scale, width, format),
    counts.map((count, i) => count > 0 && s("rect", { class: "bar", x: x(i / counts.length) + 1, width: x(1 / counts.length) - LEFT - 2,
      y: Math.min(scale.y(count), scale.y(0) - 1), height: Math.max(scale.y(0) - scale.y(count), 1) })),
    [0, 0.2, 0.4, 0.6, 0.8, 1].map((value) =>
      s("text", { x: x(value), y: HEIGHT - 18, "text-anchor": value === 1 ? "end" : "middle" }, value.toFixed(1))),
    s("text", { x: x(0.5), y: HEIGHT - 3, "text-anchor": "middle" }, "churn_probability"),
    s("line", { class: "base", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }),
    s("text", { class: "strong", x: right ? x(at) - 6 : x(at) + 6, y: TOP + 10, "text-anchor": right ? "end" : "start" }, text),
  ]);
}
