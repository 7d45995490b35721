import assert from "node:assert/strict";
import test from "node:test";
import { joined, later } from "../../src/web/assets/lines.js";

const line = (path, at, text = `${path} ${at}`) => ({ path, at, text, pid: 1, incarnation: 1 });
const texts = (lines) => lines.map(({ text, lost, gap }) => (lost ? `${lost} lost` : gap ? "gap" : text));

test("lines that were asked for once more are there once, and older ones stay", () => {
  const before = [line("/a", "1"), line("/b", "2"), line("/a", "3")];
  const asked = [line("/b", "2"), line("/a", "3"), line("/a", "4"), line("/b", "5")];
  assert.deepEqual(texts(joined(before, asked, false)), ["/a 1", "/b 2", "/a 3", "/a 4", "/b 5"]);
  assert.deepEqual(texts(joined([], asked, true)), texts(asked));
  assert.deepEqual(texts(joined(before, [], true)), texts(before));
});

test("several lines of one moment are as many as there are", () => {
  const asked = [line("/a", "3", "x"), line("/a", "3", "y"), line("/a", "3", "z")];
  assert.deepEqual(texts(joined([line("/a", "1"), line("/a", "3", "x")], asked, true)), ["/a 1", "x", "y", "z"]);
});

test("what a worker has forgotten since stays where it was", () => {
  const before = [line("/a", "2"), line("/gone", "3"), { lost: 7, path: "", at: null, text: "" }, line("/a", "4")];
  const asked = [line("/a", "4"), line("/a", "5")];
  assert.deepEqual(texts(joined(before, asked, true)), ["/a 2", "/gone 3", "7 lost", "/a 4", "/a 5"]);
});

test("where lines may be missing in between, that is marked", () => {
  const asked = [line("/a", "8"), line("/a", "9")];
  assert.deepEqual(texts(joined([line("/a", "1")], asked, false)), ["/a 1", "gap", "/a 8", "/a 9"]);
  assert.deepEqual(texts(joined([line("/a", "1")], asked, true)), ["/a 1", "/a 8", "/a 9"]);
  assert.deepEqual(texts(joined([line("/a", "8")], asked, false)), ["/a 8", "/a 9"]);
  assert.deepEqual(texts(joined([], asked, false)), ["/a 8", "/a 9"]);
});

test("what came meanwhile and is among those that were asked for is not there twice", () => {
  const came = [line("/a", "3"), line("/a", "4"), { lost: 2, path: "", at: null, text: "" }, line("/b", "1")];
  const asked = [line("/a", "2"), line("/a", "3")];
  assert.deepEqual(texts(later(came, asked, true)), ["/a 4", "2 lost", "/b 1"]);
  assert.deepEqual(texts(later(came, asked, false)), ["/a 4", "2 lost", "/b 1"]);
  // Of a flood, the stream is behind the answer.
  assert.deepEqual(texts(later([line("/a", "1")], asked, false)), []);
});

test("a clock that is set back changes no order, and hides no line", () => {
  const asked = [line("/a", "50"), line("/b", "51"), line("/a", "10"), line("/a", "11")];
  assert.deepEqual(texts(later([line("/a", "11"), line("/a", "12")], asked, false)), ["/a 12"]);
  assert.deepEqual(texts(later([line("/a", "12")], asked, true)), ["/a 12"]);
  assert.deepEqual(texts(joined([], asked, true)), ["/a 50", "/a 10", "/a 11", "/b 51"]);
  const before = [line("/a", "49"), line("/a", "50")];
  assert.deepEqual(texts(joined(before, [line("/a", "50"), line("/a", "10")], true)), ["/a 49", "/a 50", "/a 10"]);
  assert.deepEqual(texts(joined(before, [line("/a", "10")], true)), ["/a 49", "/a 50", "/a 10"]);
});
