// What the page has, and where it comes from: the tree, the events of the last hours, and the stream that changes both.

import { Past } from "./incident.js";
import { Refused, get, oneByOne, post, remember, whenWaiting } from "./server.js";
import { Stream } from "./stream.js";
import { Tree, announcement } from "./tree.js";

const HOUR = 3_600_000;

/** Events that are remembered. */
const EVENTS = 5000;

/** Numbers come once a second; what is older than this, in milliseconds, is not shown. */
const LATELY = 5000;

/** What has failed is tried again after so long, in milliseconds. */
const AGAIN = 3000;

/** What a 503 gives as its reason where the instance does not run; others are of a root, or a console, that does not answer now. */
const GONE = "the instance does not run";

/** Rows whose numbers are asked for, at most; those of them that only have a late beat. */
const ROWS = 200;
const ILL = 100;

export class Console {
  constructor() {
    this.tree = new Tree();
    this.recent = new Past(EVENTS);
    /** When supervisors gave up in the last hour, by the ids of the events, which may be forgotten by then. @type {Map<string, number>} */
    this.gaveUp = new Map();
    this.instance = "";
    this.version = "";
    /** The run that the root is of, as far as it is known; the tree may be of the one before. @type {string | null} */
    this.run = null;
    /** The path of this console, where it is a worker of the tree. @type {string | null} */
    this.self = null;
    /** @type {"view" | "act" | null} */
    this.may = null;
    /** @type {"here" | "silent" | "gone"} */
    this.root = "here";
    /** @type {"live" | "waiting" | "crowded" | "closed"} */
    this.connection = "waiting";
    /** What was missed while the page was away. */
    this.missed = "";
    /** How far the server's clock is ahead of the browser's, in milliseconds. */
    this.ahead = 0;
    /** When the root is known to have answered last, by the browser's clock. */
    this.heard = Date.now();
    /** @type {Pick<View, "draw" | "lines" | "reading" | "came"> | null} */
    this.watcher = null;
    /** @type {(text: string) => void} */
    this.announce = () => {};
    /** @type {() => void} the session is over */
    this.expired = () => {};
    /** Actions of this page that are under way. @type {Map<string, (report: any) => void>} */
    this.actions = new Map();
    /** How many have been asked for and have no number yet, and what has been reported meanwhile: it may be of them. */
    this.unnumbered = 0;
    /** @type {any[]} */
    this.early = [];
    /** @type {TreeEvent[]} */
    this.burst = [];
    this.shown = {};
    /** What the server knows of it. */
    this.reported = "";
    /** Reports it to the server. One request at a time: an earlier one must not arrive last. */
    this.tell = oneByOne(() => this.report());
    /** @type {string | null} */
    this.name = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.telling = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.speaking = undefined;
    this.drawing = false;
    /** Why the tree that is shown may be old: it was to be fetched, and could not be. */
    this.stale = "";
    /** Whether the events of the last hour were to be read, and could not be. */
    this.unread = false;
    /** When that was tried again last. */
    this.tried = 0;
    /** When the tree was asked for last. */
    this.asked = 0;
    /** What the stream has brought since then. @type {{ rows: { changes: Sent[], at: number }[], root: "here" | "silent" | "gone" | null } | null} */
    this.meanwhile = null;
    /** Loads the tree. */
    this.fetch = oneByOne(() => this.load());
    this.stream = new Stream({
      on: (kind, data) => this.take(kind, data),
      state: (state) => {
        this.connection = state;
        this.changed();
      },
      check: () => this.check(),
    });
    whenWaiting(() => this.stream.giveBack());
    setInterval(() => this.tick(), 1000);
  }

  /** Each second: ages have become others, and what could not be loaded is asked for again. */
  tick() {
    if (this.connection === "live") this.catchUp();
    this.changed();
  }

  /** Loads what could not be loaded before. */
  catchUp() {
    if (Date.now() - this.tried < AGAIN) return;
    this.tried = Date.now();
    if (this.unread) this.past();
    if (this.stale) this.fetch().catch(() => {});
  }

  /** The server's clock, in milliseconds. */
  now() {
    return Date.now() + this.ahead;
  }

  /** How long a row has been silent by now, in milliseconds; null where that was not reported lately. @param {Row} row */
  silence(row) {
    const past = this.now() - (row.seen ?? 0);
    return row.beat_age_ms == null || past > LATELY ? null : row.beat_age_ms + Math.max(0, past);
  }

  /** Opens a session, or finds out what the present one may do. */
  async enter(key) {
    const answer = await post("login", key ? { key } : {});
    remember(answer);
    this.may = answer.may;
  }

  /** Loads all there is and goes on with the stream. */
  async begin() {
    await this.fetch();
    this.stream.open(this.stream.next);
    await this.past();
  }

  /** Loads the events of the last hour. */
  async past() {
    const since = new Date(this.now() - HOUR).toISOString();
    this.unread = false;
    try {
      const events = await get(`api/events?since=${since}&n=${EVENTS}`);
      this.remember(events, true);
      // There are more.
      if (events.length >= EVENTS) this.alarm(await get(`api/events?since=${since}&kind=gave_up&n=${EVENTS}`));
    } catch {
      this.unread = true;
    }
    this.changed();
  }

