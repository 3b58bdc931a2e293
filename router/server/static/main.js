// The page: asks, shows, asks again. What is shown is always of one span, cut by the gateway's own clock.

import { ask, AskError, gatewayNow, key } from "./api.js";
import { ScatterChart, TimeChart } from "./charts.js";
import { colourName } from "./colours.js";
import { decisionParts } from "./decision.js";
import { byId, h, swap, table } from "./dom.js";
import { showCoverage, showGroups, showTiers, showWaterfall } from "./groups.js";
import { showInputs } from "./inputs.js";
import { showLatest } from "./latest.js";
import { showBudgets, showGuards } from "./limits.js";
import { count, nanoOf, range, share, textOf, usd, usdText } from "./money.js";
import { clockText } from "./words.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const SPANS = {
  "1h": { bucket: "minute", ms: MINUTE_MS, buckets: 60, words: "the last hour, by minute" },
  "24h": { bucket: "hour", ms: HOUR_MS, buckets: 24, words: "the last 24 hours, by hour" },
  "7d": { bucket: "day", ms: DAY_MS, buckets: 7, words: "the last 7 days, by day" },
  "30d": { bucket: "day", ms: DAY_MS, buckets: 30, words: "the last 30 days, by day" },
};
const REFRESH_MS = 15_000;
// A ledger of millions takes seconds to sum up: the page waits a multiple of what it made the gateway do.
const REST_FACTOR = 10;
const SCATTER_ROWS = 200;
const FIRST_ROWS = 12;
const MORE_ROWS = 25;

const state = { span: "24h", auto: true, timer: null, asked: 0, rest_ms: REFRESH_MS, shownAt: null, rows: [], older: false, visible: FIRST_ROWS, from: "" };
const charts = {};

// --- reading ---------------------------------------------------------------------------------------------------------

const spanAt = (now) => {
  const { ms, buckets } = SPANS[state.span];
  const from = Math.floor(now / ms) * ms - (buckets - 1) * ms;
  return { from: new Date(from).toISOString(), to: new Date(now).toISOString(), start_ms: from };
};

const read = async () => {
  const span = spanAt(await gatewayNow());
  const { from, to } = span;
  const report = (groups) => ask("v1/reports/savings", { from, to, group_by: groups });
  const [time, model, team, tier, list, budgets, guards, inputs] = await Promise.all([
    report(SPANS[state.span].bucket), report("model"), report("team"), report("tier,model"),
    ask("v1/decisions", { from, limit: SCATTER_ROWS }), unlessAway("v1/budgets", { budgets: [] }), ask("v1/guards", { from, to }),
    ask("v1/reports/context", { from, to, group_by: "team" }),
  ]);
  return { span, time, model, team, tier, list, budgets, guards, inputs };
};

// A store of budgets that does not answer takes its own card away, and not the page.
const unlessAway = (path, otherwise) => ask(path).catch((error) => {
  if (error instanceof AskError && error.kind === "refused") return otherwise;
  throw error;
});

// Buckets without a request are in no report: they are zeros here, so that a quiet hour is seen as one.
const bucketsOf = (report, start_ms) => {
  const { bucket, ms, buckets } = SPANS[state.span];
  const known = new Map(report.groups.map((row) => [row[bucket], row]));
  const zero = "0.000000000";
  const none = { savings_usd: { low: zero, point: zero, high: zero }, realized_cost_usd: zero, requests: 0 };
  return Array.from({ length: buckets }, (_, index) => {
    const iso = new Date(start_ms + index * ms).toISOString();
    const name = bucket === "day" ? iso.slice(0, 10) : `${iso.slice(0, 16)}Z`;
    const row = known.get(name) ?? none;
    const label = bucket === "day" ? name : `${name.slice(0, 10)} ${name.slice(11, 16)} UTC`;
    return { at_s: (start_ms + index * ms) / 1000, label, savings: row.savings_usd, cost: row.realized_cost_usd, requests: row.requests };
  });
};

