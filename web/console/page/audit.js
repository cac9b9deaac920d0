// What was changed of an activity, and by whom.
import { el, text } from "./dom.js";
import { ask, Refused } from "./api.js";
import { when, rate, capacity, count, modes } from "./words.js";

const told = {
  mode: m => (m === null ? "mode as configured" : "mode " + modes[m].toLowerCase()),
  capacity: n => (n === null ? "capacity as configured" : "capacity " + capacity(n)),
  rate_per_hour: n => (n === null ? "rate as configured" : "rate " + rate(n)),
  start_at: t => (t === null ? "start as configured" : "start " + when(t)),
  end_at: t => (t === null ? "end as configured" : "end " + when(t)),
  message: m => (m === null ? "message as configured" : m === "" ? "no message" : "message “" + m + "”"),
  left: n => (n === null ? "stock as configured" : count(n) + " left to sell"),
};

const verbs = {
  "activity.pause": "Paused", "activity.resume": "Resumed", "activity.reset": "Reset the line", "activity.create": "Made",
  "activity.update": "Changed", "activity.delete": "Removed", "activity.stock": "Stock", "activity.override": "Changed",
};

// sentence tells a change in words.
export const sentence = c => {
  const verb = verbs[c.action] || c.action;
  const before = c.before || {}, after = c.after || {};
  if (c.action === "activity.pause" || c.action === "activity.resume") return verb;
  const parts = Object.keys(told).filter(k => k in after && JSON.stringify(before[k]) !== JSON.stringify(after[k])).map(k => told[k](after[k]));
  return verb + (parts.length ? ": " + parts.join(", ") : "");
};

// item is a change in a list.
export const item = c => el("li", {}, el("b", {}, sentence(c)), el("span", { class: "soft" }, `${c.actor}, ${c.role} · ${when(c.at)}`));

export const changes = ({ id, signal }) => {
  const list = el("ol", { class: "changes" });
  const note = el("p", { class: "soft" });
  const node = el("section", { "aria-labelledby": "changes" }, el("h2", { id: "changes" }, "What was changed"), list, note);
  const read = async () => {
    try {
      const { changes } = await ask("GET", "admin/audit?limit=8&activity_id=" + id, undefined, signal);
      list.replaceChildren(...changes.map(item));
      text(note, changes.length ? "" : "Nothing yet.");
    } catch (e) {
      if (e.name === "AbortError") return;
      text(note, e instanceof Refused && e.code === "DATABASE_UNAVAILABLE" ? "The log has every change. " + e.message : e.message);
    }
  };
  // The record takes a moment to write.
  let timer = 0;
  const again = () => { clearTimeout(timer); timer = setTimeout(read, 1200); };
  signal.addEventListener("abort", () => clearTimeout(timer));
  read();
  return { node, again };
};