  async load() {
    /** @type {NonNullable<Console["meanwhile"]>} */
    const meanwhile = { rows: [], root: null };
    this.meanwhile = meanwhile;
    this.asked = Date.now();
    try {
      const answer = await get("api/tree");
      this.adopt(answer, meanwhile);
      this.stale = "";
    } catch (error) {
      this.stale = /** @type {Error} */ (error).message || "no answer";
      if (!(error instanceof Refused)) throw error;
      if (error.status === 401) this.expired();
      else if (error.status !== 503) throw error;
      // Without a root the last picture stays.
      else if (error.message === GONE) this.root = meanwhile.root ?? "gone";
    } finally {
      this.meanwhile = null;
      this.changed();
    }
  }

  /** Takes over a tree. @param {any} answer @param {NonNullable<Console["meanwhile"]>} meanwhile */
  adopt(answer, meanwhile) {
    // The answer is of some moment between the two.
    this.ahead = Date.parse(answer.at) - (this.asked + Date.now()) / 2;
    const before = this.tree;
    this.tree = Tree.from(answer.rows, this.now());
    for (const row of this.tree.rows) {
      const old = before.byPath.get(row.path);
      if (!old || old.pid !== row.pid) continue;
      const { cpu, cpu_ms, measured } = old;
      if (cpu != null) Object.assign(row, { cpu, cpu_ms, measured });
      // One event reports a beat that is late, and numbers that it is late no more.
      if (old.ill && row.state === "running") Object.assign(row, { ill: true, beat_age_ms: old.beat_age_ms });
    }
    // The answer may be older than what came while it was under way, and the server sends that once. What is older than the answer
    // is followed by all that has changed since.
    for (const { changes, at } of meanwhile.rows) {
      if (this.tree.merge(changes, at + this.ahead)) this.fetch().catch(() => {});
    }
    Object.assign(this, { instance: answer.instance, version: answer.version, self: answer.self ?? null });
    this.tree.run = answer.run ?? null;
    this.run = answer.run ?? this.run;
    // Of one run the stream may be behind the tree: what it has not brought yet is wanted, should it break off.
    const same = this.run === this.stream.run;
    this.stream.next = same ? Math.min(this.stream.next, answer.next) : answer.next;
    this.stream.run = this.run ?? "";
    this.root = meanwhile.root ?? answer.root;
    this.heard = Date.now() - (answer.silent_ms ?? 0);
  }

  /** Whether there is still a session, and the server. */
  async check() {
    try {
      await this.enter(null);
      if (!this.tree.rows.length) await this.fetch();
      return true;
    } catch (error) {
      if (error instanceof Refused && error.status === 401) this.expired();
      return false;
    }
  }

  get events() {
    return this.recent.events;
  }

  /** Adds events to those that are known. @param {TreeEvent[]} events @param {boolean} [asked] @returns {TreeEvent[]} those that were not known */
  remember(events, asked) {
    const fresh = this.recent.add(events, asked);
    if (!fresh.length) return fresh;
    // With those around them, by which they find their places.
    this.watcher?.came?.(events, asked);
    this.alarm(fresh);
    return fresh;
  }

  /** @param {TreeEvent[]} events */
  alarm(events) {
    for (const event of events) if (event.kind === "gave_up") this.gaveUp.set(event.id, Date.parse(event.at));
    for (const [id, at] of this.gaveUp) if (this.now() - at >= HOUR) this.gaveUp.delete(id);
  }

  /** How many supervisors gave up in the last hour. */
  alarms() {
    this.alarm([]);
    return this.gaveUp.size;
  }

  take(kind, data) {
    const at = Date.now();
    switch (kind) {
      case "tick": {
        const ahead = Date.parse(data.at) - at;
        // More than a message can be late: a clock was set.
        if (Math.abs(ahead - this.ahead) > 5000) this.ahead = ahead;
        break;
      }
      case "hello":
        this.name = data.stream;
        if (data.may) this.may = data.may;
        this.endActions();
        this.tried = 0;
        // A console that has begun anew knows no run while the root is down.
        if (this.run !== null && data.run && data.run !== this.run) this.anew(data.run);
        else this.catchUp();
        this.tell();
        break;
      case "events":
        // The answer with those of the last hour may have had some of them.
        for (const event of data) this.tree.notice(event);
        this.burst.push(...this.remember(data));
        this.speak();
        break;
      case "rows":
      case "numbers":
        if (kind === "rows") this.meanwhile?.rows.push({ changes: data, at });
        if (this.tree.merge(data, this.now())) this.fetch().catch(() => {});
        break;
      case "lost":
        this.miss(data?.count ?? 0);
        break;
      case "logs":
        this.watcher?.lines?.(data);
        break;
      case "reading":
        this.watcher?.reading?.();
        break;
      case "action": {
        const waiting = this.actions.get(key(data));
        if (waiting) waiting(data);
        else if (this.unnumbered > 0) this.early.push(data);
        break;
      }
      case "root": {
        const { is, run } = typeof data === "string" ? { is: data, run: null } : data;
        this.root = is;
        if (this.meanwhile) this.meanwhile.root = is;
        if (is === "here" && run != null && run !== this.run) this.anew(run);
        else if (is === "here" && (this.stale || !this.tree.rows.length)) this.fetch().catch(() => {});
        break;
      }
    }
    // The server asks the root every few seconds, also of a quiet tree. What comes while the root does not answer is the server's own,
    // and so is its greeting, before the state of the root.
    if (this.root === "here" && kind !== "hello") this.heard = at;
    this.changed();
  }

