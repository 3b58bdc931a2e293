// What inputs are made of, what of them is paid for again, and what breaks prompt caches.

import { byId, h, swap, table } from "./dom.js";
import { count, nanoOf, share, usd } from "./money.js";

const PARTS = ["system", "tools", "history", "results", "retrieved", "question", "other"];
const WORDS = { results: "tool results", other: "images and framing" };
const BREAKS_SHOWN = 5;
const dash = () => h("span", { class: "dim" }, "\u2013");
const colour = (part) => (part === "other" ? "var(--refused)" : `var(--model-${PARTS.indexOf(part)})`);

const partsOf = (row) => {
  const there = PARTS.filter((part) => row.parts[part].share > 0);
  const bar = h("span", { class: "bar-mix", "aria-hidden": "true" }, there.map((part) =>
    h("span", { style: { width: `${row.parts[part].share * 100}%`, background: colour(part) }, title: `${part}: ${row.parts[part].cost_usd} USD` })));
  const list = h("ul", { class: "models" }, there.map((part) => h("li", {},
    h("span", { class: "dot", style: { background: colour(part) } }), `${WORDS[part] ?? part} `,
    h("span", { class: "figure" }, share(row.parts[part].share, 0)))));
  return [bar, list];
};

const breakRow = (row) => ({
  id: `${row.key ?? ""}-${row.model}-${row.at_char}`,
  cells: [
    h("span", { class: "mark-wait" }, `a ${row.why} in the ${row.part === "system" ? "system prompt" : "messages"}`),
    `character ${count(row.at_char)}`, row.team ?? dash(), row.key ?? dash(), row.model, count(row.requests), count(row.tokens), usd(row.lost_usd_per_30_days),
  ],
});

export const showInputs = (report) => {
  const { totals, coverage, groups, cache_breaks: breaks } = report;
  byId("inputs-card").hidden = totals.requests === 0;
  if (totals.requests === 0) return;
  byId("inputs-words").textContent = `${count(coverage.explained)} requests with 1,000 input tokens or more, of ${count(coverage.requests)}; what was sent before counts from what this gateway remembers.`;
  const rows = groups.map((row) => {
    const again = row.sent_before;
    return { id: row.group.team ?? "", cells: [
      h("span", { class: "named" }, row.group.team ?? "unallocated", ...partsOf(row)),
      count(row.input_tokens), usd(row.input_cost_usd), usd(again.again.cost_usd), usd(again.twice.cost_usd),
      nanoOf(row.cache_breaks.lost_usd) === 0n ? dash() : usd(row.cache_breaks.lost_usd),
    ] };
  });
  const columns = [{ name: "Team" }, ...["Input tokens", "Input cost", "Sent again", "Twice in one", "Lost to cache breaks"].map((name) => ({ name, number: true }))];
  const lost = breaks.length === 0 ? h("p", { class: "legend" }, "No time or number was seen to break a prompt cache.")
    : table("What breaks prompt caches, dearest first", [{ name: "What moves" }, { name: "Where" }, { name: "Team" }, { name: "Key" }, { name: "Model" },
      ...["Requests", "Tokens behind it", "Lost in 30 days"].map((name) => ({ name, number: true }))], breaks.slice(0, BREAKS_SHOWN).map(breakRow), { kind: "breaks", wide: true });
  swap(byId("inputs"), table("Input cost by part", columns, rows, { kind: "mix", wide: true }), lost);
};
