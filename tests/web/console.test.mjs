import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { asked, idle, requests, settled, tree } from "./world.mjs";

const { Console } = await import("../../src/web/assets/console.js");

/** A console with this tree, whose stream is open. */
async function begun(workers = { a: "running" }, more = {}) {
  requests.length = 0;
  const console = new Console();
  const begin = console.begin();
  await asked("api/tree").answer(tree(workers, more));
  await asked("api/events").answer([]);
  await begin;
  console.connection = "live";
  console.take("hello", { stream: "s1", may: "act", instance: "shop", run: "r1" });
  console.take("root", { is: "here", run: "r1" });
  await asked("api/view").answer(null);
  return console;
}

/** Some seconds later. */
async function later(console) {
  console.tried = 0;
  console.tick();
  await settled();
}

const state = (console, path = "/a") => console.tree.byPath.get(path)?.state;

test("a clock that is set while the page is open is noticed with the next tick", async () => {
  const console = await begun();
  const off = (ms) => Math.abs(console.now() - Date.now() - ms) < 1000;
  assert.ok(off(0), `${console.now() - Date.now()}`);
  console.take("tick", { at: new Date(Date.now() - 3_600_000).toISOString() });
  assert.ok(off(-3_600_000));
  // A message that was late for a moment is none.
  console.take("tick", { at: new Date(Date.now() - 3_602_000).toISOString() });
  assert.ok(off(-3_600_000));
});

test("a quiet tree is as old as the last tick, and one whose root is silent as old as the root's last answer", async () => {
  const console = await begun();
  const tick = () => console.take("tick", { at: new Date().toISOString() });
  const age = () => Math.round((Date.now() - console.heard) / 1000);
  const passes = (seconds) => void (console.heard -= seconds * 1000);
  passes(15);
  tick();
  assert.equal(age(), 0);
  for (const is of ["silent", "gone"]) {
    passes(2);
    console.take("root", { is, run: "r1" });
    passes(15);
    tick();
    console.take("action", { action: 1, verb: "restart", path: "/a", is: "accepted" });
    // Another stream: the server answers, and the root still does not.
    console.take("hello", { stream: "s2", may: "act", instance: "shop", run: "r1" });
    console.take("root", { is, run: "r1" });
    assert.deepEqual([console.root, age()], [is, 17]);
    console.take("root", { is: "here", run: "r1" });
    assert.equal(age(), 0);
  }
  // It was silent before this page was opened.
  console.fetch();
  await asked("api/tree").answer({ ...tree({ a: "running" }, { root: "silent" }), silent_ms: 60_000 });
  console.take("hello", { stream: "s3", may: "act", instance: "shop", run: "r1" });
  console.take("root", { is: "silent", run: "r1" });
  assert.equal(age(), 60);
});

test("rows that change while the tree is under way are not lost with it", async () => {
  const console = await begun();
  console.take("lost", { count: 0 });
  const request = asked("api/tree");
  console.take("rows", [{ path: "/a", state: "held", pid: null }]);
  await request.answer(tree({ a: "running", b: "running" }));
  assert.deepEqual([state(console), state(console, "/b")], ["held", "running"]);
  assert.deepEqual([...console.tree.counts].filter(([, count]) => count), [["running", 1], ["held", 1]]);
  // What came before it was asked for is in it.
  const again = console.fetch();
  await asked("api/tree").answer(tree({ a: "running" }));
  await again;
  assert.equal(state(console), "running");
});

test("a root that ends while the tree is under way is gone", async () => {
  const console = await begun();
  console.fetch();
  console.take("root", { is: "gone", run: "r1" });
  await asked("api/tree").answer(tree({ a: "running" }));
  assert.equal(console.root, "gone");
  console.fetch();
  console.take("root", { is: "here", run: "r1" });
  await asked("api/tree").answer({ error: "the instance does not run" }, 503);
  assert.equal(console.root, "here");
});

test("what is reported once, a late beat, outlives a fetch", async () => {
  const console = await begun();
  console.take("events", [{ id: "r1-7", at: "2026-01-02T03:04:05Z", path: "/a", kind: "beat_late", age_ms: 1600 }]);
  console.fetch();
  await asked("api/tree").answer(tree({ a: "running" }));
  assert.deepEqual([console.tree.byPath.get("/a").ill, console.tree.byPath.get("/a").beat_age_ms], [true, 1600]);
});

