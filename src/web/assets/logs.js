// Output of workers: the last lines, and those that come.

import { button, h } from "./dom.js";
import { KEPT, joined, later } from "./lines.js";
import { address, get } from "./server.js";
import { clock, plural, utc } from "./words.js";

/** Lines that are drawn. */
const DRAWN = 400;

/** Lines that are asked for at first. */
const FIRST = 300;

const COLOURS = 8;

/** The colour of a path. */
function colour(path) {
  let hash = 7;
  for (const letter of path) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return hash % COLOURS;
}

export class LogPane {
  /** @param {Page} page @param {string} path of the subtree */
  constructor(page, path) {
    this.page = page;
    this.path = path;
    /** @type {LogLine[]} */
    this.kept = [];
    /** @type {LogLine[]} lines that came before the first answer did, or while it is paused */
    this.waiting = [];
    this.loaded = false;
    /** Requests for the last lines; the answer to the latest counts. */
    this.asked = 0;
    this.failed = "";
    this.paused = false;
    this.wanted = "";
    const id = `filter-${Math.random().toString(36).slice(2, 8)}`;
    this.field = h("input", {
      type: "search", id, spellcheck: "false", placeholder: "text or path",
      on: { input: () => this.filter() },
    });
    this.pausing = button("Pause", () => this.pause(), { "aria-pressed": "false" });
    const wrap = button("Wrap", () => {
      const on = this.list.classList.toggle("wrap");
      wrap.setAttribute("aria-pressed", String(on));
    }, { "aria-pressed": "true" });
    this.count = h("span.count");
    this.list = h("div.lines.wrap", { role: "log", "aria-live": "off", "aria-label": `Output of ${path}`, tabindex: 0 });
    const tools = h("div.tools", h("label", { for: id }, "Filter"), this.field, this.pausing, wrap, this.count);
    this.element = h("div.output", tools, this.list);
    this.load();
  }

  /** Loads the last lines: at first, and each time when it is sure that those to come will come. */
  async load() {
    this.asked += 1;
    const { asked } = this;
    this.loaded = false;
    try {
      const lines = await get(`api/logs/${address(this.path)}?lines=${FIRST}`);
      if (asked !== this.asked) return;
      const all = lines.length < FIRST;
      this.kept = joined(this.kept, lines, all);
      this.waiting = later(this.waiting, lines, all);
      this.failed = "";
    } catch (error) {
      if (asked !== this.asked) return;
      this.failed = /** @type {Error} */ (error).message;
    }
    this.loaded = true;
    if (!this.paused) this.redraw();
    this.flush();
  }

  /** @param {LogLine[]} lines that have come */
  add(lines) {
    const below = this.path === "/" ? "/" : `${this.path}/`;
    this.waiting.push(...lines.filter(({ path, lost }) => lost || path === this.path || path.startsWith(below)));
    if (this.waiting.length > KEPT) this.waiting.splice(0, this.waiting.length - KEPT);
    this.flush();
  }

  flush() {
    if (!this.loaded || this.paused) {
      if (this.paused) this.count.textContent = plural(this.waiting.length, "new line");
      return;
    }
    const fresh = this.waiting;
    this.waiting = [];
    if (!fresh.length) return;
    this.kept.push(...fresh);
    if (this.kept.length > KEPT) this.kept.splice(0, this.kept.length - KEPT);
    const atEnd = this.atEnd();
    this.list.querySelector("p")?.remove();
    this.list.append(...fresh.filter((line) => this.fits(line)).slice(-DRAWN).map((line) => this.drawn(line)));
    while (this.list.childElementCount > DRAWN) this.list.firstElementChild?.remove();
    if (atEnd) this.list.scrollTop = this.list.scrollHeight;
  }

  /** Whether the last line is in sight. */
  atEnd() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 24;
  }

  /** @param {LogLine} line */
  fits(line) {
    return !this.wanted || line.lost || line.gap || line.text.toLowerCase().includes(this.wanted) || line.path.toLowerCase().includes(this.wanted);
  }

  /** @param {LogLine} line */
  drawn(line) {
    if (line.gap) return h("div.line.error", "lines may be missing here");
    if (line.lost) return h("div.line.error", `${plural(line.lost, "line")} lost`);
    const time = line.at && !line.continued ? h("time", { title: utc(line.at) }, clock(line.at, true)) : null;
    const name = line.path === this.path || line.continued ? null : h("a", { class: `of c${colour(line.path)}`, href: `#/p${line.path}` }, line.path);
    // Its own direction, so that nothing in it turns round what stands beside it.
    return h("div", { class: `line${line.stream === "stderr" ? " stderr" : ""}` }, time, name, h("bdi", line.text));
  }

  redraw() {
    const fitting = this.kept.filter((line) => this.fits(line));
    const atEnd = this.atEnd();
    const { scrollTop } = this.list;
    this.list.replaceChildren(...fitting.slice(-DRAWN).map((line) => this.drawn(line)));
    if (!fitting.length && this.failed) this.list.append(h("p.error", this.failed));
    else if (!fitting.length) this.list.append(h("p.empty", this.wanted ? "No line of the last has it." : "Nothing has been printed."));
    // A reader further up goes on there.
    this.list.scrollTop = atEnd ? this.list.scrollHeight : scrollTop;
    this.count.textContent = this.wanted ? `${plural(fitting.length, "line")} of ${this.kept.length.toLocaleString("en")}` : "";
  }

  filter() {
    this.wanted = this.field.value.trim().toLowerCase();
    this.redraw();
  }

  pause() {
    this.paused = !this.paused;
    this.pausing.setAttribute("aria-pressed", String(this.paused));
    if (!this.paused) {
      this.redraw();
      this.flush();
    }
  }
}

/** The output of a subtree, and nothing else. */
export class LogsView {
  /** @param {Page} page */
  constructor(page, path) {
    this.page = page;
    this.path = path;
    this.title = `Output of ${path}`;
    this.pane = new LogPane(page, path);
    const of = path === "/" ? `everything in ${page.console.instance}` : path;
    const back = path === "/" ? null : h("a", { href: `#/p${path}` }, "What it is");
    this.element = h("section.logs", h("div.title", h("h2", `Output of ${of}`), back), this.pane.element);
  }

  draw() {
    this.page.console.show({ logs: this.path });
  }

  /** @param {LogLine[]} lines */
  lines(lines) {
    this.pane.add(lines);
  }

  reading() {
    this.pane.load();
  }

  subject() {
    return this.path;
  }

  focusSearch() {
    this.pane.field.focus();
  }
}
