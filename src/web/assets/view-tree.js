// The tree: a treegrid of which only the rows that are seen are drawn.

import { button, choice, h, say, set, shape } from "./dom.js";
import { reveal, seen } from "./rows.js";
import { parse } from "./search.js";
import { trouble } from "./tree.js";
import { bytes, clock, ending, look, plural, span, utc } from "./words.js";

/** Title, by what it is sorted (if it can be), class. @type {[string, string | null, string][]} */
const COLUMNS = [
  ["State", "state", "state"],
  ["Name", "name", "name"],
  ["Inc.", "incarnation", "number"],
  ["Up", "up", "number"],
  ["Restarts", "restarts", "number"],
  ["Beat", "beat", "beat"],
  ["CPU %", "cpu", "number"],
  ["Memory", "memory", "number"],
  ["Last exit", null, "exit"],
  ["Window", null, "window"],
  ["Note", null, "note"],
];

/** Below this width a row has its state, its name and one line of trouble. */
const NARROW = matchMedia("(max-width: 62rem)");

/** How a window is drawn: boxes, of which those for restarts are filled. @param {Row} row */
export function boxes(row) {
  if (row.window == null) return "";
  if (row.window_max == null) return `${row.window}`;
  if (row.window_max > 8) return `${row.window}/${row.window_max}`;
  return "■".repeat(Math.min(row.window, row.window_max)) + "□".repeat(Math.max(0, row.window_max - row.window));
}

/** A drawn row: its element, and what of it changes. */
class Line {
  /** @param {TreeView} view */
  constructor(view) {
    this.index = -1;
    this.shape = shape({ shape: "" });
    this.word = new Text();
    this.twist = h("span.twist", { "aria-hidden": "true" });
    this.link = h("a", { tabindex: -1 });
    this.fill = h("i");
    this.beat = new Text();
    this.bar = h("span.bar", { "aria-hidden": "true" }, this.fill);
    const cells = COLUMNS.map(([, , name]) => h("div", { role: "gridcell", class: name }));
    cells[0].append(this.shape, this.word);
    cells[1].append(this.twist, this.link);
    cells[5].append(this.bar, this.beat);
    this.cells = cells;
    this.more = button("⋯", () => view.page.actions(view.list[this.index].path), { tabindex: -1, class: "more" });
    cells[10].append(h("span"), this.more);
    this.element = h("div.row", { role: "row" }, ...cells);
    this.element.addEventListener("click", (event) => view.clicked(this, event));
  }

  /** @param {Row} row @param {TreeView} view */
  show(index, row, view) {
    const { page, folded } = view;
    const { now } = view.drawn;
    const is = look(row);
    const { element, cells } = this;
    this.index = index;
    element.id = `row-${index}`;
    element.style.transform = `translateY(${index * view.height}px)`;
    const wrong = trouble(row, now);
    const narrow = NARROW.matches;
    const group = row.children.length > 0;
    const open = group && !(folded.has(row.path) && !view.filtered());
    set(element, "class", `row ${is.name}${index === view.active ? " active" : ""}`);
    set(element, "aria-level", row.level);
    set(element, "aria-rowindex", index + 2);
    set(element, "aria-expanded", group ? open : null);
    set(element, "aria-selected", index === view.active);
    say(this.shape, is.shape);
    say(this.word, is.word);
    say(this.twist, group ? (open ? "▾" : "▸") : "");
    cells[1].style.setProperty("--level", String(row.level - 1));
    say(this.link, row.path === "/" ? page.console.instance : row.name);
    set(this.link, "href", `#/p${row.path}`);
    say(cells[2], String(row.incarnation ?? ""));
    const up = row.started_at ? span(now - Date.parse(row.started_at)) : "";
    say(cells[3], up);
    set(cells[3], "title", up && row.started_at ? `since ${clock(row.started_at)}, ${utc(row.started_at)}` : null);
    say(cells[4], String(row.restarts ?? ""));
    this.pulse(row, page.console.silence(row));
    say(cells[6], row.cpu == null ? "" : row.cpu.toFixed(1));
    say(cells[7], row.memory_bytes == null ? "" : bytes(row.memory_bytes));
    say(cells[8], row.last_exit ? ending(row.last_exit) : "");
    set(cells[8], "title", row.last_exit ? `${clock(row.last_exit.at)}, ${utc(row.last_exit.at)}` : null);
    say(cells[9], boxes(row));
    set(cells[9], "title", row.window == null ? null : `${row.window} of ${row.window_max ?? "any number of"} restarts in ${span(row.window_ms ?? 0)}`);
    say(/** @type {Element} */ (cells[10].firstChild), narrow ? (wrong ?? "") : note(row, wrong, page.console.self));
    set(this.more, "aria-label", `Actions for ${row.path}`);
    this.more.hidden = !page.mayAct();
  }

