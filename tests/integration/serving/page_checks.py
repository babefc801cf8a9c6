"""Accessibility checks of a page: scripts that return a list of problems."""

STRUCTURE = """() => {
  const wrong = [], all = (selector) => [...document.querySelectorAll(selector)];
  const visible = (element) => element.checkVisibility();
  if (!document.documentElement.lang) wrong.push("the language is not said");
  if (!document.title) wrong.push("the page has no title");
  if (all("h1").length !== 1) wrong.push("there is not one h1");
  let level = 0;
  for (const heading of all("h1, h2, h3, h4").filter(visible)) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) wrong.push(`heading ${heading.textContent} skips a level`);
    level = own;
  }
  for (const field of all("input")) if (!field.labels.length) wrong.push(`field ${field.id} has no label`);
  for (const each of all("button, a, th, h1, h2, h3").filter(visible)) {
    if (!each.textContent.trim()) wrong.push(`an empty ${each.tagName}`);
  }
  for (const th of all("th")) if (!th.scope) wrong.push(`th ${th.textContent} has no scope`);
  for (const svg of all("svg")) if (svg.getAttribute("aria-hidden") !== "true") wrong.push("a drawing without a name");
  const ids = all("[id]").map((each) => each.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id occurs twice");
  for (const name of ["aria-labelledby", "aria-describedby"]) {
    for (const each of all(`[${name}]`).filter(visible)) {
      for (const id of each.getAttribute(name).split(" ")) if (!ids.includes(id)) wrong.push(`${name}: no ${id}`);
    }
  }
  for (const each of all("[tabindex]")) if (each.tabIndex > 0) wrong.push("a tabindex above 0");
  return wrong;
}"""
"""Labels, headings, names, references."""

CONTRASTS = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = channels(getComputedStyle(each).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
      if (found[3] !== 0) throw new Error("a background that shows through");
    }
    return [255, 255, 255];
  };
  const wrong = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.closest(".unseen, noscript")) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const front = channels(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [luminance(front), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) wrong.push(`${texts.currentNode.data}: ${ratio.toFixed(2)}`);
  }
  return seen > 5 ? wrong : ["no text was found"];
}"""
"""Texts whose contrast with what is behind them is below 4.5 : 1 (WCAG 2.2, 1.4.3)."""
