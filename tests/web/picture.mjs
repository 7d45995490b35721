// A picture of an incident as text, for the goldens: a character is six units wide.

import { readFileSync, writeFileSync } from "node:fs";
import { incident, layout } from "../../src/web/assets/incident.js";

const SIGNS = { up: "=", ill: "~", stopping: "/", down: " ", starting: "." };

/** Events from a file of `events --json`. */
export function events(name) {
  const text = readFileSync(new URL(`data/${name}.jsonl`, import.meta.url), "utf8");
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

/** Lanes, ticks and arrows of an incident. */
export function picture(all, id, order) {
  const { lanes, more, arrows, ticks, width } = layout(incident(all, id), order);
  const at = (x) => Math.round(x / 6);
  const lines = lanes.map(({ path, count, spans, marks }) => {
    const line = new Array(at(width)).fill(" ");
    for (const { from, to, is } of spans) line.fill(SIGNS[is], at(from), at(to));
    for (const { x } of marks) line[at(x)] = "X";
    return `${`${path}${count > 1 ? ` x${count}` : ""}`.padEnd(20)}${line.join("")}`;
  });
  if (more) lines.push(`and ${more} more`);
  const start = Date.parse(ticks[0].at);
  lines.push("", ...ticks.map(({ x, at: time }) => `${String(at(x)).padStart(4)}  +${Date.parse(time) - start} ms`), "");
  lines.push(...arrows.map(({ from, to }) => `${lanes[from.lane].path} ${at(from.x)} -> ${lanes[to.lane].path} ${at(to.x)}`));
  return `${lines.join("\n")}\n`;
}

/** Holds a text against a file; UPDATE_GOLDENS=1 writes it anew. */
export function golden(assert, name, text) {
  const file = new URL(`data/${name}.txt`, import.meta.url);
  if (process.env.UPDATE_GOLDENS) writeFileSync(file, text);
  assert.equal(text, readFileSync(file, "utf8"));
}
