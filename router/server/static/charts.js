// Two charts on uPlot: savings over time with the band, and cost against predicted quality. Each redraws itself when
// its width or the theme changes. Floats only place points; what is read off them is the decimal text.

import { colourName, colourValue } from "./colours.js";
import { h } from "./dom.js";
import { numberOf, usdText } from "./money.js";
import { clockText } from "./words.js";

const uPlot = globalThis.uPlot;
const FONT = "12px system-ui, sans-serif";
const NEAR_PX = 24;
const SEE_THROUGH = "a8"; // so that where points crowd it grows darker

const axis = (more) => ({
  stroke: () => colourValue("--muted"), font: FONT, labelFont: FONT,
  grid: { stroke: () => colourValue("--line"), width: 1 }, ticks: { show: false }, ...more,
});

// As many decimals as the step between two marks has: a rounded mark would stand in the wrong place. What is left over
// counts beside the step itself: beside 1 a step of a millionth would be none.
const decimalsOf = (step) => {
  let decimals = 0;
  const left = () => Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals));
  while (decimals < 9 && left() > 1e-6 * Math.abs(step) * 10 ** decimals) decimals += 1;
  return decimals;
};
const usdTicks = (_, splits) => {
  const decimals = Math.max(splits.length > 1 ? decimalsOf(splits[1] - splits[0]) : 2, 2);
  return splits.map((value) => `${value < 0 ? "\u2212" : ""}$${Math.abs(value).toFixed(decimals)}`);
};
export const usdDecades = (_, splits) => splits.map((value) =>
  value === null ? "" : `$${value.toFixed(decimalsOf(value))}`);
const decades = (_, splits) => splits.map((value) => (Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6 ? value : null));
const DAY_S = 86_400;
const moments = (_, splits) => splits.map((at) => {
  const iso = new Date(at * 1000).toISOString();
  return at % DAY_S === 0 ? iso.slice(5, 10) : iso.slice(11, 16);
});

class Chart {
  constructor(place, height) {
    this.place = place;
    this.height = height;
    this.tip = h("div", { class: "tip", hidden: true });
    this.plot = null;
    new ResizeObserver(() => this.resize()).observe(place);
  }

  resize() {
    const width = this.place.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }

  draw(options, data) {
    this.plot?.destroy();
    this.place.replaceChildren();
    this.plot = new uPlot({ width: this.place.clientWidth || 320, height: this.height, legend: { show: false }, ...options },
      data, this.place);
    this.tip.hidden = true;
    this.plot.over.append(this.tip);
    this.plot.over.addEventListener("mouseleave", () => { this.tip.hidden = true; });
  }

  show(left, top, ...lines) {
    this.tip.replaceChildren(...lines.map((line, index) => h(index ? "span" : "strong", {}, line)));
    this.tip.hidden = false;
    const room = this.plot.over.clientWidth - this.tip.offsetWidth - 8;
    this.tip.style.left = `${Math.max(0, Math.min(left + 14, room))}px`;
    this.tip.style.top = `${Math.max(0, top - this.tip.offsetHeight - 10)}px`;
  }
}

export class TimeChart extends Chart {
  constructor(place) { super(place, 260); }

  // buckets: [{at_s, label, savings: {low, point, high}, requests}], without holes
  set(buckets) {
    this.buckets = buckets;
    const of = (name) => buckets.map((bucket) => numberOf(bucket.savings[name]));
    const hidden = { stroke: "transparent", points: { show: false } };
    this.draw({
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { drag: { x: false, y: false }, y: false, points: { size: 8, fill: () => colourValue("--saved") } },
      scales: { y: { range: (_, low, high) => uPlot.rangeNum(Math.min(0, low), Math.max(0, high) || 0.01, 0.1, true) } },
      axes: [axis({ space: 64, size: 32, grid: { show: false }, values: moments }), axis({ values: usdTicks, size: 68 })],
      series: [{}, { ...hidden }, {
        stroke: () => colourValue("--saved"), width: 2,
        points: { show: buckets.length <= 31, size: 5, fill: () => colourValue("--saved"), stroke: "transparent" },
      }, { ...hidden }],
      bands: [{ series: [3, 1], fill: () => colourValue("--band") }],
      hooks: { setCursor: [(plot) => this.point(plot)] },
    }, [buckets.map((bucket) => bucket.at_s), of("low"), of("point"), of("high")]);
  }

  point(plot) {
    const bucket = this.buckets[plot.cursor.idx];
    if (!bucket || plot.cursor.left < 0) { this.tip.hidden = true; return; }
    const { low, point, high } = bucket.savings;
    this.show(plot.cursor.left, plot.valToPos(numberOf(point), "y"), bucket.label, `saved ${usdText(point)}`,
      `${usdText(low)} \u2026 ${usdText(high)}`, `${bucket.requests} requests`);
  }
}

export class ScatterChart extends Chart {
  constructor(place, open) {
    super(place, 400);
    this.open = open;
    this.near = null;
    // The wrapper hears it: uPlot's own layer is made anew with each drawing.
    place.addEventListener("click", () => { if (this.near) this.open(this.near.decision_id); });
  }

  // rows: decisions that have both a cost above zero and a prediction
  set(rows, premium) {
    this.rows = [...rows].sort((one, other) => other.expected_loss - one.expected_loss);
    this.near = null;
    const xs = this.rows.map((row) => 1 - row.expected_loss);
    const models = [...new Set(this.rows.map((row) => row.model))].sort();
    const low = Math.min(...xs, 0.98);
    const high = Math.max(...xs, 1);
    const pad = (high - low) * 0.06;
    this.draw({
      cursor: { drag: { x: false, y: false }, x: false, y: false, points: { show: false } },
      scales: { x: { time: false, range: () => [low - pad, high + pad] }, y: { distr: 3 } },
      axes: [
        axis({ values: (_, splits) => splits.map((value) => `${Number((value * 100).toFixed(1))}\u202f%`), space: 60, size: 32 }),
        axis({ values: usdDecades, filter: decades, size: 74, grid: { stroke: () => colourValue("--line"), width: 1, filter: decades } }),
      ],
      series: [{}, ...models.map((model) => ({
        paths: () => null,
        points: { show: true, size: 8, width: 0, stroke: "transparent", fill: () => `${colourValue(colourName(model, premium))}${SEE_THROUGH}` },
      }))],
      hooks: { setCursor: [(plot) => this.seek(plot)] },
    }, [xs, ...models.map((model) => this.rows.map((row) => (row.model === model ? numberOf(row.cost_usd) : null)))]);
    return models;
  }

  seek(plot) {
    const { left, top } = plot.cursor;
    let best = NEAR_PX ** 2;
    this.near = null;
    if (left >= 0) {
      for (const row of this.rows) {
        const x = plot.valToPos(1 - row.expected_loss, "x");
        const y = plot.valToPos(numberOf(row.cost_usd), "y");
        const distance = (x - left) ** 2 + (y - top) ** 2;
        if (distance < best) [best, this.near] = [distance, row];
      }
    }
    plot.over.classList.toggle("pointing", this.near !== null);
    if (!this.near) { this.tip.hidden = true; return; }
    const quality = `${((1 - this.near.expected_loss) * 100).toFixed(2)}\u202f% of premium's quality, predicted`;
    this.show(left, top, this.near.model, usdText(this.near.cost_usd), quality, `${clockText(this.near.time)} UTC`);
  }
}
