// What the page asks the gateway: the admin API, by the cookie of the login.

// Refused is an answer that is no success.
export class Refused extends Error {
  constructor(status, said) {
    super(said.message || "The gateway answered " + status + ".");
    this.status = status;
    this.code = said.error || "";
    this.field = said.details && said.details.field;
  }
}

let csrf = "";
let ended = () => {};

// onEnd is told when a login is over.
export const onEnd = f => { ended = f; };

const send = async (method, path, body, signal) => {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["Ropeline-Csrf"] = csrf;
  const answer = await fetch("/console/" + path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin", cache: "no-store", redirect: "error", signal,
  });
  csrf = answer.headers.get("Ropeline-Csrf") || csrf;
  if (answer.status === 204) return null;
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, said);
  return said.data;
};

// ask asks the admin API. Where the login is over it tells so, and never
// answers.
export const ask = async (method, path, body, signal) => {
  try {
    return await send(method, "api/v1/" + path, body, signal);
  } catch (e) {
    if (!(e instanceof Refused) || e.status !== 401) throw e;
    ended(e);
    return new Promise(() => {});
  }
};

// login is who is logged in; null: nobody.
export const login = () => send("GET", "login").catch(e => {
  if (e instanceof Refused && e.status === 401) return null;
  throw e;
});

export const logIn = token => send("POST", "login", { token });
export const logOut = () => send("DELETE", "login");

// health is how the gateway and what it leans on are.
export const health = async signal => (await fetch("/health", { cache: "no-store", signal })).json();

// link is where the browser itself gets an answer of the admin API, to keep it.
export const link = path => "/console/api/v1/" + path;

const activities = "admin/activities/";
export const activity = id => activities + id;
