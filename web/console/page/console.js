// The page: who is logged in, which view is shown, and how the gateway is.
import { el, text, flag, say } from "./dom.js";
import * as api from "./api.js";
import { beat } from "./clock.js";
import { atMinute, milliseconds } from "./words.js";
import { glance } from "./glance.js";
import { line } from "./line.js";
import { report } from "./report.js";

const main = document.getElementById("main");
const head = document.getElementById("head");
const trouble = document.getElementById("trouble");
const dialog = document.getElementById("dialog");

// trying runs what asks the gateway, and tells where that does not answer.
const trying = async f => {
  try {
    await f();
    text(trouble, "");
  } catch (e) {
    if (e.name === "AbortError") return;
    text(trouble, e instanceof api.Refused ? e.message : "The gateway does not answer. What you see is how it was.");
  }
};

const ranks = ["viewer", "operator", "admin"];
let shown = null; // what ends the view

const open = (title, build) => {
  if (shown) shown.abort();
  if (dialog.open) dialog.close();
  shown = new AbortController();
  document.title = title ? title + " · Ropeline" : "Ropeline";
  text(trouble, "");
  main.replaceChildren();
  build(shown.signal);
};

// route shows the view that the address names.
const route = me => {
  const [id, part] = location.hash.replace(/^#\/?/, "").split("/");
  const view = { me, main, trying, may: role => ranks.indexOf(me.role) >= ranks.indexOf(role), title: t => { document.title = t + " · Ropeline"; } };
  if (/^[1-9][0-9]*$/.test(id)) open("Activity " + id, signal => (part === "report" ? report : line)({ ...view, id, signal }));
  else open("Activities", signal => glance({ ...view, signal }));
  scrollTo(0, 0);
};

// health shows what the gateway leans on, until the signal.
const health = signal => {
  const list = document.getElementById("health");
  beat(2000, () => trying(async () => {
    const h = await api.health(signal);
    const all = [{ name: "gateway", state: h.status === "draining" ? "draining" : "up" }, ...h.dependencies];
    list.replaceChildren(...all.map(d => {
      const told = d.state !== "up" ? d.state : d.latency_ms === undefined ? "ok" : milliseconds(d.latency_ms);
      const item = el("li", { title: d.error || d.version }, el("i", {}), d.name + " ", el("span", {}, told));
      flag(item, "bad", d.state !== "up");
      return item;
    }));
  }), signal);
};

const loggedIn = me => {
  const over = new AbortController();
  head.hidden = false;
  text(document.getElementById("who"), me.subject + ", " + me.role + (me.tenant_id ? " of " + me.tenant_id : "") + " · until " + atMinute(new Date(me.expires_at)));
  const end = said => {
    over.abort();
    head.hidden = true;
    logIn(said);
  };
  api.onEnd(() => over.signal.aborted || end("Your login has ended. Log in again to go on."));
  // A view that asks nothing would never notice the end of the login.
  beat(5000, () => trying(() => api.ask("GET", "admin/whoami", undefined, over.signal)), over.signal);
  document.getElementById("logout").addEventListener("click", () => trying(async () => {
    await api.logOut();
    end("You are logged out.");
  }), { signal: over.signal });
  addEventListener("hashchange", () => { route(me); main.focus({ preventScroll: true }); }, { signal: over.signal });
  health(over.signal);
  route(me);
};

// logIn asks for a token. The token goes to the gateway, which keeps it in a
// cookie that no script can read.
const logIn = said => open("Log in", signal => {
  const token = el("input", { id: "token", name: "token", type: "password", autocomplete: "current-password", required: true, spellcheck: "false", autocapitalize: "none", "aria-describedby": "token-help" });
  const problem = el("p", { class: "problem", role: "alert" }, said || "");
  const form = el("form", { class: "card login", method: "post" },
    el("h1", {}, "Ropeline"),
    el("label", { for: "token" }, "Admin token"), token, problem,
    el("button", {}, "Log in"),
    el("p", { class: "soft", id: "token-help" }, "On a machine with the gateway's file, ", el("code", {}, "ropeline token --role operator --subject you"), " makes one."));
  form.addEventListener("submit", async e => {
    e.preventDefault();
    text(problem, "");
    try {
      const me = await api.logIn(token.value);
      token.value = "";
      if (signal.aborted) return;
      loggedIn(me);
      say("You are logged in.");
      main.focus({ preventScroll: true });
    } catch (e) {
      text(problem, e instanceof api.Refused ? e.message : "The gateway does not answer.");
      token.focus();
    }
  });
  main.append(form);
  token.focus();
});

try {
  const me = await api.login();
  if (me) loggedIn(me);
  else logIn();
} catch (e) {
  logIn(e instanceof api.Refused ? e.message : "The gateway does not answer.");
}
