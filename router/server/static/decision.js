// One decision from features to money: what was seen in the request, who could have answered and why each lost, and
// what it came to.

import { colourName } from "./colours.js";
import { h, table } from "./dom.js";
import { modelMark, outcomeMark } from "./latest.js";
import { count, range, share, usd } from "./money.js";
import { clockText, featureText, reasonLong, whyText } from "./words.js";

const SHOWN = 8;
const dash = () => h("span", { class: "dim" }, "\u2013");
const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value ?? dash()));
const step = (number, title, ...content) => h("section", { class: "step" },
  h("h3", {}, h("span", { class: "num", "aria-hidden": "true" }, number), title), content);
const digits = (value, places) => value.toFixed(places).replace("-", "\u2212");

const asked = (row) => step("1", "What was asked", h("dl", { class: "facts" },
  fact("Tier", row.quality_tier), fact("Tolerance", row.tolerance === null ? null : `${row.tolerance} mean loss`),
  fact("Team", row.team), fact("Project", row.project), fact("Key", row.key_id),
  fact("Tags", Object.entries(row.tags).map(([name, value]) => `${name}=${value}`).join(", ") || null),
  fact("Surface", `${row.surface}${row.is_streamed ? ", streamed" : ""}`)));

// Counts are kept as logarithms, word lists as the logarithm of their share: told here as counts and per cent.
const isSize = (name) => name.startsWith("log_") || name.endsWith("_log");
const FAMILIES = [
  ["Size", isSize, (name) => featureText(name.replace(/^log_|_log$/, "")), (value) => count(Math.round(Math.expm1(value)))],
  ["Vocabulary", (name) => name.startsWith("words_"), (name) => featureText(name.slice(6)), (value) => `${Math.expm1(value).toFixed(1)}\u202f%`],
  ["Shape", (name) => !isSize(name) && !name.startsWith("words_"), (name) => featureText(name.replace(/^share_/, "")),
    (value, name) => (name.startsWith("share_") ? share(value) : digits(value, 2))],
];
// How far from the usual prompt, in spreads of the training data: to the right above it, to the left below.
const FAR = 3;
const deviationBar = (deviation) => {
  const half = `${Math.min(Math.abs(deviation), FAR) / FAR * 50}%`;
  return h("span", { class: "bar-dev" }, h("span", { class: "unseen" }, `, ${digits(deviation, 1)} spreads from the usual`),
    h("span", { class: "to", style: { [deviation < 0 ? "right" : "left"]: "50%", width: half } }));
};
const features = ({ receipt, feature_deviations: deviations }) => {
  const weight = ([name, value]) => (deviations === null ? Math.abs(value) : Math.abs(deviations[name] ?? 0));
  const all = Object.entries(receipt.features).filter(([name, value]) => value !== 0 || Math.abs(deviations?.[name] ?? 0) >= 1);
  const lists = FAMILIES.map(([title, belongs, named, shown]) => {
    const mine = all.filter(([name]) => belongs(name)).sort((one, other) => weight(other) - weight(one));
    return h("div", {}, h("h4", {}, title), mine.length ? h("dl", { class: "pairs" }, mine.slice(0, SHOWN).map(([name, value]) =>
      h("div", {}, h("dt", {}, named(name)), h("dd", {}, shown(value, name), deviations === null ? null : name in deviations ? deviationBar(deviations[name]) : h("span", { class: "no-dev" })))))
      : h("p", { class: "none" }, "none"));
  });
  const order = deviations === null ? "The largest that are not zero" : "Those furthest from the usual prompt first, right of the line above it and left below";
  return step("2", "What was seen in it", h("dl", { class: "facts" },
    fact("Complexity", digits(receipt.complexity, 3)), fact("Support", digits(receipt.support, 2)),
    fact("Most like", receipt.kind), fact("Ground to predict on", receipt.has_ground ? "yes" : "no")),
  h("p", { class: "legend" }, `${order}; ${Object.keys(receipt.features).length} features in all, numbers only: no text is kept.`),
  h("div", { class: "families" }, lists));
};

const promiseText = ({ promise, calibration, labels_needed: needed }) => (calibration ? `${promise}, ${calibration}`
  : needed ? `${promise}; ${count(needed)} graded prompts would calibrate it` : promise);

// Reasons that follow from the threshold: the fallbacks are within it too. Any other order was made without it.
const BY_THRESHOLD = ["cheapest_within_tolerance", "premium_is_cheapest", "none_within_tolerance", "cascade"];

// The tolerance is of a mean, the threshold of one request: neither is the other.
const bounds = (receipt) => [
  h("dl", { class: "facts" },
    fact("Tolerance, of the mean", String(receipt.tolerance)),
    fact("Threshold, of this request", receipt.threshold === null ? "none: premium alone" : digits(receipt.threshold, 4)),
    receipt.promise ? fact("Promise", promiseText(receipt)) : null),
  h("p", { class: "legend" }, "The mean loss over the requests sent with a tolerance is to stay within it. One request goes to the cheapest model whose predicted "
    + "loss is within the threshold calibrated for it, which may lie above or below.",
  BY_THRESHOLD.includes(receipt.reason) || receipt.threshold === null ? "" : " Here the threshold did not decide."),
];

