// The latest decisions, one a row.

import { colourName } from "./colours.js";
import { h, swap, table } from "./dom.js";
import { usd } from "./money.js";
import { clockText, reasonLong, reasonShort } from "./words.js";

const dash = () => h("span", { class: "dim" }, "\u2013");

export const outcomeMark = (row) => {
  const kind = row.outcome === "answered" ? "good" : row.outcome === "open" ? "wait" : "bad";
  return h("span", { class: `mark-${kind}` }, row.error_code ? `${row.outcome}: ${row.error_code}` : row.outcome.replaceAll("_", " "));
};

export const modelMark = (model, premium) => (model === null ? dash() : h("span", { class: "named" },
  h("span", { class: "dot", style: { background: `var(${colourName(model, premium)})` } }), model));

const COLUMNS = [
  { name: "Time, UTC" }, { name: "Tier" }, { name: "Model" }, { name: "Reason" },
  { name: "Cost", number: true }, { name: "Premium", number: true }, { name: "Saved", number: true }, { name: "Outcome" },
];

export const showLatest = (place, rows, open) => {
  const shown = rows.map((row) => ({
    id: row.decision_id,
    class: "opens",
    onclick: () => open(row.decision_id),
    cells: [
      h("button", { type: "button", class: "plain", "data-focus": row.decision_id, "aria-haspopup": "dialog",
        "aria-label": `Explain the decision of ${clockText(row.time)}` }, clockText(row.time, { short: true })),
      row.quality_tier ?? dash(),
      modelMark(row.model, row.premium),
      h("span", { title: `${row.reason}: ${reasonLong(row.reason)}` }, reasonShort(row.reason)),
      usd(row.cost_usd),
      row.premium_cost_usd ? usd(row.premium_cost_usd.point) : dash(),
      row.savings_usd ? usd(row.savings_usd) : dash(),
      outcomeMark(row),
    ],
  }));
  swap(place, shown.length ? table("The latest decisions, newest first", COLUMNS, shown, { kind: "latest", wide: true })
    : h("p", { class: "none" }, "Nothing in this span."));
};
