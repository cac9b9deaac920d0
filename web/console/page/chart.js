// Charts of the last minutes, second by second, drawn by hand.
import { el, svg, text, flag } from "./dom.js";
import { atSecond } from "./words.js";

const height = 88, top = 6, bottom = 3, dot = 3.5;
export const minutes = 5;

// nice is a round number at or above n.
export const nice = n => {
  if (n <= 0) return 1;
  const ten = 10 ** Math.floor(Math.log10(n));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find(k => k * ten >= n * (1 - 1e-9)) * ten;
};

// path draws a line through points, broken where one is missing or where two are
// further apart than a gap.
const path = (points, gap) => {
  let d = "", last = null;
  for (const p of points) {
    if (p.y === null) { last = null; continue; }
    d += (last === null || p.at - last > gap ? "M" : "L") + p.x.toFixed(1) + " " + p.y.toFixed(1);
    last = p.at;
  }
  return d;
};

// area is a line and all that lies below it.
const area = (points, floor, gap) => {
  let d = "", run = [];
  const close = () => {
    if (run.length > 1) d += "M" + run[0].x.toFixed(1) + " " + floor + run.map(p => "L" + p.x.toFixed(1) + " " + p.y.toFixed(1)).join("") + "L" + run.at(-1).x.toFixed(1) + " " + floor + "Z";
    run = [];
  };
  for (const p of points) {
    if (p.y === null || (run.length && p.at - run.at(-1).at > gap)) close();
    if (p.y !== null) run.push(p);
  }
  close();
  return d;
};

// pointed is the instant that is pointed at in all charts; null: now.
const pointed = { at: null, charts: new Set() };
const point = at => {
  pointed.at = at;
  for (const c of pointed.charts) c.draw();
};

// Chart shows a value of each second.
//
//   name    what it shows
//   value   beat → number or null
//   told    number → words
//   limit   beat → a line that the value should stay below; 0: none
//   floor   beat → a lower value that the shape reaches down to, as a band
//   spiky   shows single seconds faintly, and their mean over ten as the line
//   least   what the scale reaches at least
//   span    how much time is shown, in milliseconds
//   gap     how far apart beats may be that are joined by a line
//   clock   an instant → words
//   by      what a beat is, in words
export class Chart {
  constructor(options) {
    Object.assign(this, { told: String, least: 1, span: minutes * 60e3, gap: 3500, clock: atSecond, by: "second" }, options);
    this.beats = [];
    this.width = 300;
    this.base = svg("path", { class: "base" });
    this.shape = svg("path", { class: "area" });
    this.line = svg("path", { class: "line" });
    this.limitLine = svg("path", { class: "limit" });
    this.cross = svg("path", { class: "cross" });
    this.dot = svg("circle", { class: "dot", r: dot });
    this.picture = svg("svg", { "aria-hidden": "true", height, preserveAspectRatio: "none" },
      this.base, this.shape, this.limitLine, this.line, this.cross, this.dot);
    this.now = el("b");
    this.at = el("span", { class: "at" });
    this.most = el("span", { class: "most" });
    this.frame = el("div", {
      class: "frame", tabindex: 0, role: "slider", "aria-label": this.name + ", by " + this.by, "aria-valuemin": -this.span / 1000, "aria-valuemax": 0,
      onpointermove: e => this.aim(e.offsetX / this.picture.clientWidth), onpointerleave: () => point(null),
      onblur: () => point(null), onkeydown: e => this.step(e),
    }, this.picture, this.most);
    this.node = el("figure", { class: "chart " + (this.kind || "") }, el("figcaption", {}, el("span", {}, this.name), this.at, this.now), this.frame);
    pointed.charts.add(this);
    new ResizeObserver(entries => {
      this.width = entries[0].contentRect.width || this.width;
      this.draw();
    }).observe(this.frame);
  }

  // end lets go of the chart.
  end() { pointed.charts.delete(this); }

  aim(share) {
    const at = this.until - this.span * (1 - share);
    const near = this.beats.reduce((best, b) => (best && Math.abs(best.at - at) <= Math.abs(b.at - at) ? best : b), null);
    if (near) point(near.at);
  }

