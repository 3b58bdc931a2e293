// Amounts are decimal text with nine decimals. They are shown as they are; sums are BigInt, in nano-USD. A float is
// made of one only to place it on a chart.

export const nanoOf = (text) => {
  const [, sign, whole, part] = /^(-?)(\d+)\.(\d{9})$/.exec(text);
  const nano = BigInt(whole) * 1_000_000_000n + BigInt(part);
  return sign ? -nano : nano;
};

export const textOf = (nano) => {
  const size = nano < 0n ? -nano : nano;
  return `${nano < 0n ? "-" : ""}${size / 1_000_000_000n}.${String(size % 1_000_000_000n).padStart(9, "0")}`;
};

export const numberOf = (text) => Number(text);

// Every digit is there; those beyond a hundredth of a cent step back.
const CLEAR = 4;
export const usd = (text, { signed = false } = {}) => {
  const node = document.createElement("span");
  const negative = text.startsWith("-");
  const [whole, part] = text.replace("-", "").split(".");
  const fine = document.createElement("span");
  fine.className = "fine";
  fine.textContent = part.slice(CLEAR);
  const sign = negative ? "\u2212" : signed && nanoOf(text) > 0n ? "+" : "";
  node.className = negative ? "usd minus" : "usd";
  node.dataset.usd = text;
  node.append(`${sign}$${whole}.${part.slice(0, CLEAR)}`, fine);
  return node;
};

export const usdText = (text) => (text.startsWith("-") ? `\u2212$${text.slice(1)}` : `$${text}`);

export const range = (amounts) => {
  const node = document.createElement("span");
  node.className = "range";
  node.append(usd(amounts.low), " \u2026 ", usd(amounts.high));
  return node;
};

export const share = (value, digits = 1) =>
  value === null || value === undefined ? "\u2013" : `${(value * 100).toFixed(digits).replace("-", "\u2212")}\u202f%`;

export const count = (value) => value.toLocaleString("en-US");
