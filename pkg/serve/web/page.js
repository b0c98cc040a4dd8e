// Where the numbers come from: /api/events, and where that has no place left /api/status and /api/history every 2 seconds.

import { Charts } from "./charts.js";
import { byId, setClass, setText } from "./dom.js";
import { clock, known } from "./format.js";
import { eventText, render } from "./tables.js";

const most = 3000;         // samples held; with more, the history is asked for anew, which is coarser where it is old
const pollEvery = 2000;    // milliseconds, while there is no stream
const streamAgain = 30000; // after which a stream is asked for again
const wholeEvery = 5000;   // between two looks at what events leave out
const silence = 6000;      // after which nothing has come for too long
const paceOver = 5000;     // that a pace is the mean of

const charts = new Charts(byId("charts"), document.querySelectorAll(".ranges button"));
let names = "", samples = [], status = null, started = "";
let stream = null, streamSince = 0, heard = Date.now(), polled = 0, whole = 0, drawing = false, thinning = false, everHeard = false;

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(5000), cache: "no-store" });
  if (!answer.ok) throw new Error(`${path} answers ${answer.status}`);
  return answer.json();
}

// history returns the samples that the server has, all or those after a time.
async function history(after) {
  const h = await get("api/history" + (after ? "?after=" + after : ""));
  const now = JSON.stringify([h.models, h.baselines]);
  if (now !== names) {
    names = now;
    samples = [];
    charts.build(h);
  }
  return h.samples;
}

const missed = async () => add(...await history(samples.at(-1)?.time));

// add takes samples in, in whatever order they come.
function add(...more) {
  const last = samples.at(-1)?.time ?? 0;
  if (more.length === 1 && more[0].time > last) samples.push(more[0]);
  else samples = [...new Map([...samples, ...more].map((s) => [s.time, s])).values()].sort((a, b) => a.time - b.time);
  if (samples.length > most) thin();
  draw();
}

function thin() {
  if (thinning) return;
  thinning = true;
  history().then((all) => { samples = all; draw(); }).catch(lost).finally(() => { thinning = false; });
}

async function wholeStatus() {
  whole = Date.now();
  show(await get("api/status"));
}

function show(st) {
  if (started && st.started !== started) history().then((all) => add(...all)).catch(lost); // another process answers
  started = st.started;
  status = st;
  draw();
}

// draw draws once in the next frame, whatever came until then.
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (names) charts.show(samples, (status?.events ?? []).map((e) => ({ record: e.record, kind: e.kind, text: eventText(e) })));
    if (status) render(status, pace());
  });
}

// pace returns the records learned in a second, and by how much the rest of the replay shrinks, over the newest samples.
function pace() {
  const to = samples.at(-1);
  const rates = samples.filter((s) => s.time > to.time - paceOver).map((s) => s.records_per_second).filter(known);
  const rate = rates.length ? rates.reduce((a, b) => a + b) / rates.length : null;
  const from = samples.find((s) => s.time >= to.time - 2 * paceOver && s.replay_records > 0);
  const replay = from && to.replay_records > 0 && to.time > from.time
    ? (from.replay_records - to.replay_records) / (to.time - from.time) * 1000 : null;
  return { rate, replay };
}

function heardNow(how) {
  heard = Date.now();
  everHeard = true;
  byId("banner").hidden = true;
  document.body.classList.remove("stale");
  setText(byId("connection"), how);
  setClass(byId("connection"), "connection good");
}

function lost() {
  if (Date.now() - heard < silence && everHeard) return;
  setText(byId("banner"), everHeard ? `No connection since ${clock(heard)}. Trying again.` : "No connection to the service. Trying again.");
  byId("banner").hidden = false;
  document.body.classList.add("stale");
  setText(byId("connection"), "no connection");
  setClass(byId("connection"), "connection bad");
}

function open() {
  close();
  streamSince = Date.now();
  stream = new EventSource("api/events");
  stream.onmessage = (e) => {
    const { sample, status: st } = JSON.parse(e.data);
    heardNow("live");
    add(sample);
    if (st) show(st);
  };
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) stream = null; // refused: there are too many; until then, poll
  };
}

function close() {
  stream?.close();
  stream = null;
}

async function poll() {
  polled = Date.now();
  await Promise.all([missed(), wholeStatus()]);
  heardNow("polling");
}

// tick looks every second whether something has to be done.
function tick() {
  if (document.hidden) return;
  const now = Date.now();
  if (now - heard > silence) lost();
  if (stream && now - heard > 3 * silence && now - streamSince > 3 * silence) open(); // a connection that died unnoticed
  if (!stream) {
    if (now - streamSince > streamAgain) open();
    if (now - polled >= pollEvery) poll().catch(lost);
  } else if (now - whole >= wholeEvery) {
    wholeStatus().catch(lost);
  }
}

async function begin() {
  await Promise.all([missed(), wholeStatus()]);
  heardNow("live");
}

document.addEventListener("visibilitychange", () => {
  close(); // a browser has few connections for each server
  if (document.hidden) return;
  heard = Date.now(); // nobody looked until now
  begin().catch(lost);
  open();
});
begin().catch(lost);
open();
setInterval(tick, 1000);