// --- showing ---------------------------------------------------------------------------------------------------------

const showHeadline = ({ totals }) => {
  swap(byId("savings"), usd(totals.savings_usd.point));
  byId("savings").classList.toggle("minus", totals.savings_usd.point.startsWith("-"));
  swap(byId("savings-share"), totals.savings_share === null ? "" : `${share(totals.savings_share)} of premium\u2002`);
  swap(byId("savings-range"), range(totals.savings_usd));
  swap(byId("cost"), usd(totals.realized_cost_usd));
  swap(byId("premium"), usd(totals.premium_cost_usd.point));
  swap(byId("premium-range"), range(totals.premium_cost_usd));
  swap(byId("requests"), count(totals.requests));
  swap(byId("answered"), `${count(totals.answered)} answered`);
  byId("measured").textContent = totals.measured === null ? totals.measured_why : "";
  byId("measured").hidden = totals.measured !== null;
};

const showTime = (report, start_ms) => {
  const buckets = bucketsOf(report, start_ms);
  charts.time.set(buckets);
  byId("bucket").textContent = `by ${SPANS[state.span].bucket}, UTC`;
  const best = buckets.reduce((one, other) => (nanoOf(other.savings.point) > nanoOf(one.savings.point) ? other : one));
  byId("time-words").textContent = `Over ${SPANS[state.span].words}: ${usdText(report.totals.savings_usd.point)} saved; most in ${best.label}, ${usdText(best.savings.point)}.`;
  const rows = buckets.filter((each) => each.requests).map((each) => ({ id: each.label, cells: [
    each.label, count(each.requests), usd(each.cost), usd(each.savings.low), usd(each.savings.point), usd(each.savings.high)] }));
  swap(byId("time-table"), table(`Savings by ${SPANS[state.span].bucket}`, [{ name: "Time" }, ...["Requests", "Realised", "Saved, low", "Saved", "Saved, high"]
    .map((name) => ({ name, number: true }))], rows, { kind: "times", wide: true }));
};

const showScatter = (rows, premium, hasMore) => {
  const placed = rows.filter((row) => row.expected_loss !== null && row.model !== null && nanoOf(row.cost_usd) > 0n);
  const left = rows.length - placed.length;
  const which = hasMore ? `The latest ${count(rows.length)} decisions` : `All ${count(rows.length)} decisions`;
  byId("scatter-words").textContent = `${which} of the span: cost in USD on a logarithmic scale, quality predicted relative to premium's.`
    + (left ? ` ${count(left)} without a cost or a prediction are left out.` : "");
  const models = charts.scatter.set(placed, premium);
  swap(byId("scatter-models"), models.map((model) => h("li", {},
    h("span", { class: "dot", style: { background: `var(${colourName(model, premium)})` } }), model)));
  const lines = models.map((model) => {
    const mine = placed.filter((row) => row.model === model);
    const costs = mine.map((row) => nanoOf(row.cost_usd)).sort((one, other) => (one < other ? -1 : 1));
    const losses = mine.map((row) => row.expected_loss);
    const quality = (loss) => share(1 - loss, 2);
    return { id: model, cells: [model, count(mine.length), usd(textOf(costs[0])), usd(textOf(costs.at(-1))),
      quality(Math.max(...losses)), quality(Math.min(...losses))] };
  });
  swap(byId("scatter-table"), table("Cost and predicted quality by model", [{ name: "Model" }, ...["Decisions", "Cost, least", "Cost, most", "Quality, least", "Quality, most"]
    .map((name) => ({ name, number: true }))], lines, { kind: "points", wide: true }));
};

const showRows = () => {
  showLatest(byId("latest"), state.rows.slice(0, state.visible), open);
  byId("more").hidden = state.visible >= state.rows.length && !state.older;
};

