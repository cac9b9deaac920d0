// One line, live: how it stands, how it came there, and what can be done.
import { el, text, flag } from "./dom.js";
import { ask, activity, Refused } from "./api.js";
import { beat } from "./clock.js";
import { Chart, minutes } from "./chart.js";
import { count, perSecond, people, wait, span, rate, milliseconds, when, percent } from "./words.js";
import { state, meter } from "./glance.js";
import { settings } from "./change.js";
import { finder } from "./find.js";
import { changes } from "./audit.js";

// since makes what happened in each second of counts that only grow.
const since = (kept, seconds) => {
  for (const s of seconds) {
    const last = kept.at(-1);
    const at = s.at / 1000, passed = last ? (at - last.at) / 1000 : 0;
    if (last && passed <= 0) continue; // two who asked at once were told the same
    const per = name => (last && passed < 3.5 && s[name] >= last[name] ? (s[name] - last[name]) / passed : null);
    kept.push({ ...s, at, arrivals: per("joined"), releases: per("released"), admissions: per("admitted") });
  }
  const from = (kept.at(-1)?.at || 0) - minutes * 60e3;
  while (kept.length && kept[0].at < from) kept.shift();
  return kept;
};

const charts = now => {
  const ps = n => perSecond(n) + "/s";
  return [
    new Chart({ name: "In line", value: b => b.waiting + b.turns, told: n => count(n), least: 10, kind: "wide" }),
    new Chart({
      name: "Wait now", value: b => (b.wait.known ? b.wait.high_s : null), floor: b => (b.wait.known ? b.wait.low_s : null),
      told: span, said: b => wait(b.wait), least: 30, kind: "wide",
    }),
    new Chart({ name: "Arrivals", value: b => b.arrivals, told: ps, spiky: true }),
    new Chart({ name: "Releases", value: b => b.releases, told: ps, spiky: true, limit: () => now().rate_per_hour / 3600 }),
    new Chart({ name: "Admissions", value: b => b.admissions, told: ps, spiky: true }),
    new Chart({ name: "Inside", value: b => b.sessions, told: n => count(n), least: 10, limit: () => now().capacity }),
    new Chart({ name: "Shop latency, p95", value: b => b.p95_ms || null, told: milliseconds, least: 50, kind: "shop" }),
    new Chart({ name: "Shop errors", value: b => b.failures, told: n => perSecond(n) + "/s", kind: "bad", spiky: true }),
  ];
};

export const line = ({ main, id, trying, signal, may, me, title }) => {
  const parts = {};
  const part = (name, tag = "span", props) => (parts[name] = el(tag, props));
  const inside = meter();
  let now = { rate_per_hour: 0, capacity: 0 };
  const drawn = charts(() => now);
  signal.addEventListener("abort", () => drawn.forEach(c => c.end()));

  const figure = (name, value, ...more) => el("div", {}, el("dt", {}, name), el("dd", {}, part(value, "b"), ...more));
  const set = settings({ id, may, again: () => refresh() });
  const audit = changes({ id, me, signal });
  main.append(
    el("nav", { "aria-label": "Where you are" }, el("a", { href: "#/" }, "Activities")),
    el("div", { class: "title" },
      part("name", "h1"), part("state", "span", { class: "pill", role: "status" }),
      el("span", { class: "spacer" }), el("a", { href: `#/${id}/report` }, "Report and history"), set.buttons),
    part("whose", "p", { class: "soft" }),
    part("notice", "p", { class: "notice", hidden: true, role: "status" }),
    el("dl", { class: "figures" },
      figure("In line", "length", part("people", "span", { class: "soft" })),
      figure("Wait for who comes now", "wait", part("rate", "span", { class: "soft" })),
      figure("Inside", "inside", inside.node, part("seats", "span", { class: "soft" })),
      figure("Admitted so far", "admitted", part("issued", "span", { class: "soft" }))),
    el("section", { "aria-labelledby": "charts" },
      el("h2", { id: "charts" }, `The last ${minutes} minutes`),
      el("div", { class: "charts" }, drawn.map(c => c.node)),
      part("shop", "p", { class: "soft" })),
    el("div", { class: "halves" }, set.node, el("div", {}, finder({ id }), audit.node)));

  let beats = [];
  const show = live => {
    const { activity: a, queue_metrics: q, line: l } = live;
    now = l;
    text(parts.name, a.name);
    title(a.name);
    text(parts.whose, `Tenant ${a.tenant_id} · activity ${a.id}` + (a.source === "file" ? " · of the YAML file" : " · made by the API"));
    const [word, kind] = state(l, Date.now());
    if (parts.state.textContent !== word) audit.again();
    text(parts.state, word);
    flag(parts.state, "kind", kind);
    const notice = l.stale ? "The store does not answer. Places are kept; who is inside goes on." :
      l.mode === "auto" && l.paused ? "Nobody is let in: the shop does not answer, or the line is settling after it lost its data." : "";
    text(parts.notice, notice);
    parts.notice.hidden = !notice;
    text(parts.length, count(q.queue_length));
    text(parts.people, `${count(l.turns)} of them with a turn` + (l.absent ? ` · ${count(l.absent)} more absent` : ""));
    text(parts.wait, wait(l.wait));
    text(parts.rate, "Rate: " + rate(l.rate_per_hour));
    text(parts.inside, count(q.active_users) + (l.capacity ? " of " + count(l.capacity) : ""));
    inside.show(q.active_users + l.turns, l.capacity);
    text(parts.seats, l.capacity ? percent((q.active_users + l.turns) / l.capacity) + " of the seats are taken" : "No limit");
    text(parts.admitted, count(l.admitted));
    text(parts.issued, `${count(q.queue_seq)} numbers given · ${count(l.released)} turns` + (l.left === null ? "" : ` · ${count(l.left)} left to sell`));
    text(parts.shop, live.upstreams.map(u =>
      `Upstream ${u.name}, as this gateway sees it: ${u.up} of ${u.servers} ${u.servers === 1 ? "server" : "servers"} up, ` +
      `${u.requests}/s answered` + (u.breaker_open ? ", breaker open: nothing is sent" : "")).join(" · "));
    const seconds = live.seconds;
    if (beats.length && seconds.length && seconds[0].joined < beats.at(-1).joined) beats = [];
    beats = since(beats, seconds);
    const fresh = { "In line": parts.length.textContent, "Wait now": parts.wait.textContent, Inside: count(q.active_users) };
    for (const c of drawn) c.show(beats, fresh[c.name]);
    set.show(live);
  };
  const refresh = async () => {
    const after = beats.length ? "?after=" + Math.round(beats.at(-1).at * 1000) : "";
    show(await ask("GET", activity(id) + "/live" + after, undefined, signal));
  };
  beat(1000, () => trying(async () => {
    try {
      await refresh();
    } catch (e) {
      if (!(e instanceof Refused) || e.status !== 404) throw e;
      main.replaceChildren(el("h1", {}, "Nothing here"), el("p", {}, "There is no such activity, or none that you may see. ", el("a", { href: "#/" }, "All activities")));
    }
  }), signal);
};
