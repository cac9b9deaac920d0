// What is in force for a line, and the changing of it: each change shows what
// it would lead to before it is confirmed.
import { el, text, flag, say } from "./dom.js";
import { ask, activity, Refused } from "./api.js";
import { count, people, wait, span, rate, capacity, when, modes, modesTold, units, unit } from "./words.js";

const dialog = document.getElementById("dialog");

// middle is the middle of a known wait, in seconds.
const middle = w => (w.low_s + w.high_s) / 2;

// effects tells what a change leads to, a sentence for each thing.
export const effects = ({ waiting, turns, sessions, now, then }) => {
  const said = [];
  const all = waiting === 1 ? "The one person" : "All " + people(waiting);
  if (then.mode !== now.mode) {
    said.push({
      hold: `Nobody is let in until you resume. ${waiting ? people(waiting) + " keep their places" : "Who comes takes a place"}` +
        (turns ? `, and ${people(turns)} with a turn lose none of its time.` : ".") + (sessions ? ` ${people(sessions)} inside stay.` : ""),
      open: waiting ? `${all} in line get in at once, and so does everyone who comes: no limit counts.` : "Everyone who comes gets in: no limit counts.",
      closed: "Nobody new joins." + (waiting ? ` ${people(waiting)} in line are still let in.` : ""),
      auto: now.mode === "open" ? "Who comes lines up where the limits say so." : waiting ? `${people(waiting)} go on from where they stand.` : "Visitors are let in again.",
    }[then.mode]);
  }
  if (then.capacity && then.capacity < sessions + turns) {
    said.push(`${people(sessions + turns)} have a seat, ${count(sessions + turns - then.capacity)} more than that. Nobody is put out; nobody is let in until they have gone` +
      (then.drain_s > 1 ? `, which takes about ${span(then.drain_s)}.` : "."));
  }
  const sure = ["auto", "closed"].includes(then.mode), at = Date.now();
  const begins = s => s.start_at && Date.parse(s.start_at) > at, over = s => s.end_at && Date.parse(s.end_at) <= at;
  if (begins(then) && !begins(now)) said.push("Nobody joins or is let in before the start. Who is in line keeps the place.");
  if (over(then) && !over(now)) said.push("It is over at once: nobody joins or is let in any more.");
  if (waiting && sure && then.last.known && now.last.known) {
    const by = middle(then.last) - middle(now.last);
    said.push(Math.abs(by) < Math.max(5, 0.03 * middle(now.last)) ?
      `The last of ${people(waiting)} waits as long as before: ${wait(then.last)}.` :
      `${by > 0 ? "+" : "−"}${span(Math.abs(by))} for the last of ${people(waiting)}: ${wait(then.last)} instead of ${wait(now.last)}.`);
  } else if (waiting && sure && then.last.known) {
    said.push(`The last of ${people(waiting)} waits ${wait(then.last)}.`);
  } else if (waiting && sure && then.served === 0) {
    said.push(now.served === 0 ? "Nobody is let in now, and this does not change that." : `None of the ${people(waiting)} in line is let in.`);
  } else if (waiting && sure) {
    said.push(`How long ${people(waiting)} wait is not known yet: too few have left to tell.`);
  }
  if (waiting && then.served < waiting && then.served > 0) {
    said.push(`About ${people(then.served)} of them are let in before the end; ${count(waiting - then.served)} are told that it is over.`);
  }
  if (then.message !== now.message) {
    said.push(then.message ? `Everyone in line reads it at their next look${waiting ? ": " + people(waiting) + " now" : ""}.` : "The message goes away at the next look.");
  }
  if (then.left === 0 && now.left !== 0) said.push("Everyone in line is told that all is sold. Who waits keeps the place, in case some come back.");
  if (!said.length) {
    said.push(!waiting ? "Nobody waits now." : then.mode === "hold" ? "It counts once the line goes on." : "It counts once the mode is automatic again.");
  }
  return said;
};

// local is an instant as an input of date and time has it, and back.
const local = at => {
  if (!at) return "";
  const t = new Date(at);
  return new Date(t - t.getTimezoneOffset() * 60e3).toISOString().slice(0, 19);
};
const instant = text => (text ? new Date(text).toISOString() : null);

let fields = 0;
const field = (label, input, help) => {
  input.id = "field-" + ++fields;
  return el("p", { class: "field" }, el("label", { for: input.id }, label), input, help && el("span", { class: "soft" }, help));
};

