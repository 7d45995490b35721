import assert from "node:assert/strict";
import test from "node:test";
import { tree } from "./world.mjs";

/** As much of an element as the wall asks for. */
class Fake {
  classList = { add() {}, toggle: (name, on) => void (this.classes[name] = on) };
  classes = {};
  dataset = {};
  textContent = "";
  append() {}
  replaceChildren() {}
  setAttribute() {}
}

Object.assign(document, { createElement: () => new Fake(), documentElement: new Fake() });
Object.assign(globalThis, { Node: Fake, matchMedia: () => ({ matches: false }) });

const { Console } = await import("../../src/web/assets/console.js");
const { WallView } = await import("../../src/web/assets/view-wall.js");

test("the wall of a tree without supervisors below its root, which has no numbers, is old without ticks and without a root", () => {
  const console = new Console();
  console.adopt(tree({ a: "running" }), { rows: [], root: null });
  const wall = new WallView(/** @type {any} */ ({ console }));
  const isOld = () => {
    wall.draw();
    return wall.seen.classes.old;
  };
  const passes = (seconds) => void (console.heard -= seconds * 1000);
  const tick = () => console.take("tick", { at: new Date().toISOString() });
  for (let minute = 0; minute < 4; minute += 1) {
    passes(15);
    assert.ok(!isOld());
    tick();
  }
  assert.deepEqual(console.shown.paths, []);
  passes(25);
  assert.ok(isOld(), "no tick came");
  tick();
  assert.ok(!isOld());
  console.take("root", { is: "silent", run: "r1" });
  tick();
  assert.ok(isOld(), "the root is silent");
});
