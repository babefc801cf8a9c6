// Expected profit by depth: contacted are the customers of arm treat, and only a leaver can be kept.

// depths: the parts of a list from the top down; figures: cost of a contact, success rate (0 to 1), margin.
export const profits = (depths, { cost, success, margin }) =>
  depths.map((each) => success * margin * each.expected_treat - cost * each.treat);

// The place of the highest profit, the first of several; -1 where nothing above 0 is to be had.
export const best = (values) =>
  values.reduce((found, value, i) => (value > (found < 0 ? 0 : values[found]) ? i : found), -1);
