// How numbers, times and modes are told.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const count = n => whole.format(n);

// perSecond tells small rates to the tenth.
export const perSecond = n => (n < 100 ? tenths : whole).format(n);

export const people = n => count(n) + (n === 1 ? " person" : " people");

// span tells seconds as people do.
export const span = s => {
  s = Math.round(s);
  if (s < 60) return s + " s";
  const m = Math.round(s / 60);
  if (m < 60) return m + " min";
  const h = Math.floor(m / 60), rest = m % 60;
  if (h >= 48) return Math.round(h / 24) + " days";
  return h + " h" + (rest ? " " + rest + " min" : "");
};

// wait tells an estimate: a band, or that there is none.
export const wait = w => {
  if (!w.known) return "unknown";
  if (w.high_s < 1) return "none";
  const low = span(w.low_s), high = span(w.high_s);
  if (low === high || w.low_s < 1) return "up to " + high;
  const [a, unit] = low.split(" "), [, other] = high.split(" ");
  return (unit === other && low.split(" ").length === 2 ? a : low) + "–" + high;
};

// units are those that a rate can be told in, each with its hours.
export const units = { "per second": 3600, "per minute": 60, "per hour": 1 };

// unit is the one in which a rate reads best.
export const unit = perHour => (perHour >= 18000 ? "per second" : perHour >= 60 ? "per minute" : "per hour");

export const rate = perHour => {
  if (!perHour) return "no limit";
  const u = unit(perHour);
  return tenths.format(perHour / units[u]) + " " + u;
};

export const capacity = n => (n ? count(n) : "no limit");

export const modes = {
  auto: "Automatic", hold: "Paused", open: "Open to all", closed: "Closed",
};

export const modesTold = {
  auto: "A line when one is needed.",
  hold: "Visitors join and keep their places; nobody is let in.",
  open: "Everyone passes, without a line.",
  closed: "Nobody new joins; who waits is still let in.",
};

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export const atSecond = at => clock.format(at);
export const atMinute = at => minute.format(at);
export const when = at => (at ? moment.format(new Date(at)) : "none");

export const percent = share => tenths.format(100 * share) + " %";

export const milliseconds = ms => (ms < 0.1 ? "under 0.1 ms" : ms >= 1000 ? tenths.format(ms / 1000) + " s" : (ms < 10 ? tenths : whole).format(ms) + " ms");
