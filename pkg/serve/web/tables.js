// What is told beside the lines over time: from /api/status, or from an event.

import { baselineName } from "./charts.js";
import { byId, element, keyed, setClass, setText, svg, Table } from "./dom.js";
import { count, duration, known, none, percent, plural, score, signed } from "./format.js";

const shownEffects = 20;
const manyColumns = 20; // that are not shown unless they are asked for

const number = (name, format) => (item) => format(item[name]);
const tested = (name) => (item) => score(item.test?.[name]);

function verdict(m, cell) {
  const c = m.comparison;
  setClass(cell, "left");
  cell.title = "";
  if (m.baseline) return "";
  if (m.champion) return "leads";
  if (!c || !known(c.difference)) return "not compared yet";
  if (c.low > 0 || c.high < 0) setClass(cell, "left " + (c.low > 0 ? "good-text" : "bad-text"));
  cell.title = `over ${plural(c.records, "record")}, segment ${count(c.segment)}`;
  const word = c.low > 0 ? "better" : c.high < 0 ? "worse" : "undecided";
  return `${word}, ${signed(c.difference)} [${signed(c.low)}, ${signed(c.high)}]`;
}

const pair = (accuracy, loss) => known(accuracy) ? `${score(accuracy)} / ${score(loss)}` : none;

const models = new Table("models", [
  {
    title: "Model", left: true, fill(m, cell) {
      if (m.baseline) return m.title;
      if (!cell.firstChild) {
        cell.append(element("a", { href: `api/models/${encodeURIComponent(m.name)}/state`, title: "the state as safetensors" }, m.name),
          element("span", { class: "badge good mark" }, "champion"));
      }
      cell.lastChild.hidden = !m.champion;
    },
  },
  { title: "Kind", left: true, fill: (m) => m.kind },
  { title: "Records", fill: number("records", count) },
  { title: "Test accuracy", fill: tested("accuracy") },
  { title: "Log loss", fill: tested("log_loss") },
  { title: "AUC", fill: tested("auc") },
  { title: "Brier", fill: tested("brier") },
  { title: "Calibration error", fill: tested("calibration_error") },
  { title: "Recent accuracy / loss", fill: (m) => m.recent_records ? pair(m.recent_accuracy, m.recent_loss) : none },
  { title: "Whole life", fill: (m) => pair(m.progressive_accuracy, m.progressive_loss) },
  { title: "Loss below the champion's", left: true, fill: verdict },
], "No model has learned yet.");

const partitions = new Table("partitions", [
  { title: "Partition", left: true, fill: number("partition", String) },
  { title: "Learned to", fill: number("learned_offset", count) },
  { title: "Merged to", fill: number("next_offset", count) },
  { title: "Range in hand", fill: (p) => `${count(p.range_start)} – ${count(p.range_end)}` },
  {
    title: "Replayed", fill(p, cell) {
      if (!cell.firstChild) cell.append(element("span", { class: "bar" }, element("span")));
      const size = p.range_end - p.range_start;
      const done = p.caughtUp || size <= 0 ? 1 : Math.min(1, Math.max(0, (p.learned_offset - p.range_start) / size));
      cell.firstChild.firstChild.style.width = 100 * done + "%";
      cell.firstChild.title = percent(done);
    },
  },
  { title: "Lag, records", fill: (p) => p.holder ? count(p.lag_records) : none },
  { title: "Behind", fill: (p) => p.holder ? duration(p.lag_seconds) : none },
  { title: "In open transactions", fill: (p) => p.holder ? count(p.open_transaction_records) : none },
  {
    title: "Waited for", left: true, fill(p, cell) {
      setClass(cell, p.waiting ? "left warn-text" : "left zero");
      return p.waiting ? "yes" : "no";
    },
  },
], "No partition is held yet.");

const quiet = (name) => (item, cell) => {
  setClass(cell, item[name] ? "" : "zero");
  return count(item[name]);
};
const skipped = new Table("skipped", [
  { title: "Reason", left: true, fill: (r) => r.reason },
  { title: "Train", fill: quiet("train") },
  { title: "Test", fill: quiet("test") },
], "None.");

const detectors = { adwin: "ADWIN", page_hinkley: "Page-Hinkley", psi: "PSI" };
const signals = { champion: "champion's loss", excess: "twin's excess loss", features: "features" };
const drift = new Table("drift", [
  { title: "Detector", left: true, fill: (d) => `${detectors[d.detector] ?? d.detector}, ${signals[d.signal] ?? d.signal}` },
  { title: "Score", fill: number("score", score) },
  { title: "Reports", fill: quiet("reports") },
], "Nothing is watched yet.");

const stability = new Table("stability", [
  { title: "Feature", left: true, fill: (f) => f.feature },
  { title: "Index", fill: number("population_stability_index", score) },
], "No window of features is complete yet.");

