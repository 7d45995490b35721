// One child: what it is, why it is so, what it prints, and what can be done.

import { button, h, replace, s, say, shape } from "./dom.js";
import { LogPane } from "./logs.js";
import { histogram, spark } from "./rows.js";
import { address, get, oneByOne } from "./server.js";
import { first } from "./incident.js";
import { trouble } from "./tree.js";
import { bytes, clock, ending, look, plural, sentence, span, utc } from "./words.js";
import { boxes } from "./view-tree.js";

/** What sparklines go back, and in how many steps. */
const PAST = 600_000;
const STEPS = 120;

/** Ends that are listed. */
const ENDS = 10;

/** Children that are listed. */
const CHILDREN = 60;

/** The time of a moment, with its date where it is not today, and with UTC in its tooltip. */
export function time(at) {
  const day = new Date(at).toDateString() === new Date().toDateString() ? "" : `${new Date(at).toLocaleDateString()} `;
  return h("time", { datetime: at, title: utc(at) }, day + clock(at));
}

/** What each verb is called on its button. */
const VERBS = /** @type {[string, string, boolean][]} */ ([
  ["start", "Start", false],
  ["restart", "Restart", false],
  ["stop", "Stop", false],
  ["reset", "Reset", false],
  ["panic", "Panic", false],
  ["panic", "Panic and hold", true],
]);

/** What can be done to a row as it is. @param {Row} row */
export function verbs(row) {
  const down = ["held", "stopped", "exited"].includes(row.state);
  return VERBS.filter(([verb, , hold]) => {
    if (row.level === 1) return verb === "reset" || (verb === "panic" && !hold);
    if (verb === "start") return down;
    if (verb === "reset") return row.kind === "supervisor" || row.state === "waiting" || (row.restarts ?? 0) > 0;
    return verb === "restart" ? !down : verb === "panic" || !down;
  });
}

export class ChildView {
  /** @param {Page} page */
  constructor(page, path) {
    this.page = page;
    this.path = path;
    this.title = path;
    /** @type {{ at: number, age: number | null }[]} */
    this.beats = [];
    this.sampled = 0;
    /** @type {TreeEvent[]} */
    this.past = [];
    this.made = { state: "", events: -1, kinds: "" };
    this.shape = shape({ shape: "" });
    this.word = h("span");
    this.since = h("span.since");
    this.wrong = h("p.wrong");
    this.state = h("p.state", this.shape, this.word, " ", this.since);
    this.buttons = h("div.buttons");
    this.facts = h("dl.facts");
    this.why = h("div.why", "…");
    this.pulse = h("figure");
    this.restarts = h("figure");
    this.ends = h("ol.ends");
    this.children = h("div");
    this.pane = new LogPane(page, path);
    const panel = (title, ...parts) => h("section.panel", h("h3", title), ...parts);
    this.below = panel("Children", this.children);
    this.element = h(
      "section",
      { class: "child" },
      h("div.title", this.crumbs(), this.state, this.wrong, this.buttons),
      h("div.panels",
        panel("What it is", this.facts),
        this.below,
        panel("Why it is so", this.why),
        panel("Last 10 minutes", this.pulse, this.restarts),
        panel("Its last ends", this.ends)),
      h("section.panel", h("h3", "Output ", h("a", { href: `#/l${path}`, class: "aside" }, "on a page of its own")), this.pane.element),
    );
    /** Asks why it is so, once at a time, and once more where it has changed meanwhile. */
    this.explain = oneByOne(() => this.explanation());
    this.load();
  }

  crumbs() {
    const parts = this.path.split("/").filter(Boolean);
    const links = parts.slice(0, -1).map((part, at) => h("a", { href: `#/p/${parts.slice(0, at + 1).join("/")}` }, part));
    const root = parts.length ? [h("a", { href: "#/p/" }, this.page.console.instance)] : [];
    const nodes = [...root, ...links].flatMap((link) => [link, h("span", { "aria-hidden": "true" }, " / ")]);
    return h("h2", ...nodes, parts.at(-1) ?? this.page.console.instance);
  }

  async load() {
    const exits = get(`api/events?path=${encodeURIComponent(this.path)}&kind=exited&n=${ENDS}`).catch(() => []);
    this.past = (await exits).filter((event) => event.path === this.path);
    this.made.events = -1;
    this.page.console.changed();
  }

