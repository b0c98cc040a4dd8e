// The lines over time, drawn by uPlot.

import { element, setText, svg } from "./dom.js";
import { clock, count, duration, known, none, score, short } from "./format.js";

/* global uPlot */

const height = 176;
const gap = 45_000; // milliseconds between two samples that no line crosses
const dashes = [[6, 4], [2, 3], [10, 3, 2, 3]];
const markColors = { champion: "--accent", drift: "--warn", schema: "--good" };
const titles = { majority: "majority class", last_label: "last label", frozen_twin: "frozen twin" };

export const baselineName = (name) => titles[name] ?? name;

const scoreRange = (u, min, max) => {
  if (!known(min) || !known(max)) return [0, 1];
  const pad = Math.max((max - min) * 0.08, 0.004);
  return [Math.max(0, min - pad), max + pad];
};
const countRange = (u, min, max) => [0, known(max) ? Math.max(max * 1.1, 10) : 10];
const places = (u, splits, axis, space, step) => splits.map((v) => v.toFixed(step < 0.01 ? 3 : step < 0.1 ? 2 : 1));

// scores returns the lines of scores number at, and where there are few models those of the whole life, number life.
const scores = (at, life) => ({ models, baselines }) => {
  const lines = models.map((name, i) => ({ name, color: "--s" + i % 8, width: 2, value: (s) => s.models[i]?.[at] }));
  if (life && models.length <= 4) {
    lines.push(...models.map((name, i) => ({
      name: name + ", whole life", color: "--s" + i % 8, width: 1, dash: [3, 2], value: (s) => s.models[i]?.[life],
    })));
  }
  lines.push(...baselines.map((name, i) => ({
    name: baselineName(name), color: "--base", width: 1.5, dash: dashes[i % dashes.length], value: (s) => s.baselines[i]?.[at],
  })));
  return lines;
};

const specs = [
  { title: "Test accuracy", lines: scores(0), format: score, range: scoreRange, ticks: places },
  { title: "Test log loss (nats)", lines: scores(1), format: score, range: scoreRange, ticks: places },
  {
    title: "Records per second", format: count, range: countRange, ticks: (u, splits) => splits.map(short),
    lines: () => [{ name: "learned", color: "--s0", width: 1.5, value: (s) => s.records_per_second }],
  },
  { title: "Accuracy before learning", lines: scores(2, 4), format: score, range: scoreRange, ticks: places },
  { title: "Log loss before learning (nats)", lines: scores(3, 5), format: score, range: scoreRange, ticks: places },
  {
    title: "Lag (records)", format: count, range: countRange, ticks: (u, splits) => splits.map(short),
    lines: () => [{ name: "records not learned yet", color: "--s1", width: 1.5, value: (s) => s.lag_records }],
  },
];

// colors holds the values of the style sheet's variables, which a canvas cannot look up itself.
const colors = {
  known: new Map(),
  of(name) {
    if (!this.known.has(name)) {
      this.known.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
    }
    return this.known.get(name);
  },
};

class Chart {
  constructor(spec, view) {
    this.spec = spec;
    this.view = view;
    this.time = element("span");
    this.plot = element("div", { class: "plot", role: "img", "aria-label": spec.title + ": nothing yet" });
    this.empty = element("div", { class: "empty" }, "Nothing measured yet");
    this.legend = element("ul", { class: "legend" });
    this.root = element("figure", { class: "card chart" }, element("h3", {}, spec.title, this.time), this.plot, this.legend);
    this.plot.append(this.empty);
    new ResizeObserver(() => this.u?.setSize({ width: this.plot.clientWidth, height })).observe(this.plot);
  }