test("a tree that could not be fetched is fetched later, and until then the page shows it", async () => {
  for (const fail of [(one) => one.fail(), (one) => one.answer({ error: "the root does not answer" }, 503), (one) => one.answer("", 502)]) {
    const console = await begun();
    console.take("lost", { count: 0 });
    await asked("api/events").answer([]);
    await fail(asked("api/tree"));
    assert.deepEqual([console.root, console.stale !== ""], ["here", true]);
    await later(console);
    await fail(asked("api/tree"));
    // The stream begins anew, or the root is back: at once.
    console.take("hello", { stream: "s2", may: "act", instance: "shop", run: "r1" });
    await fail(asked("api/tree"));
    console.take("root", { is: "here", run: "r1" });
    await asked("api/tree").answer(tree({ a: "held" }));
    assert.deepEqual([state(console), console.stale], ["held", ""]);
    await later(console);
    assert.ok(idle("api/tree"));
  }
});

test("a session that is over asks for no tree, so that the form for the key stays", async () => {
  const console = await begun();
  console.expired = () => console.stream.end();
  console.take("lost", { count: 0 });
  await asked("api/events").answer([]);
  await asked("api/tree").answer({ error: "there is no session" }, 401);
  assert.deepEqual([console.connection, console.stale !== ""], ["closed", true]);
  await later(console);
  assert.ok(idle("api/tree"));
});

test("what is asked for while it is under way is done once more", async () => {
  const console = await begun();
  const first = console.fetch();
  const second = console.fetch();
  await asked("api/tree").answer(tree({ a: "running" }));
  await asked("api/tree").answer(tree({ a: "held" }));
  await Promise.all([first, second]);
  assert.equal(state(console), "held");
  assert.ok(idle("api/tree"));
});

test("a view gets what was missed with what stands around it", async () => {
  const console = await begun();
  const event = (number) => ({ id: `a-${number}`, at: new Date(Date.now() + number).toISOString(), path: "/a", kind: "ready" });
  const came = [];
  console.watcher = { came: (events) => came.push(events.map(({ id }) => id)) };
  console.take("events", [event(1)]);
  console.take("lost", { count: 0 });
  const missed = asked("api/events");
  console.take("events", [event(4)]);
  await missed.answer([1, 2, 3, 4].map(event));
  assert.deepEqual(came, [["a-1"], ["a-4"], ["a-1", "a-2", "a-3", "a-4"]]);
  assert.deepEqual(console.events.map(({ id }) => id), ["a-1", "a-2", "a-3", "a-4"]);
});

test("events that could not be read are read later", async () => {
  const console = await begun();
  console.take("lost", { count: 3 });
  await asked("api/tree").answer(tree({ a: "running" }));
  await asked("api/events").fail();
  await later(console);
  await asked("api/events").answer([{ id: "r1-5", at: "2026-01-02T03:04:05Z", path: "/a", kind: "ready" }]);
  assert.equal(console.events.length, 1);
  await later(console);
  assert.ok(idle("api/events"));
});

test("without a root the last picture stays; the server gives that as the reason", async () => {
  const console = await begun();
  const reason = "the instance does not run";
  console.fetch();
  await asked("api/tree").answer({ error: reason }, 503);
  assert.deepEqual([console.root, state(console)], ["gone", "running"]);
  const answers = readFileSync(new URL("../../src/web/answers.rs", import.meta.url), "utf8");
  assert.ok(answers.includes(`Refused::unavailable("${reason}")`));
});

test("a stream that is behind the tree goes on where it was", async () => {
  const console = await begun({ a: "running" }, { next: 5 });
  console.stream.next = 7;
  console.fetch();
  await asked("api/tree").answer(tree({ a: "running" }, { next: 9 }));
  assert.equal(console.stream.next, 7);
  console.fetch();
  await asked("api/tree").answer(tree({ a: "running" }, { run: "r2", next: 2 }));
  assert.deepEqual([console.stream.next, console.stream.run], [2, "r2"]);
});

const RESTART = { verb: "restart", path: "/a", hold: false, incarnation: 1, run: "r1" };
const done = (action, verb = "restart", path = "/a") => ({ action, verb, path, is: "done" });