  async explanation() {
    try {
      const why = await get(`api/why/${address(this.path)}`);
      const item = (step) =>
        h("li", time(step.event.at), " ", h("span", step.text), ...(step.times > 1 ? [` (${step.times} times)`] : []),
          ...(step.meaning ?? []).map((text) => h("p.meaning", text)));
      const chain = (why.chain ?? []).slice(-8).map(item);
      const stopped = why.rollout;
      const rollout = stopped
        ? h("div", h("h4", "Roll-out"), h("p", time(stopped.stopped.at), ` ${sentence(stopped.stopped)}`), h("ol", ...(stopped.failed ?? []).map(item)))
        : "";
      const hints = (why.hints ?? []).map((hint) => h("p.hint", hint));
      const cause = why.first_cause?.event?.id;
      replace(this.why,
        h("p.verdict", why.verdict ?? "Nothing has failed."),
        chain.length ? h("ol", ...chain) : "",
        rollout,
        ...hints,
        cause ? h("p", h("a", { href: `#/i/${cause}` }, "Show the incident")) : "",
      );
    } catch (error) {
      this.why.replaceChildren(h("p.empty", /** @type {Error} */ (error).message));
    }
  }

  row() {
    return this.page.console.tree.byPath.get(this.path);
  }

  draw() {
    const { console } = this.page;
    console.show({ paths: [this.path], select: this.path, logs: this.path });
    const row = this.row();
    if (!row) {
      if (console.tree.rows.length) {
        this.word.textContent = "There is no such child now.";
        this.buttons.replaceChildren();
      }
      return;
    }
    const now = console.now();
    const is = look(row);
    this.state.className = `state ${is.name}`;
    say(this.shape, is.shape);
    say(this.word, is.word);
    const since = row.started_at ?? (row.state === "held" ? row.held_since : row.last_exit?.at);
    say(this.since, since ? `for ${span(now - Date.parse(since))}, since ${clock(since)}` : "");
    this.since.title = since ? utc(since) : "";
    say(this.wrong, trouble(row, now) ?? "");
    this.wrong.hidden = !this.wrong.textContent;
    this.tell(row);
    const key = `${row.state} ${row.incarnation} ${this.page.mayAct()}`;
    if (key !== this.made.state) {
      this.made.state = key;
      const able = this.page.mayAct() ? verbs(row) : [];
      replace(this.buttons, ...able.map(([verb, label, hold]) =>
        button(label, () => this.page.actions(this.path, verb, hold), { class: verb === "panic" ? "danger" : "" })));
      this.explain();
      this.list(row);
    }
    if (row.kind === "supervisor") this.list(row);
    this.below.hidden = row.kind !== "supervisor";
    this.sample(row);
    if (this.made.events !== console.events.length) {
      this.made.events = console.events.length;
      this.exits();
    }
  }

  /** @param {Row} row */
  tell(row) {
    const age = this.page.console.silence(row);
    const beat = row.beat_limit_ms
      ? `${age === null ? "none yet" : `${span(age)} ago`}, limit ${span(row.beat_limit_ms)}${row.beats == null ? "" : `; ${row.beats.toLocaleString("en")} so far, ${row.missed ?? 0} missed`}`
      : null;
    /** @type {[string, string | null | undefined | false][]} */
    const facts = [
      ["Kind", row.kind + (row.restart ? `, ${row.restart}` : "") + (row.path === this.page.console.self ? "; this console" : "")],
      ["Process", row.pid == null ? "none" : String(row.pid)],
      ["Incarnation", row.incarnation == null ? null : `${row.incarnation}; restarted ${plural(row.restarts ?? 0, "time")}`],
      ["Strategy", row.strategy],
      ["Host", row.host],
      ["Window", row.window == null ? null : `${boxes(row)} ${row.window} of ${row.window_max ?? "any number of"} restarts in ${span(row.window_ms ?? 0)}`],
      ["Heartbeat", beat],
      ["CPU", row.cpu == null ? null : `${row.cpu.toFixed(1)} % of a core`],
      ["Memory", row.memory_bytes == null ? null : `${bytes(row.memory_bytes)}${row.processes ? `, ${plural(row.processes, "process", "processes")}` : ""}`],
      ["Last exit", row.last_exit ? `${ending(row.last_exit)}, ${clock(row.last_exit.at)}` : null],
      ["Held by", row.held_by],
      ["Status", row.status_text],
    ];
    const there = facts.filter(([, text]) => text);
    const kinds = there.map(([name]) => name).join();
    if (kinds !== this.made.kinds) {
      this.made.kinds = kinds;
      this.facts.replaceChildren(...there.flatMap(([name]) => [h("dt", name), h("dd")]));
    }
    const values = this.facts.querySelectorAll("dd");
    there.forEach(([, text], at) => say(values[at], text || ""));
  }

