// What is asked of the server. All addresses are relative: the page may stand below a path of a proxy.

/** A request that was refused, with the server's reason. */
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** A request that has no answer by then, in milliseconds, may still wait for a connection. */
const LATE = 1000;

/** In this time the server answers what it needs no root for. */
const ANSWERS = 2000;

/** Requests wait, as the browser makes no more connections: so many to one server, and a stream has one for itself. */
let waiting = () => {};

/** @param {() => void} act */
export function whenWaiting(act) {
  waiting = act;
}

/** Tells requests that wait for a connection from those whose answer takes the server long. */
function probe() {
  fetch("healthz", { cache: "no-store", signal: AbortSignal.timeout(ANSWERS) }).catch((error) => {
    if (error.name === "TimeoutError") waiting();
  });
}

/** Where the word by which this session's requests are known is kept: for this origin, its port included, and for the path at which a
 * proxy has this console, as it may have others at other paths. */
const KEPT = `treevisor csrf ${new URL(".", location.href).pathname}`;

/** The word where the browser keeps nothing: then it is known until the page is loaded again. */
let given = "";

/** The word of the present session. All tabs have one cookie, so a login in another one gives this one a new word, too. */
function word() {
  try {
    return given || (localStorage.getItem(KEPT) ?? "");
  } catch {
    return given;
  }
}

/** @param {string} path of the tree @returns {string} as a part of an address */
export function address(path) {
  return path.split("/").filter(Boolean).map(encodeURIComponent).join("/");
}

/** @param {RequestInit} [init] @returns {Promise<any>} the JSON of the answer, or null where there is none */
async function ask(url, init = {}) {
  const timer = setTimeout(probe, LATE);
  const options = { credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(15_000), ...init };
  const answer = await fetch(url, /** @type {RequestInit} */ (options)).finally(() => clearTimeout(timer));
  const text = await answer.text();
  if (answer.ok) return text ? JSON.parse(text) : null;
  let reason = text;
  try {
    reason = JSON.parse(text).error ?? text;
  } catch {
    // An answer in words.
  }
  throw new Refused(answer.status, reason || `the server answered ${answer.status}`);
}

/** @returns {Promise<any>} */
export function get(url) {
  return ask(url);
}

/** @param {object} body @returns {Promise<any>} */
export function post(url, body) {
  const csrf = word();
  const headers = { "Content-Type": "application/json", ...(csrf && { "X-Treevisor-CSRF": csrf }) };
  return ask(url, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Does something one time after the other: what is asked for while it is under way is done once more, however often it was asked for.
 * @param {() => Promise<void>} act @returns {() => Promise<void>} what is over when all is done that was asked for */
export function oneByOne(act) {
  /** @type {Promise<void> | null} */
  let running = null;
  let asked = false;
  const all = async () => {
    try {
      while (asked) {
        asked = false;
        await act();
      }
    } finally {
      running = null;
    }
  };
  return () => {
    asked = true;
    running ??= all();
    return running;
  };
}

/** Remembers the word by which this session's requests are known. @param {{ csrf?: string } | null} answer */
export function remember(answer) {
  if (!answer?.csrf) return;
  given = "";
  try {
    localStorage.setItem(KEPT, answer.csrf);
  } catch {
    given = answer.csrf;
  }
}