test("of what is reported an action gets its own, also before its number is known", async () => {
  const console = await begun();
  const reports = [];
  // Of another page, and of a time before.
  console.take("action", done(1));
  const acting = console.act(RESTART, (report) => reports.push(report.is));
  assert.deepEqual(asked("api/act").body, RESTART);
  console.take("action", done(1, "panic"));
  console.take("action", { ...done(1), is: "accepted" });
  await asked("api/act").answer({ action: 1 }, 202);
  await acting;
  assert.deepEqual(reports, ["accepted"]);
  console.take("action", done(1, "stop"));
  console.take("action", done(1));
  assert.deepEqual(reports, ["accepted", "done"]);
  assert.equal(console.early.length, 0);
});

test("with another stream an action's end is not known, and what another console process numbers alike is not its", async () => {
  const console = await begun();
  const reports = [];
  const acting = console.act(RESTART, (report) => reports.push(report.is));
  await asked("api/act").answer({ action: 1 }, 202);
  await acting;
  console.take("hello", { stream: "s2", may: "act", instance: "shop", run: "r1" });
  console.take("action", done(1));
  assert.deepEqual(reports, ["unknown"]);
});

test("an action that is asked for while another stream begins has no end that is known, unless that stream reports it", async () => {
  for (const reported of [false, true]) {
    const console = await begun();
    const reports = [];
    const acting = console.act(RESTART, (report) => reports.push(report.is));
    console.take("action", { ...done(1), is: "accepted" });
    console.take("hello", { stream: "s2", may: "act", instance: "shop", run: "r1" });
    if (reported) console.take("action", done(1));
    await asked("api/act").answer({ action: 1 }, 202);
    await acting;
    assert.deepEqual([reports, console.actions.size], [[reported ? "done" : "unknown"], 0]);
  }
});

test("a console that has begun anew while the root is down knows no run, and the tree has not begun anew", async () => {
  const console = await begun();
  console.take("hello", { stream: "s2", may: "act", instance: "", run: "" });
  console.take("root", { is: "gone", run: "" });
  assert.deepEqual([console.run, console.present("/a", "r1").why, idle("api/tree")], ["r1", "", true]);
  console.take("root", { is: "here", run: "r2" });
  await asked("api/tree").answer(tree({ a: "running" }, { run: "r2" }));
  assert.match(console.missed, /begun anew/);
});

test("an action is for a row of the tree as it is now, and for no other run", async () => {
  const console = await begun({ a: "running", b: "running" });
  const { run } = console.tree;
  const before = console.present("/b", run).row;
  console.take("lost", { count: 0 });
  await asked("api/tree").answer(tree({ b: "held" }));
  const { row } = console.present("/b", run);
  assert.ok(row !== before && row === console.tree.byPath.get("/b"));
  assert.match(console.tree.touches(row, "panic", false, null), /restarts it alone/);
  assert.equal(console.present("/a", run).why, "There is no /a any more.");
  // The tree is still that of the run before.
  console.take("root", { is: "here", run: "r2" });
  assert.deepEqual([console.tree.run, console.present("/b", run).why], ["r1", "The tree has begun anew."]);
  await asked("api/tree").answer(tree({ b: "running" }, { run: "r2" }));
  assert.equal(console.present("/b", run).row, undefined);
  assert.equal(console.present("/b", console.tree.run).row?.state, "running");
});

test("rows with a late beat are asked for, whatever is shown, until they beat again", async () => {
  const console = await begun({ a: "running", b: "running" });
  console.take("events", [{ id: "r1-7", at: "2026-01-02T03:04:05Z", path: "/a", kind: "beat_late", age_ms: 1600 }]);
  console.show({ paths: ["/b"] });
  assert.deepEqual(console.shown.paths, ["/b", "/a"]);
  console.take("numbers", [{ path: "/a", heartbeat: { interval_ms: 1000, misses: 3, age_ms: 100, beats: 9, missed: 1 } }]);
  console.show({ paths: ["/b"] });
  assert.deepEqual(console.shown.paths, ["/b"]);
  for (const row of console.tree.rows) row.ill = true;
  console.show({ paths: Array.from({ length: 300 }, (_, at) => `/w${at}`) });
  assert.equal(console.shown.paths.length, 200);
  assert.deepEqual(console.shown.paths.slice(-3), ["/", "/a", "/b"]);
});

