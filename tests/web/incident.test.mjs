import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { JOURNAL, Past, causes, first, incident, incidents, layout, moment } from "../../src/web/assets/incident.js";
import { events, golden, picture } from "./picture.mjs";

const ORDER = ["/", "/db", "/cache", "/web", "/web/api", "/web/jobs-1", "/web/jobs-2", "/web/jobs-3", "/web/jobs-4"].map((path) => ({
  path,
  ready: path === "/web/api" ? "heartbeat" : path === "/" || path === "/web" ? null : "exec",
}));

/** An event of one second and some milliseconds. */
const event = (id, ms, path, kind, cause = null, more = {}) => ({
  id, path, kind, cause, pid: null, incarnation: 1, ...more,
  at: new Date(Date.UTC(2026, 0, 2, 3, 4, 5) + ms).toISOString(),
});

const killed = (all) => all.find((one) => one.kind === "exited" && !one.expected).id;

test("an exit takes down what stands behind it, and all comes back", () => {
  const all = events("rest-for-one");
  golden(assert, "rest-for-one", picture(all, killed(all), ORDER));
});

test("a hang makes a supervisor give up", () => {
  const all = events("hang");
  const gave = all.find((one) => one.kind === "gave_up");
  golden(assert, "hang", picture(all, first(all, gave.id), ORDER));
});

test("an incident is all that has its cause in it", () => {
  const all = events("rest-for-one");
  const found = incident(all, killed(all));
  const ids = new Set(found.map((one) => one.id));
  const cause = causes(all);
  assert.equal(found[0].id, killed(all));
  for (const one of found.slice(1)) assert.ok(ids.has(cause.get(one.id)), one.id);
  assert.ok(found.every((one, at) => at === 0 || moment(found[at - 1].at) <= moment(one.at)));
  // The children of a supervisor that is stopped name no cause of their own.
  assert.ok(found.some((one) => one.path === "/web/jobs-1" && one.kind === "stopping" && one.cause === null));
  assert.deepEqual(incident(all, "none-1"), []);
});

test("whatever event is asked for, its first cause is found", () => {
  const all = events("hang");
  const last = all.findLast((one) => one.kind === "ready" && one.path === "/web");
  const late = all.filter((one) => one.kind === "beat_late").at(-1);
  assert.equal(first(all, last.id), late.id);
  assert.equal(first([event("a-2", 0, "/a", "exited", "a-1")], "a-2"), "a-2", "as far as it is known");
});

test("what happens in one moment stands side by side where one led to the other", () => {
  const together = [
    event("a-1", 0, "/a", "exited"),
    event("a-2", 0, "/a", "restarting", "a-1"),
    event("a-3", 0, "/b", "stopping", "a-2"),
    event("a-4", 0, "/c", "stopping", "a-2"),
  ];
  const { lanes, arrows, ticks } = layout(together, []);
  const from = (path) => lanes.find((lane) => lane.path === path).spans[0].to;
  assert.equal(ticks.length, 1);
  assert.ok(from("/a") < from("/b"));
  assert.equal(from("/b"), from("/c"));
  assert.equal(arrows.length, 2);
});

test("silences grow with their logarithm", () => {
  const width = (ms) => layout([event("a-1", 0, "/a", "exited"), event("a-2", ms, "/a", "starting", "a-1")], []).width;
  assert.ok(width(1) < width(1000) && width(1000) < width(3_600_000));
  assert.ok(Math.abs(width(100_000) - width(10_000) - (width(10_000) - width(1000))) <= 2);
});

test("copies that did the same are one lane, those that did not are lanes of their own", () => {
  const copies = [1, 2, 3].flatMap((copy) => [
    event(`a-${copy}`, 0, `/jobs-${copy}`, "stopping", "b-1"),
    ...(copy < 3 ? [event(`c-${copy}`, 5 * copy, `/jobs-${copy}`, "exited", `a-${copy}`)] : []),
  ]);
  const { lanes } = layout([event("b-1", 0, "/a", "exited"), ...copies].sort((a, b) => moment(a.at) - moment(b.at)), []);
  assert.deepEqual(lanes.map(({ path, count }) => [path, count]), [["/a", 1], ["/jobs-1", 2], ["/jobs-3", 1]]);
});

