// Numbers as text. What is not known (null) is a dash.

export const none = "–";

const whole = new Intl.NumberFormat("en");

export const known = (x) => typeof x === "number" && Number.isFinite(x);

// fixed writes a number with some digits after the point; what is rounded to 0 has no sign.
function fixed(x, digits, plus) {
  if (!known(x)) return none;
  const text = Math.abs(x).toFixed(digits);
  return (Number(text) === 0 ? "" : x < 0 ? "−" : plus) + text;
}

// score writes accuracies, losses, and other small numbers; signed a difference of them.
export const score = (x) => fixed(x, 4, "");

export const signed = (x) => fixed(x, 4, "+");

export const count = (n) => known(n) ? whole.format(Math.round(n)) : none;

export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

// short writes a count in little room.
export function short(n) {
  if (!known(n)) return none;
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(n) >= size) return trimmed(n / size) + unit;
  }
  return trimmed(n);
}

const trimmed = (x) => String(Number(x.toFixed(x >= 100 ? 0 : x >= 10 ? 1 : 2)));

export const percent = (x) => known(x) ? (100 * x).toFixed(1) + " %" : none;

export function duration(seconds) {
  if (!known(seconds)) return none;
  if (seconds === 0) return "0 s";
  if (seconds < 1) return Math.max(1, Math.round(seconds * 1000)) + " ms";
  if (seconds < 10) return seconds.toFixed(1) + " s";
  if (seconds < 60) return Math.round(seconds) + " s";
  const s = Math.round(seconds);
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

const two = (n) => String(n).padStart(2, "0");

// clock writes the time of day of a time in milliseconds, in the reader's time zone.
export function clock(ms, seconds = true) {
  const t = new Date(ms);
  return two(t.getHours()) + ":" + two(t.getMinutes()) + (seconds ? ":" + two(t.getSeconds()) : "");
}