test("a report of what is shown that fails is sent again, and none overtakes another", async () => {
  const console = await begun();
  console.show({ logs: "/a" });
  console.tell();
  const first = asked("api/view");
  console.show({ logs: null });
  console.tell();
  assert.equal(asked("api/view"), first, "one at a time");
  await first.answer({ error: "the CSRF value is missing or wrong" }, 403);
  // The view has become another since.
  await asked("api/view").fail();
  assert.ok(idle("api/view"));
  assert.notEqual(console.telling, undefined, "it is sent again");
  console.tell();
  assert.deepEqual(asked("api/view").body, { stream: "s1", paths: [], select: null, logs: null });
  await asked("api/view").answer(null, 204);
  // What is known is not reported again, and nothing to a stream that is over.
  console.tell();
  console.show({ logs: null });
  assert.deepEqual([console.telling, idle("api/view")], [undefined, true]);
  console.show({ logs: "/a" });
  console.tell();
  await settled();
  await asked("api/view").answer({ error: "this stream is not open" }, 404);
  console.show({ logs: "/a" });
  assert.deepEqual([console.telling, idle("api/view")], [undefined, true]);
  console.take("hello", { stream: "s2", may: "act", instance: "shop", run: "r1" });
  assert.deepEqual(asked("api/view").body.stream, "s2");
});

test("a stream whose page's requests wait for a connection gives back its own, and one whose server takes long does not", async () => {
  const timedOut = new DOMException("", "TimeoutError");
  for (const [probed, connection] of [
    [(one) => one.answer(null, 204), "live"],
    [(one) => one.fail(), "live"],
    [(one) => one.fail(timedOut), "waiting"],
  ]) {
    const console = await begun();
    const late = [];
    const { setTimeout } = globalThis;
    globalThis.setTimeout = /** @type {any} */ ((act, ms) => (ms === 1000 ? late.push(act) : setTimeout(act, ms)));
    console.act(RESTART, () => {}).catch(() => {});
    globalThis.setTimeout = setTimeout;
    late[0]();
    await probed(asked("healthz"));
    assert.deepEqual([console.connection, console.stream.source === null], [connection, connection === "waiting"]);
  }
  await asked("login").answer({ may: "act", csrf: "one" });
});

test("a page whose stream was given back has none for a while, and one whose server is gone connects anew", async () => {
  for (const [checked, connection] of [[(one) => one.answer({ may: "act", csrf: "one" }), "crowded"], [(one) => one.fail(), "waiting"]]) {
    const console = await begun();
    console.stream.giveBack();
    await checked(asked("login"));
    assert.deepEqual([console.connection, console.stream.failures], [connection, connection === "waiting" ? 1 : 0]);
    // There is none to give back.
    console.stream.giveBack();
    assert.ok(idle("login"));
  }
});

test("each request has the word of the session that the browser has by now", async () => {
  const console = await begun();
  const word = () => {
    console.act(RESTART, () => {}).catch(() => {});
    const request = requests.at(-1);
    request.answer({ error: "" }, 403);
    return request.headers["X-Treevisor-CSRF"];
  };
  const entering = console.enter("key");
  await asked("login").answer({ may: "act", csrf: "one" });
  await entering;
  assert.equal(word(), "one");
  // A login in another tab: the cookie is the browser's.
  // Of the console at this path; a proxy may have others of this origin.
  localStorage.setItem("treevisor csrf /shop/", "two");
  assert.equal(word(), "two");
});

test("supervisors that gave up in the last hour are counted, however much has happened since", async () => {
  const console = await begun();
  const gave = (id, minutes) => ({ id, at: new Date(Date.now() - minutes * 60_000).toISOString(), path: "/", kind: "gave_up" });
  const ready = (id) => ({ id, at: new Date().toISOString(), path: "/a", kind: "ready" });
  console.take("events", [gave("r1-1", 90), gave("r1-2", 30)]);
  console.take("events", Array.from({ length: 7000 }, (_, at) => ready(`r1-${at + 3}`)));
  assert.deepEqual([console.alarms(), console.recent.known.has("r1-2")], [1, false]);
  // So are those that the answer with the last hour had no room for.
  console.take("lost", { count: 1 });
  await asked("api/tree").answer(tree({ a: "running" }));
  await asked("api/events").answer(Array.from({ length: 5000 }, (_, at) => ready(`r1-${at + 9000}`)));
  assert.match(asked("api/events").url, /kind=gave_up/);
  await asked("api/events").answer([gave("r1-2", 30), gave("r1-8000", 5)]);
  assert.equal(console.alarms(), 2);
});
