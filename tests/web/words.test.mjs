import assert from "node:assert/strict";
import test from "node:test";
import { histogram, reveal, seen, spark } from "../../src/web/assets/rows.js";
import { bytes, clock, ending, look, ordinal, sentence, span, utc } from "../../src/web/assets/words.js";
import { events, golden } from "./picture.mjs";

test("times have two units at most", () => {
  const said = [0, 0.4, 7, 340, 1000, 1250, 9960, 59_400, 60_000, 200_000, 3_600_000, 7_500_000, 90_000_000, -5, NaN].map(span);
  assert.deepEqual(said, ["0s", "400µs", "7ms", "0.3s", "1s", "1.3s", "10s", "59s", "1m", "3m 20s", "1h", "2h 5m", "1d 1h", "0s", ""]);
});

test("sizes", () => {
  assert.deepEqual([0, 1023, 1024, 3_592_192, 300 * 2 ** 20, 5 * 2 ** 40].map(bytes), ["0B", "1023B", "1.0K", "3.4M", "300M", "5.0T"]);
});

test("small words", () => {
  assert.deepEqual([1, 2, 3, 4, 11, 12, 13, 21, 111].map(ordinal), ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "111th"]);
  assert.deepEqual([{ code: 3 }, { signal: 11 }, { signal: 64 }, { signal: 9, oom_killed: true }].map(ending), [
    "exit 3", "SIGSEGV", "signal 64", "out of memory",
  ]);
  assert.equal(look({ state: "exited", failed: true }).shape, "✕");
  assert.equal(look({ state: "stopped", unstarted: true }).word, "not started");
  assert.match(clock("2026-01-02T03:04:05.678Z", true), /^\d\d:\d\d:05\.678$/);
  assert.equal(utc("2026-01-02T03:04:05.678Z"), "2026-01-02 03:04:05.678 UTC");
});

test("every event has a sentence", () => {
  const lines = [...events("rest-for-one"), ...events("hang")].map((event) => `${event.path} ${sentence(event)}`);
  golden(assert, "sentences", `${lines.join("\n")}\n`);
});

test("the rows that are seen are drawn, and a few more", () => {
  assert.deepEqual(seen(0, 600, 30, 10_000), { from: 0, to: 25 });
  assert.deepEqual(seen(30_000, 600, 30, 10_000), { from: 995, to: 1025 });
  assert.deepEqual(seen(-900, 600, 30, 10_000), { from: 0, to: 0 });
  assert.deepEqual(seen(-300, 600, 30, 5), { from: 0, to: 5 });
  assert.deepEqual(seen(299_900, 600, 30, 10_000), { from: 9991, to: 10_000 });
  assert.equal(reveal(5, 300, 600, 30), 150);
  assert.equal(reveal(100, 300, 600, 30), 2430);
  assert.equal(reveal(12, 300, 600, 30), 300);
  assert.equal(reveal(10, 300, 600, 30, 40), 260);
});

test("a sparkline has a gap where nothing is known", () => {
  assert.deepEqual(spark([0, 1, null, 2], 30, 10), ["0,10 10,5", "30,0"]);
  assert.deepEqual(spark([], 30, 10), []);
  assert.deepEqual(spark([0, 0], 30, 10), ["0,10 30,10"]);
  assert.deepEqual(histogram([1, 2, 9, 10, 11], 0, 10, 5), [1, 1, 0, 0, 1]);
});

test("what is started on another host has not failed, and its words name the host that was lost", () => {
  const event = (kind, more) => ({ id: "a-1", at: "2026-01-02T03:04:05Z", path: "/db", kind, cause: null, ...more });
  assert.equal(sentence(event("failed_over", { from: "b", strategy: "one-for-one" })), "fails over: its host b is lost (one-for-one)");
  assert.equal(sentence(event("failed_over", { from: "b", why: "b is lost: its lease was not renewed for 15s" })), "fails over: b is lost: its lease was not renewed for 15s");
  assert.equal(sentence(event("exited", { lost_with: "b", expected: false })), "was lost with its host b");
  assert.equal(sentence(event("no_host", { why: "a: it is being drained" })), "waits: no host may have it: a: it is being drained");
});