  /** The tree has begun anew. */
  anew(run) {
    this.run = run;
    this.miss(0, true);
  }

  /** Some events are missing: the tree is fetched, and they, and one line shows what has happened, if anything has. */
  miss(count, anew = false) {
    this.past();
    const before = new Map(this.tree.rows.map((row) => [row.path, row.incarnation]));
    this.fetch().then(() => {
      const restarted = this.tree.rows.filter((row) => before.has(row.path) && before.get(row.path) !== row.incarnation).length;
      const others = this.tree.rows.length !== before.size || this.tree.rows.some((row) => !before.has(row.path));
      const what = [
        count && `${count.toLocaleString("en")} events were missed`,
        anew ? "the tree has begun anew" : others && "the tree has got other children",
        restarted && `${restarted} ${restarted === 1 ? "child is" : "children are"} of another incarnation`,
      ].filter(Boolean);
      if (what.length) this.missed = `Meanwhile ${what.join("; ")}.`;
      this.changed();
    }, () => {});
  }

  /** What the view shows from now on. @param {Shown} shown */
  show({ paths = [], select = null, logs = null }) {
    // One event reports that a beat is late, and nothing but its numbers that it is late no more.
    const late = this.tree.rows.filter((row) => row.ill).slice(0, ILL).map((row) => row.path);
    const all = [...new Set([...paths.slice(0, ROWS - late.length), ...late])];
    this.shown = { paths: all, select, logs };
    if (this.reportOf() !== this.reported) this.telling ??= setTimeout(() => this.tell(), 200);
  }

  /** What is to be reported to the server. */
  reportOf() {
    return JSON.stringify({ stream: this.name, ...this.shown });
  }

  async report() {
    clearTimeout(this.telling);
    this.telling = undefined;
    const report = this.reportOf();
    if (this.name === null || report === this.reported) return;
    try {
      await post("api/view", JSON.parse(report));
    } catch (error) {
      // Without this report the server sends nothing of these rows. A stream that is not open, or not allowed, will not be: the next
      // one begins with a report.
      if (!(error instanceof Refused && [401, 404].includes(error.status))) {
        this.telling ??= setTimeout(() => this.tell(), AGAIN);
        return;
      }
    }
    this.reported = report;
  }

  /** The row of a path, for an action on the tree of a run; without one, the reason. The dialog of an action may be open while the
   * tree is fetched anew. @param {string} path @param {string | null} run @returns {{ row?: Row, why: string }} */
  present(path, run) {
    if (run !== this.run) return { why: "The tree has begun anew." };
    const row = this.tree.byPath.get(path);
    return row ? { row, why: "" } : { why: `There is no ${path} any more.` };
  }

  /** Has something done; what becomes of it is reported as it happens. @param {{ verb: string, path: string, hold?: boolean, incarnation?: number,
   * run?: string }} what @param {(report: any) => void} tell */
  async act(what, tell) {
    const { name } = this;
    this.unnumbered += 1;
    try {
      const { action } = await post("api/act", what);
      const known = key({ ...what, action });
      this.actions.set(known, (report) => {
        if (report.is !== "accepted") this.actions.delete(known);
        tell(report);
      });
      for (const report of this.early.filter((one) => key(one) === known)) this.actions.get(known)?.(report);
      // Another stream has begun meanwhile: what was reported before is not repeated.
      if (name !== this.name && this.actions.delete(known)) tell({ is: "unknown" });
    } finally {
      this.unnumbered -= 1;
      if (!this.unnumbered) this.early = [];
    }
  }

  /** A stream has begun: what was reported before is not repeated, and the console may be another process, with numbers of its own. */
  endActions() {
    const waiting = [...this.actions.values()];
    this.early = [];
    this.actions.clear();
    for (const tell of waiting) tell({ is: "unknown" });
  }

  /** Something has changed: the view is drawn with the next frame, whatever else changes until then. */
  changed() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.watcher?.draw();
    });
  }

  /** One sentence for a burst, as soon as it has begun a little while ago. */
  speak() {
    this.speaking ??= setTimeout(() => {
      const text = announcement(this.burst);
      this.burst = [];
      this.speaking = undefined;
      if (text) this.announce(text);
    }, 1000);
  }
}

/** Which action a report is of: numbers alone are those of one console process. */
function key({ action, verb, path }) {
  return `${action} ${verb} ${path}`;
}
