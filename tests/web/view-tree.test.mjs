import assert from "node:assert/strict";
import test from "node:test";
import { tree } from "./world.mjs";

/** As much of an element as the view asks for while it is not drawn. */
class Fake {
  classList = { add() {} };
  attributes = new Map();
  textContent = "";
  append() {}
  addEventListener() {}
  getAttribute = (name) => this.attributes.get(name) ?? null;
  setAttribute = (name, value) => void this.attributes.set(name, String(value));
}

Object.assign(document, { createElement: () => new Fake() });
Object.assign(globalThis, { Node: Fake, matchMedia: () => ({ matches: false }) });

const { TreeView } = await import("../../src/web/assets/view-tree.js");
const { Tree } = await import("../../src/web/assets/tree.js");

test("what was folded in an instance is folded again, also where the page was opened before its root", () => {
  const console = { instance: "", tree: new Tree(), now: () => 0, changed() {} };
  const view = new TreeView(/** @type {any} */ ({ console }));
  view.make();
  localStorage.setItem("treevisor.folded.shop", '["/web"]');
  const rows = { parent: [null, 0, 1, 0, 3], name: ["shop", "web", "a", "db", "b"], kind: ["supervisor", "supervisor", "worker", "supervisor", "worker"] };
  Object.assign(console, { instance: "shop", tree: Tree.from({ ...tree({}).rows, ...rows }, 0) });
  view.make();
  assert.deepEqual(view.list.map(({ path }) => path), ["/", "/web", "/db", "/db/b"]);
  view.fold(console.tree.byPath.get("/db"), true);
  assert.equal(localStorage.getItem("treevisor.folded.shop"), '["/web","/db"]');
});