  // build begins anew with the lines that the names give.
  build(names) {
    this.u?.destroy();
    this.lines = this.spec.lines(names);
    this.values = this.lines.map((line) => {
      const swatch = svg("svg", { width: 20, height: 4, "aria-hidden": "true" },
        svg("line", { x1: 0, y1: 2, x2: 20, y2: 2, stroke: `var(${line.color})`, "stroke-width": line.width, "stroke-dasharray": (line.dash ?? []).join(" ") }));
      const value = element("b", {}, none);
      return { item: element("li", {}, swatch, line.name, value), value };
    });
    this.legend.replaceChildren(...this.values.map((v) => v.item));
    const axis = { stroke: () => colors.of("--muted"), font: "11px system-ui, sans-serif", ticks: { show: false }, grid: { stroke: () => colors.of("--grid"), width: 1 } };
    this.u = new uPlot({
      width: Math.max(this.plot.clientWidth, 100), height, legend: { show: false }, padding: [8, 22, 0, 0],
      cursor: { sync: { key: "time" }, drag: { x: false, y: false }, y: false },
      scales: { x: { time: true, range: () => this.view.range() }, y: { range: this.spec.range } },
      series: [{}, ...this.lines.map((line) => ({
        stroke: () => colors.of(line.color), width: line.width, dash: line.dash, points: { show: (u) => u.data[0].length < 3, size: 4 },
      }))],
      axes: [
        { ...axis, size: 26, space: 76, values: (u, splits, i, space, step) => splits.map((t) => clock(t * 1000, step < 60)) },
        { ...axis, size: 44, space: 28, values: this.spec.ticks },
      ],
      hooks: { setCursor: [() => this.read()], draw: [(u) => this.mark(u)] },
    }, [[], ...this.lines.map(() => [])], this.plot);
  }

  show(samples) {
    const data = [[], ...this.lines.map(() => [])];
    let last = null;
    for (const s of samples) {
      if (last !== null && s.time - last > gap) {
        data[0].push((last + 1) / 1000);
        for (let i = 0; i < this.lines.length; i++) data[i + 1].push(null);
      }
      last = s.time;
      data[0].push(s.time / 1000);
      for (let i = 0; i < this.lines.length; i++) data[i + 1].push(this.lines[i].value(s) ?? null);
    }
    this.empty.hidden = data.slice(1).some((values) => values.some((v) => v !== null));
    this.u.setData(data);
    this.read();
    this.summarise(data);
  }

  // mark draws a line where something happened.
  mark(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const m of this.view.marks) {
      const x = u.valToPos(m.time, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = colors.of(markColors[m.kind] ?? "--muted");
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  // read writes the values at the cursor, or the newest, into the legend.
  read() {
    if (!this.u) return;
    const times = this.u.data[0], at = this.u.cursor.idx ?? times.length - 1;
    const happened = this.view.marks.filter((m) => m.time === times[at]).map((m) => ": " + m.text);
    setText(this.time, this.u.cursor.idx != null && times.length ? clock(times[at] * 1000) + happened.join("") : "");
    this.values.forEach(({ value }, i) => setText(value, this.spec.format(this.u.data[i + 1][at])));
  }

  // summarise says in words what the lines show.
  summarise(data) {
    const [from] = this.view.range(), first = data[0].findIndex((t) => t >= from);
    const lines = this.lines.map((line, i) => {
      const values = data[i + 1].slice(Math.max(first, 0)).filter((v) => v !== null);
      if (!values.length) return line.name + " not known";
      const f = this.spec.format;
      return `${line.name} from ${f(values[0])} to ${f(values.at(-1))}, lowest ${f(Math.min(...values))}, highest ${f(Math.max(...values))}`;
    });
    for (const m of this.view.marks) if (m.time >= from) lines.push(`${clock(m.time * 1000)} ${m.text}`);
    this.plot.setAttribute("aria-label", `${this.spec.title}, last ${duration(this.view.seconds)}: ${lines.join("; ")}.`);
  }
}

export class Charts {
  constructor(parent, buttons) {
    this.seconds = 900;
    this.samples = [];
    this.marks = []; // what happened: a time of a sample, in seconds, a kind, and a text
    this.charts = specs.map((spec) => new Chart(spec, this));
    parent.append(...this.charts.map((c) => c.root));
    for (const button of buttons) {
      button.addEventListener("click", () => {
        this.seconds = Number(button.dataset.seconds);
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        for (const c of this.charts) c.show(this.samples);
      });
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      colors.known.clear();
      for (const c of this.charts) c.u?.redraw(false);
    });
  }

  // range returns what the time axes show, in seconds: no more than there is, but at least 30 s.
  range() {
    const newest = (this.samples.at(-1)?.time ?? Date.now()) / 1000, oldest = (this.samples[0]?.time ?? 0) / 1000;
    return [Math.min(Math.max(newest - this.seconds, oldest), newest - 30), newest];
  }

  build(names) {
    for (const c of this.charts) c.build(names);
  }

  // show draws samples, and where in them events happened: a sample is the first of so many records.
  show(samples, events) {
    this.samples = samples;
    this.marks = [];
    for (const e of events) {
      const at = samples.findIndex((s) => s.records >= e.record);
      if (at > 0) this.marks.push({ ...e, time: samples[at].time / 1000 });
    }
    for (const c of this.charts) c.show(samples);
  }
}