const show = ({ span, time, model, team, tier, list, budgets, guards, inputs }) => {
  const { totals } = time;
  byId("when").textContent = `${clockText(span.from)} to ${clockText(span.to)} UTC, ${SPANS[state.span].words}`;
  byId("figures").hidden = totals.requests === 0;
  showEmpty(totals.requests === 0);
  const known = list.data.find((row) => row.premium)?.premium ?? null;
  // Rows of older pages stay below the newest page; where pages no longer meet, they would leave a hole.
  const oldest = list.data.at(-1)?.decision_id;
  const seam = state.rows.findIndex((row) => row.decision_id === oldest);
  const kept = seam >= 0 && state.from === span.from ? state.rows.slice(seam + 1) : [];
  state.rows = [...list.data, ...kept];
  state.older = kept.length ? state.older : list.has_more;
  state.from = span.from;
  if (totals.requests) {
    // By name, before anything is drawn: the same models have the same colours however they come.
    model.groups.map((row) => row.model).filter(Boolean).sort().forEach((name) => colourName(name, known));
    showHeadline(time);
    showTime(time, span.start_ms);
    showGroups(byId("by-model"), "model", model.groups, { premium: known ?? " ", unnamed: "no model" });
    showGroups(byId("by-team"), "team", team.groups, { unnamed: "unallocated" });
    showTiers(byId("tiers"), tier.groups, time.quality, known);
    showScatter(list.data, known, list.has_more);
    showWaterfall(byId("waterfall"), time);
    showCoverage(byId("coverage"), time);
    showBudgets(budgets.budgets);
    showGuards(guards);
    showInputs(inputs);
    showRows();
  }
  byId("method").textContent = `${time.method.charAt(0).toUpperCase()}${time.method.slice(1)}`;
  byId("revisions").textContent = `Prices ${time.price_revision.slice(0, 12)}, policy ${time.policy_revisions.map((each) => each.slice(0, 12)).join(", ")}.`;
};

const showEmpty = (isEmpty) => {
  byId("empty").hidden = !isEmpty;
  if (!isEmpty) return;
  byId("empty-title").textContent = `No requests in ${SPANS[state.span].words.split(",")[0]}`;
  byId("empty-why").textContent = "A longer span may hold older ones. Or send one:";
  const auth = key.get() ? " \\\n  -H \"Authorization: Bearer $TOLLGATE_KEY\"" : "";
  byId("curl").textContent = `curl -i ${new URL("v1/chat/completions", document.baseURI)} \\\n  -H 'Content-Type: application/json' -H 'X-Quality-Tier: balanced'${auth} \\\n`
    + "  -d '{\"model\": \"auto\", \"messages\": [{\"role\": \"user\", \"content\": \"What is the capital of France?\"}]}'";
};

const notice = (text) => {
  byId("notice").hidden = text === null;
  byId("notice").textContent = text ?? "";
};

const showKeyForm = (message) => {
  const fresh = byId("key-form").hidden;
  for (const id of ["figures", "empty"]) byId(id).hidden = true;
  byId("key-form").hidden = false;
  byId("key-error").textContent = message;
  byId("when").textContent = "";
  if (byId("decision").open) byId("decision").close();
  if (fresh) byId("key").focus();
};

const fail = (error) => {
  if (!(error instanceof AskError)) throw error;
  if (error.kind === "key") {
    notice(null);
    showKeyForm(key.get() ? `That key was not accepted: ${error.message}.` : "");
    key.forget();
    return;
  }
  const kept = state.shownAt === null ? "" : ` The figures below are those of ${clockText(state.shownAt)} UTC.`;
  const next = state.auto ? " It will be asked again." : "";
  notice(error.kind === "away" ? `The gateway at ${location.host} does not answer.${kept}${next}` : `The gateway could not report: ${error.message}.${kept}${next}`);
  if (state.shownAt === null) byId("when").textContent = "";
};

// --- the loop --------------------------------------------------------------------------------------------------------