  /** @param {Row} row */
  pulse(row, age) {
    const { beat_limit_ms: limit } = row;
    this.bar.hidden = !limit || age === null;
    say(this.beat, limit && age !== null ? `${span(age)}/${span(limit)}` : "");
    if (!limit || age === null) return;
    const part = Math.min(1, age / limit);
    this.fill.style.width = `${Math.round(part * 100)}%`;
    set(this.bar, "class", part > 0.66 ? "bar bad" : "bar");
  }
}

/** @param {Row} row */
function note(row, wrong, self) {
  const notes = [];
  if (row.path === self) notes.push("this page");
  if (wrong && !["starting", "stopping", "held", "stopped"].includes(row.state)) notes.push(wrong);
  if (row.held_by) notes.push(`by ${row.held_by}`);
  if (row.status_text) notes.push(row.status_text);
  if (row.strategy) notes.push(row.strategy);
  else if (row.restart && row.restart !== "permanent") notes.push(row.restart);
  if (row.host) notes.push(`on ${row.host}`);
  if (row.done) notes.push("done");
  if (row.behind) notes.push("old spec");
  for (const other of row.beside ?? []) notes.push(`its ${other.beside} is ${other.state}`);
  return notes.join("; ");
}

export class TreeView {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.title = "Tree";
    /** Whose folds these are; not known before there is a tree. */
    this.instance = "";
    /** @type {Set<string>} */
    this.folded = new Set();
    /** @type {{ by: string, down: boolean } | null} */
    this.sort = null;
    this.onlyTrouble = false;
    this.query = parse("");
    /** @type {Row[]} */
    this.list = [];
    this.active = 0;
    this.top = 0;
    this.height = 0;
    /** What the list was made of. */
    this.drawn = { now: 0, made: 0, tree: /** @type {any} */ (null), key: "" };
    /** @type {Line[]} */
    this.pool = [];
    this.field = h("input", {
      type: "search", id: "search", spellcheck: "false", autocomplete: "off", placeholder: "path, state:held, restarts:>3",
      on: { input: () => this.search(this.field.value), keydown: (event) => this.leave(event) },
    });
    this.error = h("span.error", { id: "search-error", role: "status" });
    this.toggle = button("Only trouble", () => this.troubles(), { "aria-pressed": "false", title: "!" });
    this.count = h("span.count");
    const foldAll = button("Fold all", () => this.foldAll());
    const bar = h("div.tools", h("label", { for: "search" }, "Search"), this.field, this.toggle, foldAll, this.count, this.error);
    this.titles = COLUMNS.map(([title, by, name]) => {
      const label = by ? button(title, () => this.sortBy(by)) : title;
      return h("div", { role: "columnheader", class: name }, label);
    });
    const header = h("div", { role: "row", class: "row titles", "aria-rowindex": 1 }, ...this.titles);
    this.body = h("div.rows", { role: "rowgroup" });
    this.grid = h(
      "div",
      {
        role: "treegrid", class: "grid", tabindex: 0, "aria-label": "The tree", "aria-colcount": COLUMNS.length,
        on: { keydown: (event) => this.pressed(event) },
      },
      h("div.head", { role: "rowgroup" }, header),
      this.body,
    );
    this.element = h("section.tree", { "aria-label": "Tree" }, bar, this.grid);
    this.scrolled = () => this.page.console.changed();
  }

  open() {
    addEventListener("scroll", this.scrolled, { passive: true });
    addEventListener("resize", this.scrolled);
  }

  filtered() {
    return this.query.test !== null || this.onlyTrouble;
  }

  search(text) {
    this.query = parse(text);
    this.field.value = text;
    say(this.error, this.query.error ?? "");
    this.remake();
  }

  leave(event) {
    if (event.key === "Escape" && this.field.value) {
      this.search("");
      event.stopPropagation();
    } else if ((event.key === "Enter" && !event.defaultPrevented) || event.key === "ArrowDown") {
      this.grid.focus();
      event.preventDefault();
    }
  }

  troubles() {
    this.onlyTrouble = !this.onlyTrouble;
    this.toggle.setAttribute("aria-pressed", String(this.onlyTrouble));
    this.remake();
  }

  sortBy(by) {
    const down = ["restarts", "beat", "cpu", "memory"].includes(by);
    if (this.sort?.by !== by) this.sort = { by, down };
    else this.sort = this.sort?.down === down ? { by, down: !down } : null;
    COLUMNS.forEach(([, name], at) => {
      const is = name && this.sort?.by === name ? (this.sort.down ? "descending" : "ascending") : null;
      set(this.titles[at], "aria-sort", is);
    });
    this.remake();
  }

  foldAll() {
    const groups = this.page.console.tree.rows.filter((row) => row.children.length && row.level > 1);
    const all = groups.every((row) => this.folded.has(row.path));
    this.folded = new Set(all ? [] : groups.map((row) => row.path));
    this.kept();
  }

  /** @param {Row} row */
  fold(row, folded) {
    if (folded) this.folded.add(row.path);
    else this.folded.delete(row.path);
    this.kept();
  }

  kept() {
    choice(`folded.${this.instance}`, JSON.stringify([...this.folded].slice(0, 1000)));
    this.remake();
  }

  remake() {
    this.drawn.tree = null;
    this.page.console.changed();
  }

  /** The list, anew where it may have become another: what is sorted or filtered by what changes, once a second at least. */
  make() {
    const { tree, instance } = this.page.console;
    const now = this.page.console.now();
    const moves = this.sort || this.filtered();
    if (this.drawn.tree === tree && !(moves && now - this.drawn.made > 250)) {
      this.drawn.now = now;
      return;
    }
    if (this.instance !== instance) {
      this.instance = instance;
      this.folded = new Set(JSON.parse(choice(`folded.${instance}`) ?? "[]"));
    }
    const path = this.list[this.active]?.path;
    this.list = tree.visible({ folded: this.folded, test: this.query.test, trouble: this.onlyTrouble, sort: this.sort, now });
    this.drawn = { now, made: now, tree, key: "" };
    const at = this.list.findIndex((row) => row.path === path);
    this.active = at >= 0 ? at : Math.max(0, Math.min(this.active, this.list.length - 1));
    set(this.grid, "aria-rowcount", this.list.length + 1);
    say(this.count, this.filtered() ? `${plural(this.list.length, "row")} of ${tree.rows.length.toLocaleString("en")}` : "");
  }

  draw() {
    this.make();
    this.top = scrollY;
    this.height = NARROW.matches ? 48 : 30;
    const top = this.body.getBoundingClientRect().top;
    const { from, to } = seen(-top, innerHeight, this.height, this.list.length);
    const height = `${this.list.length * this.height}px`;
    if (this.body.style.height !== height) this.body.style.height = height;
    while (this.pool.length < to - from) {
      const line = new Line(this);
      this.pool.push(line);
      this.body.append(line.element);
    }
    while (this.pool.length > to - from) this.pool.pop()?.element.remove();
    // A line keeps its row while that is seen, so that little changes when the list is scrolled.
    const count = this.pool.length;
    const lines = [];
    for (let index = from; index < to; index += 1) {
      const line = this.pool[index % count];
      line.show(index, this.list[index], this);
      lines.push(line.element);
    }
    // For a screen reader, which reads them as they stand in the document.
    if (lines.some((line, at) => line !== this.body.children[at])) this.body.append(...lines);
    set(this.grid, "aria-activedescendant", this.list.length && this.active >= from && this.active < to ? `row-${this.active}` : null);
    this.page.console.show({ paths: this.list.slice(from, to).map((row) => row.path) });
  }

  /** @param {Line} line */
  clicked(line, event) {
    const row = this.list[line.index];
    const target = /** @type {Element} */ (event.target);
    if (target.closest("button")) return;
    this.active = line.index;
    if (target === line.twist && row.children.length) this.fold(row, !this.folded.has(row.path));
    else if (NARROW.matches && target !== line.link) this.page.open(row.path);
    else if (target !== line.link) this.grid.focus({ preventScroll: true });
    this.page.console.changed();
  }

  go(index) {
    this.active = Math.max(0, Math.min(index, this.list.length - 1));
    const top = -this.body.getBoundingClientRect().top;
    const head = this.titles[0].getBoundingClientRect().height;
    const to = reveal(this.active, top, innerHeight, this.height, head);
    if (to !== top) scrollBy(0, to - top);
    this.page.console.changed();
  }

  /** As the authoring practice for a treegrid has it. */
  pressed(event) {
    if (event.target !== this.grid || event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const row = this.list[this.active];
    if (!row) return;
    const page = Math.max(1, Math.floor(innerHeight / this.height) - 2);
    const folded = this.folded.has(row.path) && !this.filtered();
    const moves = /** @type {Record<string, () => void>} */ ({
      ArrowDown: () => this.go(this.active + 1),
      ArrowUp: () => this.go(this.active - 1),
      PageDown: () => this.go(this.active + page),
      PageUp: () => this.go(this.active - page),
      Home: () => this.go(0),
      End: () => this.go(this.list.length - 1),
      ArrowRight: () => (row.children.length && folded ? this.fold(row, false) : row.children.length ? this.go(this.active + 1) : undefined),
      ArrowLeft: () => {
        if (row.children.length && !folded && row.level > 1) this.fold(row, true);
        else this.go(this.list.findLastIndex((one, at) => at < this.active && one.level < row.level));
      },
      Enter: () => this.page.open(row.path),
    });
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  }

  /** The row that keys are for. */
  subject() {
    return this.list[this.active]?.path ?? null;
  }

  focus() {
    this.grid.focus({ preventScroll: true });
  }

  close() {
    removeEventListener("scroll", this.scrolled);
    removeEventListener("resize", this.scrolled);
  }
}
