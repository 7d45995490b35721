import assert from "node:assert/strict";
import test from "node:test";
import { claims, look, note, store } from "../../src/web/assets/cluster.js";

test("a host's state has a shape, and one that is not known looks bad", () => {
  assert.deepEqual(["live", "draining", "left", "lost", "new"].map((state) => look(state)[0]), ["running", "stopping", "exited", "failed", "failed"]);
});

test("the store is a line", () => {
  const of = { kind: "etcd", state: "ok", age_ms: 340, size_bytes: 40_960, quota_bytes: 2 ** 31 };
  assert.equal(store(of), "etcd answers, 0.3s ago; 40K of 2.0G");
  assert.equal(store({ ...of, state: "lost", age_ms: null, size_bytes: null }), "etcd does not answer: leases end");
});

test("of a tree that runs nowhere the reasons are shown", () => {
  const tree = { instance: "shop", wanted: "up", host: null, token: 3, since_ms: null, note: null, candidates: [
    { host: "a", fit: true, why: "first" }, { host: "b", fit: false, why: "draining" }, { host: "c", fit: false, why: "lost" }] };
  assert.equal(note(tree), "b: draining; c: lost");
  assert.equal(note({ ...tree, host: "a" }), "");
  assert.equal(note({ ...tree, wanted: "down" }), "");
  assert.equal(note({ ...tree, note: "it gave up on all hosts" }), "it gave up on all hosts");
});

test("placed subtrees stand below their tree, each with the host that it runs on", () => {
  const tree = { instance: "shop", wanted: "up", host: "a", token: 3, since_ms: 1, note: null, candidates: [] };
  const subtrees = [
    { path: "/db", host: "b", token: 4, since_ms: 2, note: null },
    { path: "/mq", host: null, token: 1, since_ms: null, note: "it was ordered to stop" },
  ];
  const rows = claims([{ ...tree, subtrees }, { ...tree, instance: "lab" }]);
  assert.deepEqual(rows.map(({ name, wanted, host, token, note }) => [name, wanted, host, token, note]), [
    ["shop", "up", "a", 3, ""],
    ["shop /db", "", "b", 4, ""],
    ["shop /mq", "", null, 1, "it was ordered to stop"],
    ["lab", "up", "a", 3, ""],
  ]);
});