// kinds are the things that can be changed. Each makes the inputs for a value,
// and reads what the API is to be told of them; undefined: nothing valid yet.
const kinds = {
  mode: {
    name: "Mode", told: l => modes[l.mode],
    inputs: l => {
      const options = Object.keys(modes).map(m => {
        const input = el("input", { type: "radio", name: "mode", value: m, checked: m === l.mode });
        return el("label", { class: "choice" }, input, el("span", {}, el("b", {}, modes[m]), el("span", { class: "soft" }, modesTold[m])));
      });
      const node = el("fieldset", {}, el("legend", { class: "unseen" }, "Mode"), options);
      return { node, read: () => node.querySelector(":checked").value };
    },
  },
  rate_per_hour: {
    name: "Rate", told: l => rate(l.rate_per_hour),
    inputs: l => {
      const u = unit(l.rate_per_hour || 60);
      const number = el("input", { type: "number", min: 0, step: "any", required: true, inputmode: "decimal", value: l.rate_per_hour ? +(l.rate_per_hour / units[u]).toFixed(3) : 0 });
      const per = el("select", { "aria-label": "Unit" }, Object.keys(units).map(name => el("option", { selected: name === u }, name)));
      const node = el("div", { class: "row" }, field("Visitors let in", number, "0: no limit"), per);
      return { node, read: () => (number.validity.valid ? Math.round(number.valueAsNumber * units[per.value]) : undefined) };
    },
  },
  capacity: {
    name: "Capacity", told: l => capacity(l.capacity),
    inputs: l => {
      const number = el("input", { type: "number", min: 0, step: 1, max: 1e9, required: true, inputmode: "numeric", value: l.capacity });
      return { node: field("Visitors inside at once", number, "0: no limit"), read: () => (number.validity.valid ? number.valueAsNumber : undefined) };
    },
  },
  start_at: {
    name: "Start", told: l => when(l.start_at),
    inputs: l => {
      const input = el("input", { type: "datetime-local", step: 1, required: true, value: local(l.start_at) });
      return { node: field("Visitors may join from", input, "In your own time zone"), read: () => (input.value ? instant(input.value) : undefined) };
    },
  },
  end_at: {
    name: "End", told: l => when(l.end_at),
    inputs: l => {
      const input = el("input", { type: "datetime-local", step: 1, required: true, value: local(l.end_at) });
      return { node: field("Nobody joins or is let in from", input, "In your own time zone"), read: () => (input.value ? instant(input.value) : undefined) };
    },
  },
  message: {
    name: "Message", told: l => l.message || "none",
    inputs: l => {
      const input = el("textarea", { rows: 4, maxlength: 500 });
      input.value = l.message;
      return { node: field("What visitors in line read", input, "Up to 500 characters; empty: no message"), read: () => input.value };
    },
  },
  left: {
    name: "Left to sell", told: l => (l.left === null ? "not counted" : count(l.left)),
    inputs: l => {
      const number = el("input", { type: "number", min: 0, step: 1, max: 1e9, required: true, inputmode: "numeric", value: l.left ?? "" });
      return { node: field("Left to sell", number, "0: sold out"), read: () => (number.validity.valid ? number.valueAsNumber : undefined) };
    },
  },
};

