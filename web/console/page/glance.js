// All activities at a glance.
import { el, text, flag } from "./dom.js";
import { ask } from "./api.js";
import { beat } from "./clock.js";
import { spark } from "./chart.js";
import { count, perSecond, wait, rate, modes } from "./words.js";

// state is what a line does now, in a word, and whether that is worth a look.
export const state = (line, now) => {
  if (line.stale) return ["Store away", "bad"];
  if (line.mode === "hold") return [modes.hold, "warn"];
  if (line.mode === "closed") return [modes.closed, "warn"];
  if (line.mode === "open") return [modes.open, "warn"];
  if (line.start_at && Date.parse(line.start_at) > now) return ["Not started", "calm"];
  if (line.end_at && Date.parse(line.end_at) <= now) return ["Ended", "calm"];
  if (line.left === 0) return ["Sold out", "calm"];
  if (line.paused) return ["Held back", "warn"];
  return line.waiting + line.turns > 0 ? ["Line", "good"] : ["Quiet", "calm"];
};

// meter shows how much of a limit is taken.
export const meter = () => {
  const bar = el("i", {});
  const node = el("span", { class: "meter", "aria-hidden": "true" }, bar);
  return {
    node,
    show: (n, most) => {
      node.hidden = !most;
      bar.style.width = most ? Math.min(100, (100 * n) / most) + "%" : "0";
      flag(node, "full", most && n >= most);
    },
  };
};

const card = id => {
  const parts = {};
  const part = (name, tag = "span", props) => (parts[name] = el(tag, props));
  const trail = spark(), inside = meter();
  const node = el("li", {}, el("a", { class: "card line", href: "#/" + id },
    el("span", { class: "top" }, part("name", "h2"), part("state", "span", { class: "pill" })),
    part("whose", "span", { class: "soft" }),
    el("span", { class: "row" },
      el("span", { class: "big" }, part("length", "b"), " in line"),
      trail.node),
    el("span", { class: "facts" },
      el("span", {}, "Wait now ", part("wait", "b")),
      el("span", {}, "Inside ", part("inside", "b"), inside.node),
      el("span", {}, "Arrivals ", part("enter", "b")),
      el("span", {}, "Let in ", part("release", "b"))),
  ));
  const show = ({ activity, queue_metrics, realtime_stats, line, trail: values }) => {
    text(parts.name, activity.name);
    text(parts.whose, activity.tenant_id + " · " + activity.id);
    const [word, kind] = state(line, Date.now());
    text(parts.state, word);
    flag(parts.state, "kind", kind);
    text(parts.length, count(queue_metrics.queue_length));
    text(parts.wait, wait(line.wait));
    text(parts.inside, count(queue_metrics.active_users) + (line.capacity ? " of " + count(line.capacity) : ""));
    inside.show(queue_metrics.active_users + line.turns, line.capacity);
    text(parts.enter, perSecond(realtime_stats.enter_rate) + "/s");
    text(parts.release, perSecond(realtime_stats.release_rate) + "/s" + (line.rate_per_hour ? ", at most " + rate(line.rate_per_hour) : ""));
    trail.show(values);
  };
  return { node, show };
};

export const glance = ({ main, trying, signal }) => {
  const list = el("ul", { class: "lines" });
  const none = el("p", { class: "soft", hidden: true }, "There are no activities that you may see.");
  main.append(el("h1", {}, "Activities"), none, list);
  const cards = new Map();
  beat(1000, () => trying(async () => {
    const { lines } = await ask("GET", "admin/live", undefined, signal);
    none.hidden = lines.length > 0;
    const ids = new Set(lines.map(l => l.activity.id));
    for (const [id, c] of cards) {
      if (!ids.has(id)) {
        c.node.remove();
        cards.delete(id);
      }
    }
    lines.forEach((l, i) => {
      if (!cards.has(l.activity.id)) {
        const c = card(l.activity.id);
        cards.set(l.activity.id, c);
        list.insertBefore(c.node, list.children[i] || null);
      }
      cards.get(l.activity.id).show(l);
    });
  }), signal);
};