// tile writes a number of the headline, with something small behind it and two lines below; null leaves a line as it is.
function tile(id, value, small, first, second, tone = "") {
  const [, big, one, two] = byId(id).children;
  if (big.textContent !== value + small || big.lastChild.className !== tone) {
    big.replaceChildren(value, element("small", { class: tone }, small));
  }
  setText(one, first);
  if (second !== null) setText(two, second);
}

// gain returns by how much a score differs from a baseline's, and whether that is good.
function gain(value, baseline, lowIsGood) {
  if (!known(value) || !known(baseline)) return ["", ""];
  return [" " + signed(value - baseline), value === baseline ? "" : (value < baseline) === lowIsGood ? "good-text" : "bad-text"];
}

function headline(st, champion, pace) {
  const test = champion?.test, majority = st.test?.baselines.majority;
  const of = known(test?.accuracy) ? `${champion.name}, ${plural(st.test.window_records, "record")}` : "no test record yet";
  for (const [id, name, lowIsGood] of [["tile-accuracy", "accuracy", false], ["tile-loss", "log_loss", true]]) {
    const [small, tone] = gain(test?.[name], majority?.[name], lowIsGood);
    tile(id, score(test?.[name]), small, `majority class ${score(majority?.[name])}`, of, tone);
  }
  const twin = st.baselines.find((b) => b.name === "frozen_twin");
  const recent = champion?.recent_records ? champion.recent_accuracy : null;
  tile("tile-recent", score(recent), "", known(recent) ? `whole life ${score(champion.progressive_accuracy)}` : "nothing learned yet",
    twin?.recent_records ? `frozen twin ${score(twin.recent_accuracy)}` : "no frozen twin yet");
  const holds = st.role === "holder";
  tile("tile-rate", holds ? count(pace.rate) : none, holds && known(pace.rate) ? " /s" : "",
    `${count(champion?.records ?? 0)} learned`, holds ? "mean of the last 5 s" : st.role === "standby" ? "the holder learns" : "");
  tile("tile-lag", holds ? count(st.lag_records) : none, holds ? (st.lag_records === 1 ? " record" : " records") : "",
    holds ? `${duration(st.lag_seconds)} behind` : "known to the holder",
    plural(st.partitions.length, "partition"));
  replay(st, pace);
}

function replay(st, pace) {
  const bar = byId("tile-replay").querySelector(".bar > span");
  let share = 0, value = none, text = st.role === "standby" ? "standby" : "not known yet";
  if (st.caught_up || st.role === "standby" && st.ready) {
    share = 1;
    value = st.role === "standby" ? "Follows" : "Learned";
    text = st.role === "standby" ? "the holder's checkpoints" : "caught up";
  } else if (st.replay) {
    share = st.replay.done_records / st.replay.records;
    value = percent(share);
    const left = st.replay.records - st.replay.done_records;
    text = `${count(left)} to go, ETA ${known(pace.replay) && pace.replay > 0 ? duration(left / pace.replay) : none}`;
  }
  tile("tile-replay", value, "", text, null);
  bar.style.width = 100 * share + "%";
}

function top(st) {
  setText(byId("role"), st.role);
  setClass(byId("role"), "badge" + (st.role === "joining" ? " warn" : ""));
  setText(byId("ready"), st.ready ? "ready" : "not ready");
  setClass(byId("ready"), "badge " + (st.ready ? "good" : "warn"));
  setText(byId("topics"), `${st.train_topic} → ${st.test_topic}`);
  const reasons = st.reasons ?? [];
  const text = st.ready
    ? st.note || "Caught up, measured, and answering."
    : "Not ready: " + reasons.slice(0, 2).join("; ") + (reasons.length > 2 ? `; and ${reasons.length - 2} more` : "");
  setText(byId("reasons"), text);
  keyed(byId("all-reasons"), reasons.length ? reasons : ["ready"], (r) => r, () => element("li"), (li, r) => setText(li, r));
}

function facts(id, entries) {
  keyed(byId(id), entries.flatMap(([name, value]) => [["dt", name, name], ["dd", name, value]]), ([tag, name]) => tag + name,
    ([tag]) => element(tag), (e, [, , text]) => setText(e, text));
}

function service(st) {
  const kept = Date.parse(st.checkpoint_time);
  facts("service", [
    ["role", st.role],
    ["group", st.group],
    ["lineage", st.lineage || none],
    ["checkpoint", st.sequence ? count(st.sequence) : none],
    ["its age", known(kept) ? duration(Math.max(0, (Date.now() - kept) / 1000)) : none],
    ["its writer", st.writer || none],
    ["records were lost", st.gap ? "yes" : "no"],
    ["features", st.features ? count(st.features) : none],
    ["champion since record", known(st.champion.since_record) ? count(st.champion.since_record) : none],
    ["changes of champion", count(st.champion.changes)],
    ["age of the frozen twin", st.twin_age_records ? count(st.twin_age_records) + " records" : none],
    ["up for", duration(Math.max(0, (Date.now() - Date.parse(st.started)) / 1000))],
  ]);
  setText(byId("build"), `learner ${st.build.version} ${(st.build.revision ?? "").slice(0, 12)}`);
}