const refresh = async () => {
  clearTimeout(state.timer);
  const mine = ++state.asked;
  const started = performance.now();
  byId("main").setAttribute("aria-busy", "true");
  try {
    const found = await read();
    if (mine !== state.asked) return;
    notice(null);
    byId("key-form").hidden = true;
    state.shownAt = new Date().toISOString();
    show(found);
  } catch (error) {
    if (mine === state.asked) fail(error);
  } finally {
    if (mine === state.asked) {
      state.rest_ms = Math.max(REFRESH_MS, REST_FACTOR * (performance.now() - started));
      byId("main").setAttribute("aria-busy", "false");
      byId("forget").hidden = key.get() === null;
      if (state.auto && byId("key-form").hidden) state.timer = setTimeout(tick, state.rest_ms);
    }
  }
};
const tick = () => { if (document.hidden) state.timer = setTimeout(tick, REFRESH_MS); else refresh(); };

const more = async () => {
  state.visible += MORE_ROWS;
  if (state.visible > state.rows.length && state.older) {
    try {
      const page = await ask("v1/decisions", { from: state.from, limit: SCATTER_ROWS, before: state.rows.at(-1).decision_id });
      state.rows = [...state.rows, ...page.data];
      state.older = page.has_more;
    } catch (error) { fail(error); }
  }
  showRows();
};

const open = async (id) => {
  if (location.hash !== `#${id}`) history.replaceState(null, "", `#${id}`);
  const dialog = byId("decision");
  swap(byId("decision-body"), h("p", { class: "none" }, "Reading…"));
  if (!dialog.open) dialog.showModal();
  try {
    swap(byId("decision-body"), decisionParts(await ask(`v1/decisions/${encodeURIComponent(id)}`)));
  } catch (error) {
    if (!(error instanceof AskError)) throw error;
    if (error.kind === "key") fail(error);
    else swap(byId("decision-body"), h("p", { class: "bad" }, error.kind === "missing" ? "There is no such decision, or it is not for this key." : error.message));
  }
};

const retheme = () => { if (state.shownAt !== null && !byId("figures").hidden) refresh(); };

const start = () => {
  charts.time = new TimeChart(byId("time-plot"));
  charts.scatter = new ScatterChart(byId("scatter-plot"), open);
  byId("span").addEventListener("change", (event) => {
    state.span = event.target.value;
    state.visible = FIRST_ROWS;
    refresh();
  });
  byId("refresh").addEventListener("click", refresh);
  byId("auto").addEventListener("click", () => {
    state.auto = !state.auto;
    byId("auto").setAttribute("aria-pressed", String(state.auto));
    if (state.auto) refresh(); else clearTimeout(state.timer);
  });
  const themed = () => {
    const { name } = globalThis.tollgateTheme;
    byId("theme").textContent = name.replace(/^./, (letter) => letter.toUpperCase());
    byId("theme").setAttribute("aria-label", `Theme: ${name}`);
  };
  themed();
  byId("theme").addEventListener("click", () => { globalThis.tollgateTheme.next(); themed(); retheme(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", retheme);
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    key.set(byId("key").value.trim());
    byId("key").value = "";
    refresh();
  });
  byId("forget").addEventListener("click", () => { key.forget(); state.rows = []; state.shownAt = null; refresh(); });
  byId("more").addEventListener("click", more);
  byId("copy").hidden = !navigator.clipboard;
  byId("copy").addEventListener("click", async () => { await navigator.clipboard.writeText(byId("curl").textContent); byId("copy").textContent = "Copied"; });
  byId("close").addEventListener("click", () => byId("decision").close());
  byId("decision").addEventListener("click", (event) => { if (event.target === byId("decision")) byId("decision").close(); });
  byId("decision").addEventListener("close", () => history.replaceState(null, "", location.pathname));
  const follow = () => { if (location.hash.startsWith("#dec_")) open(location.hash.slice(1)); };
  globalThis.addEventListener("hashchange", follow);
  follow();
  refresh();
};

start();