// change opens the dialog for a change: body has what would change, of inputs
// where there is something to choose. told has what it leads to, where the gateway
// is not to be asked for that.
const change = ({ id, title, inputs, body, told, confirm, send, back, done }) => {
  const effect = el("div", { class: "effect", role: "status" });
  const problem = el("p", { class: "problem", role: "alert" });
  const submit = el("button", {}, confirm);
  let asked = 0, asking = null;
  // What stays the same is not said again to who listens.
  const tell = (...lines) => {
    if (lines.map(l => l.textContent).join("") !== effect.textContent) effect.replaceChildren(...lines);
  };
  const preview = async () => {
    if (told) { tell(...told().map(s => el("p", {}, s))); return; }
    const turn = ++asked, wanted = body();
    if (asking) asking.abort();
    asking = new AbortController();
    submit.disabled = wanted === undefined;
    if (wanted === undefined) { effect.replaceChildren(); return; }
    try {
      const f = await ask("POST", activity(id) + "/overrides/preview", wanted, asking.signal);
      if (turn !== asked) return;
      const lead = Object.keys(kinds).filter(k => kinds[k].told(f.now) !== kinds[k].told(f.then))
        .map(k => el("p", { class: "lead" }, `${kinds[k].name} `, el("s", {}, kinds[k].told(f.now)), " → ", el("b", {}, kinds[k].told(f.then))));
      tell(...lead, ...(lead.length ? effects(f) : ["This changes nothing."]).map(s => el("p", {}, s)));
      text(problem, "");
    } catch (e) {
      if (e.name === "AbortError" || turn !== asked) return;
      effect.replaceChildren();
      submit.disabled = e instanceof Refused && e.status === 400;
      text(problem, e.message);
    }
  };
  const form = el("form", { method: "dialog" },
    el("h2", { id: "dialog-title" }, title),
    inputs && inputs.node, effect, problem,
    el("div", { class: "buttons" },
      back && el("button", { type: "button", class: "quiet left", onclick: () => run(back.send) }, back.name),
      el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"), submit));
  const run = async act => {
    submit.disabled = true;
    try {
      await act();
      dialog.close();
      done(title + ": done.");
    } catch (e) {
      text(problem, e.message);
      submit.disabled = false;
    }
  };
  form.addEventListener("submit", e => { e.preventDefault(); run(() => send(body && body())); });
  let timer = 0;
  form.addEventListener("input", () => { clearTimeout(timer); submit.disabled = true; timer = setTimeout(preview, 200); });
  // What it leads to changes with the line.
  const often = setInterval(() => submit.disabled || preview(), 3000);
  const over = new AbortController();
  dialog.addEventListener("close", () => {
    if (dialog.open && form.isConnected) return; // it was the one before that closed
    over.abort();
    clearInterval(often);
    clearTimeout(timer);
    asking?.abort();
    form.remove();
  }, { signal: over.signal });
  dialog.replaceChildren(form);
  dialog.showModal();
  preview();
};

// settings shows what is in force, with a button for each change that the
// bearer may make.
export const settings = ({ id, may, again }) => {
  const acts = may("operator");
  const path = activity(id);
  let live = null;
  const done = said => { say(said); again(); };
  const over = body => ask("PUT", path + "/overrides", body);
  const rows = Object.entries(kinds).map(([key, kind]) => {
    const value = el("span", { class: "value" }), mark = el("span", { class: "mark", hidden: true }, "set on the day");
    const open = () => {
      const inputs = kind.inputs(live.line);
      const changed = live.overrides[key] !== null;
      change({
        id, title: "Change the " + kind.name.toLowerCase(), inputs, confirm: "Put in force", done,
        body: () => { const v = inputs.read(); return v === undefined ? undefined : { [key]: v }; },
        send: key === "left" ? body => ask("POST", path + "/stock", body) : over,
        back: changed && { name: "Take it back", send: () => over({ [key]: null }) },
      });
    };
    const button = acts && el("button", { type: "button", class: "quiet", "aria-label": "Change the " + kind.name.toLowerCase(), onclick: open }, "Change");
    const node = el("div", {}, el("dt", {}, kind.name), el("dd", {}, el("span", {}, value, mark), button));
    return { key, kind, node, value, mark };
  });
  const pause = acts && el("button", { type: "button", disabled: true, onclick: () => {
    const held = live.line.mode === "hold";
    const made = held && live.overrides.mode === null; // paused as it was made, which the API takes back too
    change({
      told: made ? () => ["Visitors are let in again."] : undefined,
      id, title: held ? "Resume" : "Pause", confirm: held ? "Resume" : "Pause now", done,
      body: () => ({ mode: held ? null : "hold" }), send: () => ask("POST", path + (held ? "/resume" : "/pause")),
    });
  } }, "Pause");
  const reset = may("admin") && el("button", { type: "button", class: "quiet", onclick: () => change({
    id, title: "Reset the line", confirm: "Reset, for good", done,
    told: () => [
      `Every place and turn ends, for good: ${people(live.line.waiting + live.line.turns)} in line become new visitors and join at the end.`,
      `${people(live.queue_metrics.active_users)} inside stay.`,
    ],
    send: () => ask("POST", path + "/reset"),
  }) }, "Reset the line");
  const show = next => {
    live = next;
    for (const r of rows) {
      text(r.value, r.kind.told(next.line));
      r.mark.hidden = next.overrides[r.key] === null;
    }
    if (pause) {
      const held = next.line.mode === "hold";
      // What the file holds, only the mode can let go.
      pause.hidden = held && next.overrides.mode === null && next.activity.source === "file";
      pause.disabled = false;
      text(pause, held ? "Resume" : "Pause");
      flag(pause, "go", held);
    }
  };
  const node = el("section", { class: "settings", "aria-labelledby": "settings" },
    el("h2", { id: "settings" }, "In force"), el("dl", {}, rows.map(r => r.node)),
    reset && el("p", { class: "last" }, reset),
    !acts && el("p", { class: "soft" }, "You may look, and not change."));
  return { node, buttons: pause || "", show };
};
