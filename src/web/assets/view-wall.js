// The wall: one tile a subtree, to be read from across a room. There is nothing to press.

import { h, say } from "./dom.js";
import { incidents } from "./incident.js";
import { trouble } from "./tree.js";
import { clock, look, sentence, span } from "./words.js";
import { boxes } from "./view-tree.js";

/** Silence after which what is shown may not be true any more, in milliseconds. */
const OLD = 20_000;

/** An incident is shown on its tile for so long. */
const TOLD = 3_600_000;

/** How a subtree is, in one word. @param {Row[]} rows of it @returns {"well" | "passing" | "bad"} */
export function condition(rows, now) {
  let worst = /** @type {"well" | "passing" | "bad"} */ ("well");
  for (const row of rows) {
    if (trouble(row, now) === null) continue;
    if (!["starting", "stopping", "waiting"].includes(row.state) && !row.ill) return "bad";
    worst = "passing";
  }
  return worst;
}

export class WallView {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.title = "Wall";
    this.name = h("h1");
    this.clock = h("span.clock");
    this.seen = h("span.seen");
    this.tiles = h("div.tiles");
    /** @type {Map<string, { element: HTMLElement, parts: HTMLElement[] }>} */
    this.drawn = new Map();
    this.order = "";
    this.told = { key: "", at: 0, last: /** @type {Map<string, string>} */ (new Map()) };
    this.element = h("section.wall", { "aria-label": "Wall" }, h("div.line", this.name, this.clock, this.seen), this.tiles);
    document.documentElement.classList.add("walled");
  }

  draw() {
    const { console } = this.page;
    const now = console.now();
    const top = console.tree.rows.filter((row) => row.level === 2);
    console.show({ paths: top.filter((row) => row.kind === "supervisor").map((row) => row.path) });
    say(this.name, console.instance);
    say(this.clock, clock(now));
    const age = Date.now() - console.heard;
    say(this.seen, console.root === "here" ? `seen ${span(Math.floor(age / 1000) * 1000)} ago` : `the root is ${console.root}`);
    this.seen.classList.toggle("old", age > OLD || console.root !== "here");
    const order = top.map((row) => row.path).join();
    if (order !== this.order) {
      this.order = order;
      this.drawn = new Map(top.map((row) => [row.path, this.tile(row)]));
      this.tiles.replaceChildren(...[...this.drawn.values()].map(({ element }) => element));
      this.tiles.dataset.many = top.length > 12 ? "many" : top.length > 6 ? "some" : "few";
    }
    this.happened(now);
    for (const row of top) this.paint(row, now);
  }

  happened(now) {
    const { events } = this.page.console;
    const key = `${events.at(-1)?.id} ${Math.floor(now / 10_000)}`;
    if (key === this.told.key || now - this.told.at < 1000) return;
    const last = new Map();
    for (const one of incidents(events)) {
      const age = now - Date.parse(one.at);
      if (age < TOLD) last.set(one.lane, `${span(age)} ago: ${one.worst.path === one.lane ? "" : `${one.worst.path.slice(one.lane.length + 1)} `}${sentence(one.worst)}`);
    }
    this.told = { key, last, at: now };
  }

  /** @param {Row} row */
  tile(row) {
    const parts = ["name", "count", "word", "boxes", "last"].map((name) => h("div", { class: name }));
    say(parts[0], row.name);
    return { element: h("article.tile", ...parts), parts };
  }

  /** @param {Row} row */
  paint(row, now) {
    const drawn = this.drawn.get(row.path);
    if (!drawn) return;
    const rows = this.page.console.tree.below(row);
    const workers = rows.filter((one) => one.kind === "worker");
    const up = workers.filter((one) => one.state === "running").length;
    const is = condition(rows, now);
    const [, count, word, window, last] = drawn.parts;
    drawn.element.className = `tile ${is}`;
    say(count, workers.length === 1 && row.kind === "worker" ? look(row).shape : `${up}/${workers.length}`);
    say(word, this.words(row, rows, is, now));
    say(window, boxes(row));
    window.title = "restarts in its window";
    say(last, this.told.last.get(row.path) ?? "");
  }

  /** @param {Row} row @param {Row[]} rows */
  words(row, rows, is, now) {
    if (is === "well") return "all well";
    const wrong = rows.filter((one) => trouble(one, now) !== null);
    const [one] = wrong;
    return wrong.length === 1 ? `${one === row ? "" : `${one.name} `}${trouble(one, now)}` : `${wrong.length} not well`;
  }

  close() {
    document.documentElement.classList.remove("walled");
  }
}