export function eventText(e) {
  if (e.kind === "champion") return `champion ${e.before} → ${e.champion}`;
  if (e.kind === "schema") {
    const changes = [e.added && `new columns ${e.added}`, e.lacks && `without ${e.lacks}`].filter(Boolean).join(", ");
    return [e.schema, changes].filter(Boolean).join(": ");
  }
  const where = e.feature ? `feature ${e.feature}` : e.signal === "excess" ? "the twin's excess loss" : "the champion's loss";
  return `drift in ${where}: ${detectors[e.detector] ?? e.detector} ${score(e.score)}`;
}

function events(st) {
  const all = st.events.map((e, i) => ({ key: `${e.record} ${e.kind} ${i}`, text: `record ${count(e.record)}: ${eventText(e)}` })).reverse();
  keyed(byId("events"), all.length ? all : [{ key: "", text: "no change of champion, no drift, no new schema" }], (e) => e.key,
    () => element("li"), (li, e) => setText(li, e.text));
}

// render shows a status. pace holds the records a second that were learned, and those of the replay.
export function render(st, pace) {
  const champion = st.models.find((m) => m.champion) ?? st.models[0];
  top(st);
  headline(st, champion, pace);
  const baselines = st.baselines.map((b) => ({
    ...b, baseline: true, title: baselineName(b.name), kind: "baseline", rowClass: "baseline", test: st.test?.baselines[b.name],
  }));
  models.show([...st.models.map((m) => ({ ...m, rowClass: m.champion ? "champion" : "" })), ...baselines], (m) => (m.baseline ? "baseline " : "model ") + m.name);
  partitions.show(st.partitions.map((p) => ({ ...p, holder: st.role === "holder", caughtUp: st.caught_up })), (p) => p.partition);
  skipped.show(Object.keys(st.skipped.train).map((reason) => ({ reason, train: st.skipped.train[reason], test: st.skipped.test[reason] })), (r) => r.reason);
  drift.show(st.drift, (d) => d.detector + " " + d.signal);
  stability.show(st.stability.filter((f) => known(f.population_stability_index))
    .sort((a, b) => b.population_stability_index - a.population_stability_index).slice(0, 5), (f) => f.feature);
  service(st);
  events(st);
  columnsOf(st, champion);
  one(st, champion);
}

const columns = new Table("columns", [
  { title: "Column", left: true, fill: number("name", String) },
  { title: "Values", left: true, fill: (c) => c.kind === "category" ? "categories" : "numbers" },
  { title: "Missing", fill: (c, cell) => { setClass(cell, c.share ? "" : "zero"); return percent(c.share); } },
], "None.");

// columnsOf shows the columns of rows where they say something: they have names, or values of them are missing.
function columnsOf(st, champion) {
  const all = st.columns, box = byId("columns-box");
  if (!all) return; // an event, which leaves them out
  const useful = all.some((c) => /\D/.test(c.name) || c.missing_records > 0);
  if (box.hidden && useful) box.open = all.length <= manyColumns;
  box.hidden = !useful;
  if (!useful) return;
  const categories = all.filter((c) => c.kind === "category").length, slots = st.categories;
  let text = all.length < st.features ? `the first ${count(all.length)} of ${count(st.features)}` : count(all.length);
  if (categories) text += `, ${count(categories)} of them of categories; ${count(slots.used)} of ${count(slots.slots)} slots are used`;
  setText(byId("columns-note"), `Columns: ${text}`);
  const records = Math.max(1, champion?.records ?? 0);
  columns.show(all.map((c) => ({ ...c, share: Math.min(1, c.missing_records / records) })), (c) => c.name);
}

// One model: the champion until another is chosen.
let chosen = "", latest = null, all = false;
const effects = new Map(); // by model

byId("which").addEventListener("change", (e) => {
  chosen = e.target.value;
  if (latest) one(latest, latest.models.find((m) => m.champion) ?? latest.models[0]);
});
byId("all-effects").addEventListener("click", () => {
  all = !all;
  if (latest) one(latest, latest.models.find((m) => m.champion) ?? latest.models[0]);
});

