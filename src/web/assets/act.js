// What an operator may do to a child: it shows first what it will touch.

import { button, byId, h, say, shape } from "./dom.js";
import { Refused } from "./server.js";
import { verbs } from "./view-child.js";
import { look } from "./words.js";

/** How long panic is held down. */
const HOLD = 1500;

/** A dialog with a title, which gives the focus back when it closes. @param {...Node} parts */
export function dialog(title, ...parts) {
  const before = document.activeElement;
  const close = button("Close", () => element.close(), { class: "close" });
  const element = h("dialog", { "aria-label": title }, h("h2", title), ...parts, close);
  element.addEventListener("close", () => {
    element.remove();
    // What was pressed may have been replaced since.
    const back = before instanceof HTMLElement && before.isConnected ? before : byId("main");
    back.focus({ preventScroll: true });
  });
  document.body.append(element);
  element.showModal();
  return element;
}

/** A button that acts when it is held down, by pointer or by key. A program that presses buttons for its user cannot hold one: it presses twice. */
export function holdButton(label, act) {
  const fill = h("i", { "aria-hidden": "true" });
  const words = h("span", label);
  const element = h("button", { type: "button", class: "danger hold", "aria-describedby": "hold-how" }, fill, words);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let held = false;
  let asked = 0;
  const begin = () => {
    if (timer !== undefined) return;
    held = true;
    element.classList.add("down");
    timer = setTimeout(() => {
      end();
      act();
    }, HOLD);
  };
  const end = () => {
    clearTimeout(timer);
    timer = undefined;
    element.classList.remove("down");
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button === 0) begin();
  });
  for (const kind of ["pointerup", "pointerleave", "pointercancel", "blur"]) element.addEventListener(kind, end);
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    if (!event.repeat) begin();
  });
  element.addEventListener("keyup", end);
  element.addEventListener("click", () => {
    const by = held;
    held = false;
    if (by) return;
    if (Date.now() - asked < 5000) act();
    else {
      asked = Date.now();
      say(words, `${label}: press again`);
    }
  });
  return element;
}

/** The dialog of actions. @param {Page} page @param {string} path @param {string} [verb] the one that has been chosen already @param {boolean} [hold] */
export function actions(page, path, verb, hold = false) {
  const { console } = page;
  const row = console.tree.byPath.get(path);
  if (!row) return;
  // The run and the incarnation that are looked at now: the action is for no other.
  const { run } = console.tree;
  const { incarnation } = row;
  // So are the supervisors above: another process of one counts from 1 again.
  const above = [];
  for (let of = console.tree.rows[row.parent]; of?.parent >= 0; of = console.tree.rows[of.parent]) above.unshift(of.incarnation ?? 0);
  const body = h("div");
  const told = h("p.told", { role: "status" });
  const { word, name } = look(row);
  const state = h("p", { class: `state ${name}` }, shape(look(row)), `${word}, incarnation ${incarnation ?? 0}`);
  const element = dialog(path, state, body, told);
  element.classList.add("actions");

  const done = (text, wrong) => {
    say(told, text);
    told.classList.toggle("error", wrong);
    page.say(text);
  };

  /** Nothing is to be chosen any more. */
  const clear = () => {
    body.replaceChildren();
    const close = element.querySelector("button.close");
    if (close instanceof HTMLElement) close.focus();
  };

  /** The row as it is now: the tree may have been fetched since, with places of its own. */
  const present = () => {
    const { row, why } = console.present(path, run);
    if (row) return row;
    clear();
    done(`${why} Nothing was done.`, true);
    return null;
  };

  const choose = () => {
    const row = present();
    if (!row) return;
    const able = verbs(row).map(([verb, label, hold]) => button(label, () => confirm(verb, label, hold), { class: verb === "panic" ? "danger" : "" }));
    body.replaceChildren(h("div.buttons", ...able));
    able[0]?.focus();
  };

  const confirm = (verb, label, hold) => {
    const row = present();
    if (!row) return;
    const words = h("p.touches", console.tree.touches(row, verb, hold, console.self));
    const parts = [words];
    const go = () => send(verb, hold);
    const act = verb === "panic" ? holdButton(label, go) : button(`${label} ${path}`, go, { class: "main" });
    if (verb === "panic") parts.push(h("p.meaning", { id: "hold-how" }, "Hold the button down for a second and a half."));
    if (console.root !== "here") {
      parts.push(h("p", "The root does not answer. From a shell on its machine: ", h("code", `treevisor -i ${console.instance} panic --force ${path}`)));
    }
    body.replaceChildren(...parts, h("div.buttons", act, button("Something else", choose)));
    act.focus();
  };

  const report = (verb, said) => {
    if (said.is === "done") {
      done(`${verb} ${path}: done${said.detail ? ` (${said.detail})` : ""}`, false);
      if (element.open) setTimeout(() => element.close(), 1200);
    } else if (said.is === "failed") {
      done(`${verb} ${path} failed: ${said.detail ?? said.outcome ?? "no reason was given"}`, true);
    } else if (said.is === "unknown") {
      done(`${verb} ${path}: the connection was lost before its end was reported. The tree shows what has become of it.`, true);
    } else {
      say(told, said.waiting_for ? `Accepted; waiting for ${said.waiting_for}.` : "Accepted.");
    }
  };

  const send = async (verb, hold) => {
    if (!present()) return;
    clear();
    say(told, "Asked; waiting for an answer.");
    try {
      const meant = { ...(incarnation !== undefined && { incarnation }), ...(above.every(Boolean) && { above }), ...(run !== null && { run }) };
      await console.act({ verb, path, hold, ...meant }, (said) => report(verb, said));
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      if (!(error instanceof Refused)) done(`No answer: ${message}. Whether it was done is not known.`, true);
      else done(`Refused: ${message}${error.status === 409 ? ". Nothing was done." : ""}`, true);
    }
  };

  const chosen = verbs(row).find(([name, , holds]) => name === verb && holds === hold);
  if (chosen) confirm(...chosen);
  else choose();
}