  /** @param {Row} row */
  list(row) {
    const { tree } = this.page.console;
    const rows = row.children.slice(0, CHILDREN).map((at) => tree.rows[at]);
    const key = rows.map((one) => one.path + look(one).word + (one.host ?? "")).join();
    if (this.children.dataset.key === key) return;
    this.children.dataset.key = key;
    const items = rows.map((one) => {
      const { word, name } = look(one);
      return h(`li.${name}`, shape(look(one)), h("a", { href: `#/p${one.path}` }, one.name), ` ${word}${one.host ? ` on ${one.host}` : ""}`);
    });
    const more = row.children.length - rows.length;
    replace(this.children, h("ul.children", ...items), more > 0 ? h("p", `and ${more.toLocaleString("en")} more`) : "");
  }

  /** Beats as they are seen, and the restarts that are known. @param {Row} row */
  sample(row) {
    const now = Date.now();
    if (now - this.sampled < 1000) return;
    this.sampled = now;
    this.beats.push({ at: now, age: row.state === "running" ? this.page.console.silence(row) : null });
    this.beats = this.beats.filter(({ at }) => at > now - PAST);
    /** @type {(number | null)[]} */
    const ages = new Array(STEPS).fill(null);
    for (const { at, age } of this.beats) {
      const slot = Math.min(STEPS - 1, Math.floor(((at - now + PAST) / PAST) * STEPS));
      if (age !== null) ages[slot] = Math.max(ages[slot] ?? 0, age);
    }
    const limit = row.beat_limit_ms ?? 0;
    this.pulse.hidden = !limit;
    const worst = Math.max(0, ...ages.map((age) => age ?? 0));
    const lines = spark(ages, 240, 36, limit).map((points) => s("polyline.pulse", { points }));
    draw(this.pulse, `Silence between beats: ${span(worst)} at most, limit ${span(limit)}`, [s("line.limit", { x1: 0, x2: 240, y1: 0.5, y2: 0.5 }), ...lines]);
    const until = this.page.console.now();
    const times = this.page.console.events
      .filter((event) => event.path === this.path && event.kind === "starting" && (event.incarnation ?? 1) > 1)
      .map((event) => Date.parse(event.at));
    const counts = histogram(times, until - PAST, until, 60);
    const most = Math.max(1, ...counts);
    const bars = counts.map((count, at) => count && s("rect.restart", { x: at * 4, width: 3, y: 36 - (count / most) * 36, height: (count / most) * 36 }));
    draw(this.restarts, `Restarts: ${counts.reduce((sum, count) => sum + count, 0)}`, bars.map((bar) => bar || null));
  }

  exits() {
    const ends = [...this.past, ...this.page.console.events.filter((event) => event.path === this.path && event.kind === "exited")];
    const once = [...new Map(ends.map((event) => [event.id, event])).values()].sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, ENDS);
    const key = once.map((event) => event.id).join();
    if (once.length && this.ends.dataset.key === key) return;
    this.ends.dataset.key = key;
    replace(this.ends, ...once.map((event) => h("li", time(event.at), " ", sentence(event), event.uptime_ms == null ? "" : `, after ${span(event.uptime_ms)}`,
      " ", h("a", { href: `#/i/${first(this.page.console.events, event.id)}`, "aria-label": `the incident of ${clock(event.at)}` }, "incident"))));
    if (!once.length) this.ends.append(h("li.empty", "None is known."));
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

/** @param {(Node | null)[]} parts */
function draw(figure, words, parts) {
  figure.replaceChildren(
    h("figcaption", words),
    s("svg", { viewBox: "0 0 240 36", class: "spark", preserveAspectRatio: "none", role: "img", "aria-label": words }, ...parts),
  );
}
