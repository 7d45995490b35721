import assert from "node:assert/strict";
import test from "node:test";
import { parse } from "../../src/web/assets/search.js";
import { announcement, Tree, trouble } from "../../src/web/assets/tree.js";

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);
const ALL = { folded: new Set(), test: null, trouble: false, sort: null, now: NOW };

/** A shop: a database, and a supervisor of an api and two jobs. */
function shop() {
  return Tree.from(
    {
      parent: [null, 0, 0, 2, 2, 2],
      name: ["shop", "db", "web", "api", "jobs-1", "jobs-2"],
      kind: ["supervisor", "worker", "supervisor", "worker", "worker", "worker"],
      state: ["running", "running", "running", "running", "running", "held"],
      pid: [1, 2, 3, 4, 5, null],
      incarnation: [1, 1, 1, 1, 1, 1],
      restarts: [0, 0, 0, 5, 1, 0],
      restart: [null, "permanent", "permanent", "permanent", "permanent", "permanent"],
      strategy: ["rest-for-one", null, "one-for-one", null, null, null],
      intensity: [{ max: 3, period_ms: 5000, used: 0 }, null, { max: 3, period_ms: 5000, used: 1 }, null, null, null],
      heartbeat: [null, null, null, { interval_ms: 1000, misses: 3, age_ms: 200, beats: 9, missed: 0 }, null, null],
      usage: [null, { cpu_ms: 100, memory_bytes: 300 << 20, processes: 1 }, null, null, null, null],
    },
    NOW,
  );
}

const paths = (rows) => rows.map((row) => row.path);
const happens = (kind, path, more = {}) => ({
  id: "a-1", at: "2026-01-02T03:04:05.000Z", path, kind, pid: null, incarnation: 1, cause: null, ...more,
});

test("columns become rows with paths and levels", () => {
  const { rows, counts } = shop();
  assert.deepEqual(paths(rows), ["/", "/db", "/web", "/web/api", "/web/jobs-1", "/web/jobs-2"]);
  assert.deepEqual(rows.map((row) => row.level), [1, 2, 2, 3, 3, 3]);
  assert.deepEqual([...counts], [["running", 3], ["held", 1]]);
});

test("fold, search and trouble say what is seen; what is above it is seen too", () => {
  const tree = shop();
  assert.deepEqual(paths(tree.visible({ ...ALL, folded: new Set(["/web"]) })), ["/", "/db", "/web"]);
  assert.deepEqual(paths(tree.visible({ ...ALL, trouble: true })), ["/", "/web", "/web/jobs-2"]);
  const { test } = parse("api");
  assert.deepEqual(paths(tree.visible({ ...ALL, test, folded: new Set(["/web"]) })), ["/", "/web", "/web/api"]);
});

test("sorting is within supervisors, and what has no value comes last", () => {
  const tree = shop();
  const sorted = (by, down) => paths(tree.visible({ ...ALL, sort: { by, down } }));
  assert.deepEqual(sorted("name", true), ["/", "/web", "/web/jobs-2", "/web/jobs-1", "/web/api", "/db"]);
  assert.deepEqual(sorted("restarts", true), ["/", "/db", "/web", "/web/api", "/web/jobs-1", "/web/jobs-2"]);
  assert.deepEqual(sorted("memory", false), ["/", "/db", "/web", "/web/api", "/web/jobs-1", "/web/jobs-2"]);
});

test("the language of the search field", () => {
  const { rows } = shop();
  const found = (text) => {
    const { test } = parse(text);
    return rows.filter((row) => !test || test(row, NOW)).map((row) => row.name);
  };
  assert.deepEqual(found("state:held"), ["jobs-2"]);
  assert.deepEqual(found("state:held,running kind:worker jobs"), ["jobs-1", "jobs-2"]);
  assert.deepEqual(found("restarts:>3"), ["api"]);
  assert.deepEqual(found("restarts:>=1 -api"), ["jobs-1"]);
  assert.deepEqual(found("restarts:1"), ["jobs-1"]);
  assert.deepEqual(found("memory:>100MB"), ["db"]);
  assert.deepEqual(found("beat:<1s"), ["api"]);
  assert.deepEqual(found("/web/*"), ["api", "jobs-1", "jobs-2"]);
  assert.deepEqual(found("JOBS-2"), ["jobs-2"]);
  assert.equal(found("").length, 6);
  assert.equal(found("state:").length, 6, "an unfinished condition hides nothing");
  assert.equal(found("[").length, 0, "a word is no expression");
  assert.match(parse("colour:red").error ?? "", /^colour: is no key; there are state, /);
  assert.match(parse("restarts:many").error ?? "", /has no number/);
  assert.equal(parse("state:held").error, null);
});

