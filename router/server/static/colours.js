// A model keeps its colour for as long as the page is open; premium, the reference, is always the neutral one.

const HUES = 8;
const given = new Map();

export const colourName = (model, premium) => {
  if (model === premium) return "--model-premium";
  if (!given.has(model)) given.set(model, given.size % HUES);
  return `--model-${given.get(model)}`;
};

export const colourValue = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