// The predicted loss on a line from 0 to beyond the threshold; right of the mark is too much.
const lossBar = (loss, threshold, most) => {
  const at = (value) => `${Math.max(0, Math.min(100, (value / most) * 100))}%`;
  return h("span", { class: "bar-loss", "aria-hidden": "true" },
    h("span", { class: loss <= (threshold ?? 0) ? "in" : "out", style: { width: at(loss) } }),
    threshold === null ? null : h("span", { class: "limit", style: { left: at(threshold) } }));
};

const candidates = (receipt, premium) => {
  const losses = receipt.candidates.map((each) => each.predicted_loss ?? 0);
  // Near the threshold is where it is decided: what loses far more is drawn as a full bar.
  const most = receipt.threshold > 0 ? receipt.threshold * 4 : Math.max(...losses, 0.02);
  const cheapest = [...receipt.candidates].sort((one, other) => one.expected_cost_nanousd - other.expected_cost_nanousd);
  const rows = cheapest.map((each) => {
    const chosen = each.model === receipt.model;
    const loss = each.predicted_loss === null ? dash()
      : h("span", { class: "stack" }, digits(each.predicted_loss, 4), lossBar(each.predicted_loss, receipt.threshold, most));
    const verdict = chosen ? h("strong", { class: "mark-good" }, "chosen") : each.why_not.map(whyText).join("; ");
    return { id: each.model, class: chosen ? "chosen" : "", cells: [
      h("span", { class: "named" }, h("span", { class: "dot", style: { background: `var(${colourName(each.model, premium)})` } }),
        each.model, each.model === premium ? h("span", { class: "note" }, "premium") : null),
      each.quality === null ? dash() : h("span", {}, digits(each.quality, 3), h("span", { class: "dim" }, ` \u00b1${digits(each.quality_width, 3)}`)),
      loss, usd(each.expected_cost_usd), verdict,
    ] };
  });
  const within = BY_THRESHOLD.includes(receipt.reason) ? "within the threshold, " : "";
  const fallbacks = receipt.order.slice(1).join(", ");
  return step("3", "Who could have answered", ...bounds(receipt),
    receipt.rules.length ? h("p", { class: "legend" }, `Rules that applied: ${receipt.rules.join(", ")}.`) : null,
    table("Every candidate, cheapest first", [{ name: "Model" }, { name: "Quality", number: true }, { name: "Loss", number: true },
      { name: "Expected cost", number: true }, { name: "Verdict", class: "verdict" }], rows, { kind: "candidates", wide: true }),
    fallbacks ? h("p", { class: "legend" }, `Fallbacks ${within}in order: ${fallbacks}.`) : null);
};

const money = (row) => {
  const attempts = row.attempts.map((each) => ({ id: each.attempt, cells: [
    `#${each.attempt}`, each.model, outcomeMark(each), each.latency_ms === null ? dash() : `${count(each.latency_ms)}\u202fms`,
    each.usage_source ?? dash(), each.cost_usd === null ? dash() : usd(each.cost_usd)] }));
  const sums = h("dl", { class: "sums" },
    h("div", {}, h("dt", {}, "Realised cost"), h("dd", { id: "decision-cost" }, usd(row.cost_usd)), h("dd", { class: "sub" },
      `${count(row.input_tokens)} in (${count(row.cache_read_tokens)} from cache), ${count(row.output_tokens)} out, ${row.usage_source}`)),
    row.premium_cost_usd ? h("div", {}, h("dt", {}, `${row.premium} would have cost`), h("dd", {}, usd(row.premium_cost_usd.point)),
      h("dd", { class: "sub" }, range(row.premium_cost_usd))) : null,
    row.savings_usd ? h("div", { class: "result" }, h("dt", {}, "Saved"), h("dd", { id: "decision-savings" }, usd(row.savings_usd))) : null);
  return step("4", "What it came to", sums, attempts.length
    ? table("Attempts", [{ name: "Attempt" }, { name: "Model" }, { name: "Outcome" }, { name: "Latency", number: true },
      { name: "Usage" }, { name: "Cost", number: true }], attempts, { kind: "attempts", wide: true })
    : h("p", { class: "none" }, "No vendor was asked."));
};

const labels = (row) => (row.feedback.length ? step("5", "How good it turned out", h("dl", { class: "facts" },
  row.feedback.map((each) => fact(`${each.source}, ${clockText(each.time)}`, digits(each.score, 2))))) : null);

export const decisionParts = (row) => [
  h("p", { class: "verdict-line" }, modelMark(row.model, row.premium), outcomeMark(row)),
  h("p", { class: "legend" }, reasonLong(row.reason), " ", h("code", {}, row.reason)),
  h("p", { class: "legend" }, `${clockText(row.time)} UTC`, " \u00b7 ", h("code", {}, row.decision_id)),
  asked(row),
  row.receipt?.features ? features(row) : null,
  row.receipt?.candidates ? candidates(row.receipt, row.premium) : null,
  money(row),
  labels(row),
].filter(Boolean);
