// Tables with small bars: cost by model and team, the tier mix, the waterfall, coverage.

import { colourName } from "./colours.js";
import { h, swap, table } from "./dom.js";
import { count, nanoOf, numberOf, range, share, textOf, usd } from "./money.js";
import { STEPS } from "./words.js";

const nothing = () => h("p", { class: "none" }, "Nothing in this span.");
// What rounds to nothing is still something.
const mixShare = (part, whole) => (part * 200 < whole ? "<\u202f1\u202f%" : share(part / whole, 0));
const percent = (part, whole) => `${whole > 0 ? Math.max(0, Math.min(100, (part / whole) * 100)) : 0}%`;

// Realised in front of premium, premium's low and high as a whisker.
const costBar = (row, most) => {
  const { low, point, high } = row.premium_cost_usd;
  const whisker = { left: percent(numberOf(low), most), right: `calc(100% - ${percent(numberOf(high), most)})` };
  return h("span", { class: "bar-box", "aria-hidden": "true" },
    h("span", { class: "bar-prem", style: { width: percent(numberOf(point), most) } }),
    h("span", { class: "bar-real", style: { width: percent(numberOf(row.realized_cost_usd), most) } }),
    h("span", { class: "bar-whisker", style: whisker }));
};

export const showGroups = (place, name, groups, { premium = null, unnamed } = {}) => {
  const most = Math.max(...groups.map((row) => Math.max(numberOf(row.premium_cost_usd.high), numberOf(row.realized_cost_usd))), 0);
  const byCost = [...groups].sort((one, other) =>
    nanoOf(other.premium_cost_usd.point) > nanoOf(one.premium_cost_usd.point) ? 1 : -1);
  const dot = (row) => h("span", { class: "dot", style: { background: row[name] ? `var(${colourName(row[name], premium)})` : "var(--refused)" } });
  const rows = byCost.map((row) => ({
    id: row[name] ?? "",
    cells: [
      h("span", { class: "named" }, premium ? dot(row) : null, row[name] ?? unnamed,
        premium && row[name] === premium ? h("span", { class: "note" }, "premium") : null),
      costBar(row, most),
      count(row.requests),
      usd(row.realized_cost_usd),
      h("span", { class: "stack" }, usd(row.premium_cost_usd.point), range(row.premium_cost_usd)),
      usd(row.savings_usd.point),
      share(row.savings_share),
    ],
  }));
  const columns = [{ name: name.replace(/^./, (letter) => letter.toUpperCase()) }, { name: "", class: "bars" },
    ...["Requests", "Realised", "Premium", "Saved", "Share"].map((each) => ({ name: each, number: true }))];
  swap(place, rows.length ? table(`Cost by ${name}`, columns, rows, { kind: "costs" }) : nothing());
};

// groups by tier and model; tiers in the policy's order, from premium down
export const showTiers = (place, groups, quality, premium) => {
  const tolerances = new Map(quality.map((each) => [each.tier, each.tolerance]));
  const order = [...tolerances.keys()];
  const rank = (tier) => (order.includes(tier) ? order.indexOf(tier) : order.length);
  const tiers = [...new Set(groups.map((row) => row.tier))].sort((one, other) => rank(one) - rank(other));
  const total = groups.reduce((sum, row) => sum + row.requests, 0);
  const rows = tiers.map((tier) => {
    const parts = groups.filter((row) => row.tier === tier).sort((one, other) => other.requests - one.requests);
    const requests = parts.reduce((sum, row) => sum + row.requests, 0);
    const colour = (row) => (row.model ? `var(${colourName(row.model, premium)})` : "var(--refused)");
    const bar = h("span", { class: "bar-mix", "aria-hidden": "true" }, parts.map((row) =>
      h("span", { style: { width: percent(row.requests, requests), background: colour(row) }, title: `${row.model ?? "none"}: ${row.requests}` })));
    const list = h("ul", { class: "models" }, parts.map((row) => h("li", {},
      h("span", { class: "dot", style: { background: colour(row) } }), `${row.model ?? "no model"} `,
      h("span", { class: "figure" }, mixShare(row.requests, requests)))));
    const tolerance = tolerances.get(tier);
    return { id: tier ?? "", cells: [
      h("span", { class: "named" }, tier ?? "no tier named", tolerance === undefined ? null
        : h("span", { class: "note", title: "what the mean loss over these requests may be" }, `tolerance ${tolerance ? share(tolerance, 0) : "0"}`), bar, list),
      count(requests), share(requests / total),
    ] };
  });
  const columns = [{ name: "Tier" }, { name: "Requests", number: true }, { name: "Share", number: true }];
  swap(place, rows.length ? table("Requests by quality tier and model", columns, rows, { kind: "mix" }) : nothing());
};

export const showWaterfall = (place, report) => {
  const top = nanoOf(report.totals.premium_cost_usd.point);
  const bottom = nanoOf(report.totals.realized_cost_usd);
  const most = Number(top > bottom ? top : bottom);
  let level = top;
  const bar = (from, to, kind) => {
    const [low, high] = from < to ? [from, to] : [to, from];
    const edge = (value) => percent(Number(value), most);
    return h("span", { class: "bar-box", "aria-hidden": "true" },
      h("span", { class: `bar-step ${kind}`, style: { left: edge(low), right: `calc(100% - ${edge(high)})` } }));
  };
  const row = (name, amount, box, kind) => ({ class: kind, cells: [h("span", { class: "named" }, name, box), amount] });
  const rows = [row("Premium would have cost", usd(report.totals.premium_cost_usd.point), bar(0n, top, "prem"), "total")];
  for (const step of report.waterfall) {
    const saved = nanoOf(step.usd);
    const kind = saved < 0n ? "bad" : "good";
    rows.push({ ...row(STEPS[step.step] ?? step.step, usd(textOf(-saved), { signed: true }), bar(level, level - saved, kind)), class: kind });
    level -= saved;
  }
  rows.push(row("Realised cost", usd(report.totals.realized_cost_usd), bar(0n, bottom, "real"), "total"));
  swap(place, table("From what premium would have cost to what was paid", [{ name: "Step" }, { name: "USD", number: true }], rows, { kind: "fall" }));
};

export const showCoverage = (place, report) => {
  const { coverage, totals } = report;
  const line = (name, value, why) => h("div", {}, h("dt", {}, name), h("dd", {}, value), h("dd", { class: "sub" }, why));
  swap(place, h("dl", { class: "cover" },
    line("Priced", share(coverage.priced), "of the requests that reached a vendor have a cost"),
    line("Modelled", share(coverage.modelled), "of them have a premium cost beside it"),
    line("Estimated", count(coverage.estimated), "requests whose vendor reported no usage: tokens are estimated"),
    coverage.excluded.map((each) => line("Left out", count(each.requests), each.why)),
    line("Answered", count(totals.answered), `of ${count(totals.requests)} requests`)));
};