test("forty lanes at most, and how many there are besides", () => {
  const many = Array.from({ length: 100 }, (_, at) => event(`a-${at + 1}`, at, `/w${at}`, "exited", at ? "a-1" : null));
  const { lanes, more } = layout(many, []);
  assert.equal(lanes.length, 40);
  assert.equal(more, 60);
});

test("whether a start is over is for the worker's own ready, where no event says it", () => {
  const start = [event("a-1", 0, "/a", "starting"), event("a-2", 2, "/a", "started", "a-1")];
  const end = (ready) => layout(start, [{ path: "/a", ready }]).lanes[0].spans.at(-1).is;
  assert.equal(end("exec"), "up");
  assert.equal(end("notify"), "starting");
});

test("incidents are distinguished by their first cause, and sized by what was taken down", () => {
  const all = [...events("rest-for-one"), ...events("hang")];
  const found = incidents(all).map(({ path, lane, is, size }) => [path, lane, is, size]);
  assert.deepEqual(found.slice(0, 4), [
    ["/db", "/db", "failure", 8],
    ["/web/api", "/web", "hang", 1],
    ["/web/api", "/web", "hang", 1],
    ["/web/api", "/web", "escalation", 6],
  ]);
  for (const one of incidents(all)) assert.equal(incident(all, one.id).length, one.events, one.id);
});

test("a view keeps more than the page, in their order, and shows where it was cut", () => {
  const past = new Past();
  const of = (from, to) => Array.from({ length: to - from }, (_, at) => event(`a-${from + at}`, from + at, "/a", "ready"));
  past.add(of(5, 8));
  // The journal's answer comes later, and has some of them.
  past.add(of(0, 6));
  past.add(of(7, 9));
  assert.deepEqual(past.events.map(({ id }) => id), Array.from({ length: 9 }, (_, at) => `a-${at}`));
  assert.equal(past.cut, null);
  past.add(of(9, 30_000));
  assert.deepEqual([past.events.length, past.events[0].id, past.cut], [20_000, "a-10000", event("", 10_000, "", "").at]);
});

test("events are in the server's order, whichever came first and whatever their times", () => {
  const past = new Past();
  const of = (...numbers) => numbers.map((number) => event(`a-${number}`, -number, "/a", "ready"));
  past.add(of(9, 10));
  past.add(of(7, 8, 9));
  past.add(of(11, 12));
  past.add(of(6, 8, 10));
  assert.deepEqual(past.events.map(({ id }) => id), [7, 6, 8, 9, 10, 11, 12].map((number) => `a-${number}`));
});

test("what was asked for stands before what has come meanwhile, also where both have nothing in common", () => {
  const of = (...numbers) => numbers.map((number) => event(`a-${number}`, number, "/a", "ready"));
  const ids = (past) => past.events.map(({ id }) => id);
  const past = new Past();
  past.add(of(4));
  past.add(of(1, 2), true);
  assert.deepEqual(ids(past), ["a-1", "a-2", "a-4"]);
  // More were missed than one answer has.
  past.add(of(8, 9), true);
  assert.deepEqual(ids(past), ["a-1", "a-2", "a-4", "a-8", "a-9"]);
});

test("a clock that is set back takes no incident apart", () => {
  const hour = 3_600_000;
  const all = [
    event("a-1", hour, "/a", "exited"),
    event("a-2", 0, "/a", "restarting", "a-1"),
    event("a-3", 1, "/b", "stopping", "a-2"),
  ];
  const past = new Past();
  for (const one of all) past.add([one]);
  assert.deepEqual(incident(past.events, "a-1"), all);
  assert.equal(incidents(past.events).length, 1);
});

test("as many events are asked for as the server answers", () => {
  const history = readFileSync(new URL("../../src/web/history.rs", import.meta.url), "utf8");
  assert.match(history, new RegExp(`EVENTS_MAX: usize = ${JOURNAL.toLocaleString("en").replace(",", "_")};`));
});
