import assert from "node:assert/strict";
import test from "node:test";
import { Presses, replace } from "../../src/web/assets/dom.js";

test("a key that is held down acts once, and on what it was pressed on", () => {
  const presses = new Presses();
  const element = (tagName) => ({ tagName });
  const [grid, first, second, field] = ["DIV", "BUTTON", "BUTTON", "INPUT"].map(element);
  /** Whether the browser acts on it. */
  const acts = (does, key, target, repeat = false) => {
    let prevented = false;
    presses[does](/** @type {any} */ ({ key, target, repeat, preventDefault: () => (prevented = true) }));
    return !prevented;
  };
  for (const key of ["Enter", " "]) {
    assert.ok(acts("down", key, first));
    // Another one has the focus by now.
    assert.ok(!acts("down", key, second, true), "the repetition confirms nothing");
    assert.ok(!acts("up", key, second), "nor does the end of it");
    assert.ok(acts("down", key, second) && acts("up", key, second));
    // It was pressed while another window had the focus.
    assert.ok(!acts("up", key, second));
  }
  assert.ok(!acts("down", "Enter", grid, true) && !acts("down", "Enter", field, true));
  assert.ok(acts("down", " ", grid, true) && acts("down", " ", field, true), "it scrolls, and writes");
  assert.ok(acts("down", "ArrowDown", grid, true) && acts("up", "ArrowDown", second));
});

/** As much of an element as `replace` asks for. */
class Fake {
  constructor(attributes = {}, text = "", ...children) {
    Object.assign(this, { attributes, textContent: text, children });
  }
  getAttribute(name) {
    return this.attributes[name] ?? null;
  }
  contains(one) {
    return one === this || this.children.some((child) => child.contains(one));
  }
  querySelectorAll() {
    return this.children;
  }
  replaceChildren(...children) {
    if (this.children.includes(document.activeElement)) document.activeElement = null;
    this.children = children;
  }
  closest() {
    return this.around;
  }
  focus() {
    document.activeElement = this;
  }
}

test("what has the focus keeps it when it is replaced by the same", () => {
  const { document } = globalThis;
  const link = (href, text) => new Fake({ href }, text);
  const list = new Fake({}, "", link("#/a", "1"), link("#/b", "2"), link("#/b", "3"));
  list.around = new Fake();
  globalThis.document = { activeElement: list.children[2] };
  const focused = () => globalThis.document.activeElement;
  replace(list, link("#/new", "4"), link("#/b", "5"), link("#/b", "6"));
  assert.equal(focused().textContent, "6", "the second of its address");
  replace(list, new Fake({ "data-key": "#/b" }, "7"), link("#/b", "8"));
  assert.equal(focused().textContent, "8");
  replace(list, new Fake({}, "Stop"));
  assert.equal(focused(), list.around, "it is gone: what is around it");
  replace(list, new Fake({}, "Start"));
  assert.equal(focused(), list.around, "it was elsewhere");
  globalThis.document = document;
});
