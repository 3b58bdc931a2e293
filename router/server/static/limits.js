// What may be spent, and what was stopped.

import { byId, h, swap, table } from "./dom.js";
import { nanoOf, share, textOf, usd } from "./money.js";
import { clockText } from "./words.js";

const BUDGETS_SHOWN = 12;
const TRIPS_SHOWN = 8;
const dash = () => h("span", { class: "dim" }, "\u2013");

// Thousandths, from exact amounts: a float is made of them only to draw.
const filled = (part, whole) => Math.min(1, Number((nanoOf(part) * 1000n) / (nanoOf(whole) || 1n)) / 1000);

const meter = (row) => {
  const settled = filled(row.settled_usd, row.limit_usd);
  const held = filled(textOf(nanoOf(row.settled_usd) + nanoOf(row.reserved_usd)), row.limit_usd);
  const words = `${share(settled)} settled, ${share(held)} with what calls under way hold`;
  return h("span", { class: "meter", title: words },
    h("span", { class: "unseen" }, words),
    h("span", { class: "held", style: { width: `${held * 100}%` } }),
    h("span", { class: settled >= 1 ? "spent out" : "spent", style: { width: `${settled * 100}%` } }));
};

// An account that is spent has no moment to come: the report gives the moment of asking.
const isSpent = (row) => nanoOf(row.settled_usd) >= nanoOf(row.limit_usd);

const ownerOf = (row) => (row.scope === "all" ? "everybody" : row.owner ?? "nobody named");

export const showBudgets = (rows) => {
  byId("budgets-card").hidden = rows.length === 0;
  const shown = rows.slice(0, BUDGETS_SHOWN).map((row) => ({
    id: `${row.name}/${row.owner ?? ""}`,
    cells: [
      `${row.name}${row.kind === "soft" ? " (soft)" : ""}`, ownerOf(row), meter(row), usd(row.settled_usd), usd(row.reserved_usd), usd(row.limit_usd),
      row.exhausted_at === null ? dash() : h("span", { class: "mark-bad" }, isSpent(row) ? "now" : clockText(row.exhausted_at).slice(0, 16)),
      row.to === null ? dash() : clockText(row.to).slice(0, 16),
    ],
  }));
  const columns = [{ name: "Budget" }, { name: "Whose" }, { name: "Spent" }, ...["Settled", "Reserved", "Limit"].map((name) => ({ name, number: true })),
    { name: "Exhausted, at this pace" }, { name: "Begins anew, UTC" }];
  swap(byId("budgets"), table("Budgets, the fullest first", columns, shown, { kind: "budgets", wide: true }),
    rows.length > BUDGETS_SHOWN ? h("p", { class: "legend" }, `${rows.length - BUDGETS_SHOWN} more: tollgate budgets`) : null);
};

const MARKS = { stop: "mark-bad", throttle: "mark-bad", downgrade: "mark-wait", release: "mark-good", exempt: "mark-good", probe: "mark-wait" };

export const showGuards = ({ scopes, trips }) => {
  byId("guards-card").hidden = scopes.length + trips.length === 0;
  const stopped = scopes.filter((row) => row.state === "stopped");
  swap(byId("guards-words"), stopped.length
    ? `${stopped.length === 1 ? "One scope is" : `${stopped.length} scopes are`} stopped: ${stopped.map((row) => row.scope_id).slice(0, 3).join(", ")}. Release with tollgate guards release.`
    : "Nothing is stopped now.");
  const rows = trips.slice(0, TRIPS_SHOWN).map((row, index) => ({
    id: `${row.guard_id}-${index}`,
    cells: [
      clockText(row.time), row.guard.replaceAll("_", " "), h("span", { class: MARKS[row.action] ?? "" }, row.action), row.scope_id,
      row.team ?? row.key_id ?? dash(), usd(row.leaked_usd),
      Object.entries(row.evidence).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`).join(", "),
    ],
  }));
  swap(byId("guards"), table("The latest trips of guards", [{ name: "Time, UTC" }, { name: "Guard" }, { name: "Did" }, { name: "Scope" }, { name: "Whose" },
    { name: "Leaked", number: true }, { name: "Because" }], rows, { kind: "trips", wide: true }));
};
