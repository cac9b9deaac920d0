// Where a visitor stands.
import { el, text } from "./dom.js";
import { ask, activity, Refused } from "./api.js";
import { count, wait, span, when } from "./words.js";

const waits = f => `${f.position === 1 ? "nobody is" : count(f.position - 1) + " people are"} ahead` + (f.wait.known ? `, about ${wait(f.wait)} to go` : "");

const said = {
  waiting: f => `Number ${f.number} waits: ${waits(f)}.`,
  absent: f => `Number ${f.number} has a place and was not heard from lately. On coming back: ${waits(f)}.`,
  undrawn: () => "This visitor has joined the draw and has no number yet.",
  turn: f => `It is number ${f.number}'s turn: it may enter within ${span(f.claim_s)}.`,
  lapsed: f => `Number ${f.number} missed its turn, and gets the next one by coming back.`,
  inside: f => `Number ${f.number} is inside, for up to ${span(f.session_s)} unless it goes on.`,
  over: f => `Number ${f.number} is done: it has left, or it entered and its session ended, or is known to another gateway.`,
  lost: f => `Number ${f.number} was absent for too long and has lost its place.`,
  reset: f => `Number ${f.number} is of a line that was reset since.`,
  nowhere: f => `Number ${f.number} was not given yet.`,
};

export const finder = ({ id }) => {
  const input = el("input", { id: "whom", autocomplete: "off", spellcheck: "false", required: true, maxlength: 4096, placeholder: "4211 or eyJ…" });
  const answer = el("p", { class: "answer", role: "status" });
  const form = el("form", {}, el("label", { for: "whom" }, "Ticket number or token"), el("div", { class: "row" }, input, el("button", {}, "Find")), answer);
  form.addEventListener("submit", async e => {
    e.preventDefault();
    const whom = input.value.trim();
    const number = /^#?[0-9]{1,15}$/.test(whom) ? Number(whom.replace("#", "")) : 0;
    try {
      const f = await ask("POST", activity(id) + "/find", number ? { number } : { token: whom });
      text(answer, said[f.at](f) + (f.token ? ` Token of ${when(f.token.signed_at)}, ${f.token.expired ? "expired" : "good until"} ${when(f.token.expires_at)}.` : ""));
    } catch (e) {
      text(answer, e instanceof Refused && e.field === "token" ? "That is neither a number nor a token of this line." : e.message);
    }
  });
  return el("section", { "aria-labelledby": "find" }, el("h2", { id: "find" }, "Find a visitor"), form);
};