test("changes are merged, and what is not known asks for the tree anew", () => {
  const tree = shop();
  const db = tree.byPath.get("/db");
  assert.ok(!tree.merge([{ path: "/db", state: "exited", pid: null, last_exit: { code: 3, at: "2026-01-02T03:04:05Z" } }], 0));
  assert.deepEqual([...tree.counts], [["running", 2], ["held", 1], ["exited", 1]]);
  assert.deepEqual([db.failed, trouble(db, NOW), db.memory_bytes], [true, "ended: exit 3", null], "numbers are of a process");
  assert.ok(tree.merge([{ path: "/new", state: "running" }], 0));
  tree.merge([{ path: "/db", state: "waiting", waits_ms: 2000 }], NOW);
  assert.ok(tree.merge([{ path: "/db", gone: true }], 0) && !tree.merge([{ path: "/never", gone: true }], 0));
  assert.equal(trouble(db, NOW), "next attempt in 2s");
  // It waits for something else, without a time.
  tree.merge([{ path: "/db", restarts: 1 }], NOW + 5000);
  assert.equal(trouble(db, NOW), "next attempt in 2s");
  tree.merge([{ path: "/db", waits_ms: null }], NOW + 5000);
  assert.equal(trouble(db, NOW + 5000), "waits for its next attempt");
});

test("CPU is the difference of two measurements of one process", () => {
  const tree = shop();
  const db = tree.byPath.get("/db");
  const measure = (cpu_ms, at) => tree.merge([{ path: "/db", usage: { cpu_ms, memory_bytes: 1, processes: 1 } }], NOW + at);
  measure(350, 1000);
  assert.equal(db.cpu, 25);
  tree.merge([{ path: "/db", pid: 9 }], NOW + 1500);
  measure(10, 2000);
  assert.equal(db.cpu, null);
  measure(510, 3000);
  assert.equal(db.cpu, 50);
});

test("what beats late is not well, until it beats again or is another", () => {
  const tree = shop();
  const api = tree.byPath.get("/web/api");
  const late = () => tree.notice(happens("beat_late", "/web/api", { age_ms: 1600, limit_ms: 3000 }));
  late();
  assert.equal(trouble(api, NOW), "no heartbeat for 1.6s");
  tree.merge([{ path: "/web/api", heartbeat: { interval_ms: 1000, misses: 3, age_ms: 100, beats: 10, missed: 0 } }], 7);
  assert.deepEqual([trouble(api, NOW), api.seen], [null, 7]);
  late();
  tree.merge([{ path: "/web/api", state: "starting" }], 8);
  assert.equal(trouble(api, NOW), "is starting");
});

test("an action says what it will touch", () => {
  const tree = shop();
  const says = (path, verb, hold = false, self = null) => tree.touches(tree.byPath.get(path), verb, hold, self);
  assert.equal(
    says("/db", "panic"),
    "/db will be killed at once, without being asked. / then restarts it together with 1 sibling (rest-for-one; restart 1 of 3).",
  );
  assert.equal(
    says("/web", "panic", true, "/web/api"),
    "/web and 3 workers below it will be killed at once, without being asked. It stays down until it is started by hand. " +
      "This console is among them: the page will lose its connection.",
  );
  assert.match(says("/web/api", "panic"), /restarts it alone \(one-for-one; restart 2 of 3\)/);
  assert.match(says("/", "panic"), /This ends the instance/);
  // Where the window is full, it is not restarted.
  const full = (path, used) => tree.merge([{ path, intensity: { max: 3, period_ms: 5000, used } }], NOW);
  full("/web", 3);
  assert.equal(
    says("/web/api", "panic"),
    "/web/api will be killed at once, without being asked. /web allows no further restart (3 of 3 within 5s): it stops all its " +
      "children and gives up; to / that is one child which has failed.",
  );
  full("/", 3);
  assert.match(says("/db", "panic"), /^.* \/ allows no further restart \(3 of 3 within 5s\): .* gives up; this ends the instance\.$/);
  full("/", 2);
  assert.match(says("/db", "panic"), /rest-for-one; restart 3 of 3/);
  assert.doesNotMatch(says("/web/api", "restart", false, "/web/api2"), /console/);
});

test("a burst is announced in one sentence", () => {
  assert.equal(
    announcement([
      happens("gave_up", "/web", { child: "api", used: 4, max: 3, period_ms: 1000 }),
      ...[1, 2, 3, 4].map((job) => happens("starting", `/web/jobs-${job}`, { incarnation: 2 })),
    ]),
    "/web gave up; 4 are being restarted",
  );
  assert.equal(announcement([happens("ready", "/db")]), null);
  assert.equal(announcement([happens("hung", "/a"), happens("hung", "/b")]), "2 hang");
});
