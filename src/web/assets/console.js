// What the page has, and where it comes from: the tree, the events of the last hours, and the stream that changes both.

import { Refused, get, post, remember } from "./server.js";
import { Stream } from "./stream.js";
import { Tree, announcement } from "./tree.js";

/** Events that are remembered. */
const EVENTS = 5000;

/** Numbers come once a second; what is older than this, in milliseconds, is not shown. */
const LATELY = 5000;

/** Rows whose numbers are asked for, at most. */
const ROWS = 200;

export class Console {
  constructor() {
    this.tree = new Tree();
    /** @type {TreeEvent[]} */
    this.events = [];
    /** Their ids. @type {Set<string>} */
    this.known = new Set();
    this.instance = "";
    this.version = "";
    /** @type {string | null} */
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
    /** When something was received last, by the browser's clock. */
    this.heard = Date.now();
    /** @type {Pick<View, "draw" | "lines" | "reading"> | null} */
    this.watcher = null;
    /** @type {(text: string) => void} */
    this.announce = () => {};
    /** @type {() => void} the session is over */
    this.expired = () => {};
    /** @type {Map<string, (action: any) => void>} */
    this.actions = new Map();
    /** @type {any[]} what was reported of an action before its number was known here */
    this.early = [];
    /** @type {TreeEvent[]} */
    this.burst = [];
    this.shown = {};
    /** @type {string | null} */
    this.name = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.telling = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.speaking = undefined;
    this.drawing = false;
    this.fetching = false;
    this.again = false;
    this.stream = new Stream({
      on: (kind, data) => this.take(kind, data),
      state: (state) => {
        this.connection = state;
        this.changed();
      },
      check: () => this.check(),
    });
    setInterval(() => this.changed(), 1000);
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
    const since = new Date(this.now() - 3_600_000).toISOString();
    const events = await get(`api/events?since=${since}&n=${EVENTS}`).catch(() => []);
    this.remember(events);
    this.changed();
  }

  /** Loads the tree; one request at a time. */
  async fetch() {
    if (this.fetching) {
      this.again = true;
      return;
    }
    this.fetching = true;
    try {
      const sent = Date.now();
      const answer = await get("api/tree");
      // The answer is of some moment between the two.
      this.ahead = Date.parse(answer.at) - (sent + Date.now()) / 2;
      const before = this.tree;
      this.tree = Tree.from(answer.rows, this.now());
      for (const row of this.tree.rows) {
        const { cpu, cpu_ms, measured, pid } = before.byPath.get(row.path) ?? {};
        if (pid === row.pid && cpu != null) Object.assign(row, { cpu, cpu_ms, measured });
      }
      Object.assign(this, { instance: answer.instance, version: answer.version, self: answer.self ?? null });
      this.run = answer.run ?? this.run;
      this.stream.run = this.run ?? "";
      this.root = answer.root;
      this.stream.next = answer.next;
      this.heard = Date.now() - (answer.silent_ms ?? 0);
      this.changed();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status === 401) this.expired();
      // Without a root the last picture stays.
      else if (error.status === 503) this.root = "gone";
      else throw error;
    } finally {
      this.fetching = false;
      if (this.again) {
        this.again = false;
        await this.fetch();
      }
    }
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

  /** Adds events to those that are known, in the order of their times. @param {TreeEvent[]} events @returns {TreeEvent[]} those that were not known */
  remember(events) {
    const fresh = events.filter((event) => !this.known.has(event.id));
    if (!fresh.length) return fresh;
    for (const event of fresh) this.known.add(event.id);
    const inOrder = !this.events.length || fresh[0].at >= this.events[this.events.length - 1].at;
    this.events.push(...fresh);
    if (!inOrder) this.events.sort((a, b) => (a.at < b.at ? -1 : Number(a.at > b.at)));
    if (this.events.length > EVENTS * 1.2) {
      this.events = this.events.slice(-EVENTS);
      this.known = new Set(this.events.map((event) => event.id));
    }
    return fresh;
  }

  take(kind, data) {
    this.heard = Date.now();
    switch (kind) {
      case "hello":
        this.name = data.stream;
        if (data.may) this.may = data.may;
        this.root = "here";
        if (this.run !== null && data.run != null && data.run !== this.run) this.anew(data.run);
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
        const waiting = this.actions.get(data.action);
        if (waiting) waiting(data);
        else this.early = [...this.early.slice(-20), data];
        break;
      }
      case "root": {
        const { is, run } = typeof data === "string" ? { is: data, run: null } : data;
        this.root = is;
        if (is === "here" && run != null && run !== this.run) this.anew(run);
        else if (is === "here" && !this.tree.rows.length) this.fetch().catch(() => {});
        break;
      }
    }
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
    const next = { paths: paths.slice(0, ROWS), select, logs };
    if (JSON.stringify(next) === JSON.stringify(this.shown)) return;
    this.shown = next;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.tell(), 200);
  }

  /** Reports to the server what is shown. */
  tell() {
    if (this.name === null) return;
    post("api/view", { stream: this.name, ...this.shown }).catch(() => {});
  }

  /** Has something done; what becomes of it is reported as it happens. @param {{ verb: string, path: string, hold?: boolean, incarnation?: number }} what
   * @param {(action: any) => void} tell */
  async act(what, tell) {
    const { action } = await post("api/act", what);
    this.actions.set(action, (said) => {
      if (said.is !== "accepted") this.actions.delete(action);
      tell(said);
    });
    for (const said of this.early.filter((one) => one.action === action)) this.actions.get(action)?.(said);
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