function one(st, champion) {
  latest = st;
  for (const m of st.models) if (m.effects) effects.set(m.name, m.effects);
  const which = byId("which");
  keyed(which, [{ name: "" }, ...st.models], (m) => m.name, (m) => element("option", { value: m.name }), (option, m) =>
    setText(option, m.name || `the champion${champion ? ` (${champion.name})` : ""}`));
  const m = st.models.find((x) => x.name === chosen) ?? champion;
  calibration(m?.test);
  confusion(m?.test);
  facts("facts", [
    ["learning rate", known(m?.learning_rate) && m.learning_rate > 0 ? m.learning_rate.toPrecision(3) : none],
    ["weight norm", score(m?.weight_norm)],
    ["steps refused", count(m?.nonfinite_steps ?? 0)],
  ]);
  for (const link of byId("take").children) {
    if (m) link.setAttribute("href", `api/models/${encodeURIComponent(m.name)}/state?format=${link.dataset.format}`);
  }
  features(st, m);
}

function calibration(test) {
  const size = 200, left = 42, x = (p) => left + p * size, y = (p) => 8 + (1 - p) * size;
  const bins = (test?.calibration ?? []).filter((b) => b.records > 0);
  const total = bins.reduce((sum, b) => sum + b.records, 0);
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const say = bins.map((b) => `${score(b.predicted)} predicted, ${score(b.observed)} observed, ${count(b.records)} records`).join("; ");
  byId("calibration").replaceChildren(svg("svg", {
    viewBox: `0 0 ${left + size + 12} ${size + 42}`, role: "img", "aria-label": "Calibration: " + (say || "nothing measured yet"),
  },
  ...ticks.flatMap((t) => [
    svg("line", { class: "axis", x1: x(t), x2: x(t), y1: y(0), y2: y(1) }),
    svg("line", { class: "axis", x1: x(0), x2: x(1), y1: y(t), y2: y(t) }),
    svg("text", { x: x(t), y: y(0) + 14, "text-anchor": "middle" }, String(t)),
    svg("text", { x: left - 5, y: y(t) + 3, "text-anchor": "end" }, String(t)),
  ]),
  svg("text", { x: x(0.5), y: y(0) + 29, "text-anchor": "middle" }, "predicted probability of class 1"),
  svg("text", { transform: `translate(9 ${y(0.5)}) rotate(-90)`, "text-anchor": "middle" }, "observed share"),
  svg("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
  svg("polyline", { class: "curve", points: bins.map((b) => `${x(b.predicted)},${y(b.observed)}`).join(" ") }),
  ...bins.map((b) => svg("circle", { cx: x(b.predicted), cy: y(b.observed), r: 2.5 + 9 * Math.sqrt(b.records / total) / 1.5 },
    svg("title", {}, `${score(b.predicted)} predicted, ${score(b.observed)} observed, ${count(b.records)} records`)))));
  setText(byId("calibration-note"), test && total ? `Calibration error ${score(test.calibration_error)}. A dot is a tenth of the answers' range, its area the records.` : "Nothing measured yet.");
}

function confusion(test) {
  const rows = byId("confusion").tBodies[0].rows;
  for (let actual = 0; actual < 2; actual++) {
    const counts = test?.confusion[actual], sum = counts ? counts[0] + counts[1] : 0;
    for (let predicted = 0; predicted < 2; predicted++) {
      const cell = rows[actual].cells[predicted + 1];
      setText(cell, count(counts?.[predicted]));
      setClass(cell, "share");
      cell.style.setProperty("--share", sum ? counts[predicted] / sum : 0);
    }
    setText(rows[actual].cells[3], sum ? percent(counts[actual] / sum) : none);
  }
}

function features(st, m) {
  const list = (m && effects.get(m.name)) ?? [], shown = all ? list : list.slice(0, shownEffects);
  const largest = Math.max(...list.map((e) => Math.abs(e.log_odds ?? 0)), 1e-12);
  const button = byId("all-effects");
  button.hidden = list.length <= shownEffects;
  button.setAttribute("aria-expanded", String(all));
  setText(button, all ? `Show the first ${shownEffects}` : `Show all ${count(list.length)}`);
  setText(byId("effects-note"), list.length || !st.features ? "Log-odds of the answer when the feature alone stands one deviation above its mean, or is missing."
    : st.features > 784 ? "Not shown for rows of more than 784 features." : "Not known yet.");
  keyed(byId("effects"), shown, (e) => e.feature, () => element("li", {},
    element("span", { class: "name" }), element("span", { class: "signed", "aria-hidden": "true" }, element("span")), element("span", { class: "number" })),
  (li, e) => {
    const [name, bar, value] = li.children;
    setText(name, e.feature);
    name.title = e.feature;
    setClass(bar.firstChild, e.log_odds < 0 ? "down" : "up");
    bar.firstChild.style.width = 50 * Math.abs(e.log_odds ?? 0) / largest + "%";
    setText(value, signed(e.log_odds));
  });
}
