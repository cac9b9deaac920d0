// What an event came to, or the last days did, from the record.
import { el, text, say } from "./dom.js";
import { ask, activity, link, Refused } from "./api.js";
import { Chart } from "./chart.js";
import { count, span, percent, when } from "./words.js";
import { item } from "./audit.js";

const hour = 3600e3;

// spans are those that are a press away; null: the activity's own schedule.
const spans = { "The event": null, "Last hour": hour, "24 hours": 24 * hour, "7 days": 168 * hour, "30 days": 720 * hour };

const seconds = s => (s < 1 ? "under 1 s" : span(s));

export const report = ({ main, id, trying, signal, title }) => {
  const parts = {};
  const part = (name, tag = "span", props) => (parts[name] = el(tag, props));
  const figure = (name, value, more) => el("div", {}, el("dt", {}, name), el("dd", {}, part(value, "b"), part(more, "span", { class: "soft" })));
  let drawn = [];
  const end = () => drawn.forEach(c => c.end());
  signal.addEventListener("abort", end);

  const choices = Object.keys(spans).map(name => el("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => read(name) }, name));
  const charts = el("div", { class: "charts history" });
  const list = el("ol", { class: "changes" });
  const downloads = el("p", { class: "downloads" });
  const found = el("div", { hidden: true },
    el("dl", { class: "figures" },
      figure("Came", "entries", "people"), figure("Admitted", "admissions", "left"),
      figure("Half waited at most", "median", "waits"), figure("Did not take their turn", "noshows", "order"),
      figure("Bought", "converted", "rate")),
    el("section", { "aria-labelledby": "course" }, el("h2", { id: "course" }, "How it went"), charts),
    el("section", { "aria-labelledby": "decided" }, el("h2", { id: "decided" }, "What operators changed"), list, part("none", "p", { class: "soft" })),
    el("section", { "aria-labelledby": "keep" }, el("h2", { id: "keep" }, "To keep"), downloads));
  const problem = el("p", { class: "notice", hidden: true, role: "alert" });
  main.append(
    el("nav", { "aria-label": "Where you are" }, el("a", { href: "#/" }, "Activities"), " › ", part("back", "a", { href: "#/" + id })),
    part("name", "h1"),
    part("span", "p", { class: "soft", role: "status" }),
    el("div", { class: "spans", role: "group", "aria-label": "Of" }, choices, el("button", { type: "button", class: "quiet", onclick: () => print() }, "Print")),
    problem, found);

  text(parts.name, "Report");
  text(parts.back, "Activity " + id);

  const show = (r, query) => {
    const a = r.analytics;
    text(parts.name, r.activity.name + ": report");
    text(parts.back, r.activity.name);
    title(r.activity.name + ", report");
    text(parts.span, `${when(a.from)} to ${when(a.to)}`);
    text(parts.entries, count(a.entries));
    text(parts.people, `${count(a.unique_visitors)} different people`);
    text(parts.admissions, count(a.admissions));
    text(parts.left, `${count(a.releases)} turns given · ${count(a.left)} left by themselves`);
    text(parts.median, a.admissions ? seconds(a.wait.median_s) : "–");
    text(parts.waits, a.admissions ? `95 of 100 at most ${seconds(a.wait.p95_s)}, the longest ${seconds(a.wait.longest_s)}` : "Nobody was admitted");
    text(parts.noshows, count(a.no_shows));
    text(parts.order, `${count(a.out_of_order)} entered after a higher number: away at their turn, or late to take it`);
    text(parts.converted, count(a.converted));
    text(parts.rate, a.admissions ? `${percent(a.conversion_rate)} of who was admitted, as far as the shop reports` : "As far as the shop reports");
    end();
    const steps = a.timeline.map(m => ({ ...m, at: Date.parse(m.at) }));
    const step = steps.length > 1 ? steps[1].at - steps[0].at : hour;
    const options = {
      span: Math.max(step, steps.length ? steps.at(-1).at - steps[0].at : step), gap: 1.5 * step, by: "step", told: n => count(n),
      clock: at => when(at),
    };
    const per = step === 60e3 ? "a minute" : step === 600e3 ? "in ten minutes" : step === hour ? "an hour" : "in six hours";
    drawn = [
      new Chart({ ...options, name: "In line", value: m => m.waiting, kind: "wide", least: 10 }),
      new Chart({ ...options, name: "Inside", value: m => m.sessions, kind: "wide", least: 10 }),
      new Chart({ ...options, name: "Arrivals " + per, value: m => m.entries }),
      new Chart({ ...options, name: "Releases " + per, value: m => m.releases }),
      new Chart({ ...options, name: "Admissions " + per, value: m => m.admissions }),
    ];
    charts.replaceChildren(...drawn.map(c => c.node));
    for (const c of drawn) c.show(steps);
    list.replaceChildren(...r.changes.map(item));
    text(parts.none, r.changes.length ? "" : "Nothing in this time.");
    const file = (name, more) => el("a", { href: link(activity(id) + "/report" + query + more), download: `activity-${id}-${name}` }, name);
    downloads.replaceChildren(
      file("summary.csv", "&format=csv&part=summary"), file("timeline.csv", "&format=csv&part=timeline"),
      file("changes.csv", "&format=csv&part=changes"), file("report.json", "&format=json"));
    found.hidden = false;
  };
  const read = name => trying(async () => {
    for (const c of choices) c.setAttribute("aria-pressed", c.textContent === name ? "true" : "false");
    const now = new Date();
    const query = spans[name] === null ? "?" : `?from=${new Date(now - spans[name]).toISOString()}&to=${now.toISOString()}`;
    try {
      const r = await ask("GET", activity(id) + "/report" + query, undefined, signal);
      problem.hidden = true;
      // What is kept is of the very span that is shown.
      show(r, `?from=${r.analytics.from}&to=${r.analytics.to}`);
      say("The report is shown.");
    } catch (e) {
      if (!(e instanceof Refused)) throw e;
      found.hidden = true;
      text(problem, e.status === 404 ? "There is no such activity, or none that you may see." :
        e.code === "DATABASE_UNAVAILABLE" ? "A report needs the record. " + e.message : e.message);
      problem.hidden = false;
    }
  });
  read("The event");
};