  step(e) {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -30, PageUp: 30, Home: -1e6, End: 1e6 }[e.key];
    if (!by || !this.beats.length) return;
    e.preventDefault();
    const last = this.beats.length - 1;
    const from = pointed.at === null ? last : this.beats.findLastIndex(b => b.at <= pointed.at);
    const to = Math.min(last, Math.max(0, from + by));
    point(to === last ? null : this.beats[to].at);
  }

  // show draws beats; now is what to say of this moment, where that is fresher.
  show(beats, now) {
    this.beats = beats;
    this.fresh = now;
    this.draw();
  }

  draw() {
    const beats = this.beats;
    if (!beats.length) {
      text(this.now, this.fresh ?? "–");
      return;
    }
    this.until = beats.at(-1).at;
    const from = this.until - this.span;
    const values = beats.map(b => this.value(b));
    const lines = this.spiky ? mean(values, 10) : values;
    const floors = this.floor ? beats.map(b => this.floor(b)) : null;
    const limit = this.limit ? this.limit(beats.at(-1)) : 0;
    const peak = Math.max(this.least, ...values.filter(v => v !== null));
    const most = nice(Math.max(peak, limit && limit <= 3 * peak ? limit : 0));
    const x = at => ((at - from) / this.span) * (this.width - dot - 1);
    const y = v => (v === null ? null : height - bottom - (Math.min(v, most) / most) * (height - top - bottom));
    const points = of => beats.map((b, i) => ({ at: b.at, x: x(b.at), y: y(of[i]) }));
    this.picture.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    this.base.setAttribute("d", `M0 ${height - bottom + 0.5}H${this.width}`);
    this.line.setAttribute("d", path(points(lines), this.gap));
    this.shape.setAttribute("d", floors ? band(points(values), points(floors), this.gap) : area(points(values), height - bottom, this.gap));
    this.limitLine.setAttribute("d", limit && limit <= most ? `M0 ${y(limit)}H${this.width}` : "");
    text(this.most, this.told(most));
    const at = pointed.at === null ? -1 : beats.findLastIndex(b => b.at <= pointed.at);
    const i = at < 0 ? beats.length - 1 : at;
    const shown = pointed.at === null || !this.spiky ? lines[i] : values[i];
    const told = shown === null ? "unknown" : this.said ? this.said(beats[i], shown) : this.told(shown);
    text(this.now, at < 0 && this.fresh !== undefined ? this.fresh : told);
    text(this.at, at < 0 ? "" : this.clock(beats[i].at));
    const there = y(pointed.at === null ? lines[i] : values[i]);
    this.cross.setAttribute("d", at < 0 ? "" : `M${x(beats[i].at)} 0V${height}`);
    flag(this.dot, "off", there === null);
    if (there !== null) {
      this.dot.setAttribute("cx", x(beats[i].at));
      this.dot.setAttribute("cy", there);
    }
    this.frame.setAttribute("aria-valuenow", Math.round((beats[i].at - this.until) / 1000));
    this.frame.setAttribute("aria-valuetext", told + (at < 0 ? ", now" : ", at " + this.clock(beats[i].at)));
  }
}

// mean is each value's mean with the n-1 before it.
const mean = (values, n) => values.map((v, i) => {
  if (v === null) return null;
  const some = values.slice(Math.max(0, i - n + 1), i + 1).filter(v => v !== null);
  return some.reduce((a, b) => a + b, 0) / some.length;
});

// band is what lies between two lines.
const band = (upper, lower, gap) => {
  let d = "", run = [];
  const close = () => {
    if (run.length > 1) {
      d += "M" + run.map(([p]) => p.x.toFixed(1) + " " + p.y.toFixed(1)).join("L") +
        "L" + run.toReversed().map(([, q]) => q.x.toFixed(1) + " " + q.y.toFixed(1)).join("L") + "Z";
    }
    run = [];
  };
  upper.forEach((p, i) => {
    const q = lower[i];
    if (p.y === null || q.y === null || (run.length && p.at - run.at(-1)[0].at > gap)) close();
    if (p.y !== null && q.y !== null) run.push([p, q]);
  });
  close();
  return d;
};

// spark is a small line without words.
export const spark = () => {
  const line = svg("path", { class: "line" }), shape = svg("path", { class: "area" });
  const node = svg("svg", { class: "spark", viewBox: "0 0 120 32", preserveAspectRatio: "none", "aria-hidden": "true" }, shape, line);
  const show = values => {
    const most = Math.max(1, ...values);
    const points = values.map((v, i) => ({ at: 0, x: 120 - (values.length - 1 - i) * 2, y: 30 - (v / most) * 27 }));
    line.setAttribute("d", path(points, 1));
    shape.setAttribute("d", area(points, 32, 1));
  };
  return { node, show };
};
