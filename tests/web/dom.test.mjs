import assert from "node:assert/strict";
import test from "node:test";
import { Presses } from "../../src/web/assets/dom.js";

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
