// Stable codes in words.

const REASONS = {
  cheapest_within_tolerance: ["cheapest within threshold", "The cheapest model whose predicted loss is within the threshold."],
  premium_is_cheapest: ["premium is cheapest", "Premium itself costs least of all within the threshold."],
  zero_tolerance: ["no loss accepted", "The caller accepts no loss, so premium answers."],
  no_ground: ["unlike anything known", "The prompt is unlike anything calibrated: abstained upward, to premium."],
  promise_not_calibrated: ["not calibrated", "The policy demands a calibrated promise, and this workload has none: premium answers."],
  none_within_tolerance: ["none within threshold", "Every cheaper model is predicted to lose more than the threshold."],
  premium_not_eligible: ["premium may not serve", "Premium may not serve this: the best of those that may."],
  cascade: ["checked, cheap first", "A cheaper model is asked first and its answer checked; a better one answers when a check fails."],
  guard_downgrade: ["curbed by a guard", "A guard tripped that asks for a cheaper model: the cheapest that may serve."],
  budget_downgrade: ["what the budget allows", "The budgets have no room for what was chosen: the best that they have room for."],
  pinned: ["pinned", "The caller named the model."],
  refused: ["refused", "Refused before any vendor was asked."],
};
export const reasonShort = (code) => REASONS[code]?.[0] ?? code;
export const reasonLong = (code) => REASONS[code]?.[1] ?? code;

const WHY = {
  loss_above_threshold: "predicted loss above the threshold",
  dearer: "dearer",
  loses_more: "loses more than what fits the budget",
  budget: "no room in the budgets",
  no_placement: "nothing known of its quality",
  not_pinned: "another model was named",
  zero_tolerance: "no loss accepted",
  no_ground: "no ground to predict on",
  promise_not_calibrated: "no calibrated promise",
  no_api_key: "no API key for it here",
  context_window: "does not fit its context window",
  key: "not allowed for this key",
};
const WHY_WITH = {
  lacks: (name) => `lacks ${name.replaceAll("_", " ")}`,
  wire: (name) => `its wire cannot carry ${name.replaceAll("_", " ")}`,
  refuses: (name) => `refuses ${name.replaceAll("_", " ")}`,
  rule: (name) => `kept out by rule ${name}`,
};
export const whyText = (code) => {
  const [name, detail] = code.split(/:(.*)/s);
  return detail && WHY_WITH[name] ? WHY_WITH[name](detail) : WHY[code] ?? code;
};

export const STEPS = { routing: "Saved by routing", pinned: "Saved by callers who named a model", retries_and_escalations: "Spent on failed and escalated attempts" };
export const featureText = (name) => name.replaceAll("_", " ");

// Everything is told in UTC, as ledger and report have it; today's date goes without saying.
export const clockText = (iso, { short = false } = {}) => {
  const time = iso.slice(11, 19);
  return short && iso.slice(0, 10) === new Date().toISOString().slice(0, 10) ? time : `${iso.slice(0, 10)} ${time}`;
};
