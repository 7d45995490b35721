// The tree as the page knows it: columns from the server, then changes and events. Pure but for what is stored in it.

import { ending, plural, span } from "./words.js";

/** @typedef {import("../types.js").Row} Row */
/** @typedef {import("../types.js").TreeEvent} TreeEvent */

/** States that come and go by themselves. */
const PASSING = new Set(["starting", "stopping", "waiting"]);

/** States of which there is a process, or was until a moment ago. */
const ALIVE = new Set(["running", "starting", "stopping"]);

/**
 * @typedef {object} Wanted what of the tree is to be seen
 * @property {Set<string>} folded paths of supervisors whose children are not shown
 * @property {((row: Row, now: number) => boolean) | null} test
 * @property {boolean} trouble only what is not well
 * @property {{ by: string, down: boolean } | null} sort within each supervisor
 * @property {number} now server's clock, in milliseconds
 */

/** By what rows are sorted; what has no value comes last. */
const SORTS = /** @type {Record<string, (row: Row) => string | number | null | undefined>} */ ({
  state: (row) => row.state,
  name: (row) => row.name,
  incarnation: (row) => row.incarnation,
  up: (row) => (row.started_at ? -Date.parse(row.started_at) : null),
  restarts: (row) => row.restarts,
  beat: (row) => (row.heartbeat?.age_ms == null ? null : row.heartbeat.age_ms / limit(row)),
  cpu: (row) => row.cpu,
  memory: (row) => row.usage?.memory_bytes,
});

/** How long a row may be silent, in milliseconds. @param {Row} row */
export function limit(row) {
  return row.heartbeat ? row.heartbeat.interval_ms * row.heartbeat.misses : Infinity;
}

/**
 * Whether the end of a process is a success, by its status alone: success-codes are the supervisor's to know.
 * @param {Row["last_exit"]} exit
 */
function success(exit) {
  return !exit || exit.code === 0;
}

/**
 * What is wrong with a row in one line, or null.
 * @param {Row} row
 * @param {number} now server's clock
 * @returns {string | null}
 */
export function trouble(row, now) {
  if (row.kill_failed) return `cannot be killed: process ${row.kill_failed.pid}, ${row.kill_failed.reason}`;
  switch (row.state) {
    case "running":
      return row.ill ? `no heartbeat for ${span(row.heartbeat?.age_ms ?? limit(row))}` : null;
    case "unreachable":
      return "does not answer";
    case "held":
      return row.held_by ? `held by ${row.held_by}` : "held by an operator";
    case "stopped":
      return row.unstarted ? null : "stopped";
    case "exited":
      return row.failed && row.last_exit ? `ended: ${ending(row.last_exit)}` : row.failed ? "failed" : null;
    case "waiting":
      return row.waits_until ? `next attempt in ${span(row.waits_until - now)}` : "waits for its next attempt";
    default:
      return `is ${row.state}${row.last_exit && !success(row.last_exit) ? ` after ${ending(row.last_exit)}` : ""}`;
  }
}

export class Tree {
  constructor() {
    /** @type {Row[]} parents before children */
    this.rows = [];
    /** @type {Map<string, Row>} */
    this.byPath = new Map();
    /** @type {Map<string, number>} how many workers are in each state */
    this.counts = new Map();
  }

  /**
   * @param {Record<string, any[]>} columns of one length; `parent` has the places of supervisors, null of the root
   * @param {number} now server's clock
   */
  static from(columns, now) {
    const tree = new Tree();
    const names = Object.keys(columns);
    const length = columns.name?.length ?? 0;
    for (let at = 0; at < length; at += 1) {
      /** @type {any} */
      const row = {};
      for (const name of names) {
        const value = columns[name][at];
        if (value != null) row[name] = value;
      }
      const above = tree.rows[columns.parent?.[at] ?? -1];
      row.at = at;
      row.parent = above ? above.at : -1;
      row.level = above ? above.level + 1 : 1;
      row.children = [];
      row.path ??= !above ? "/" : `${above.path === "/" ? "" : above.path}/${row.name}`;
      if (above) above.children.push(at);
      tree.rows.push(row);
      tree.byPath.set(row.path, row);
      tree.settle(row, now);
      tree.count(row, 1);
    }
    return tree;
  }

  /** @param {Row} row @param {number} by */
  count(row, by) {
    if (row.kind === "worker") this.counts.set(row.state, (this.counts.get(row.state) ?? 0) + by);
  }

  /** What follows from what the server has sent of a row. @param {Row} row @param {number} now */
  settle(row, now) {
    row.failed = !success(row.last_exit);
    if (row.waits_ms != null) row.waits_until = now + row.waits_ms;
    if (row.heartbeat?.age_ms != null) row.ill = row.state === "running" && row.heartbeat.age_ms > row.heartbeat.interval_ms * 1.5;
    if (row.state !== "running") row.ill = false;
  }

  /**
   * Takes over changed rows, or numbers.
   * @param {(Partial<Row> & { path: string, gone?: boolean })[]} changes
   * @param {{ now: number, received: number }} times server's clock, and the browser's
   * @returns {{ unknown: boolean, changed: Row[] }} whether the tree has to be fetched anew
   */
  merge(changes, { now, received }) {
    /** @type {Row[]} */
    const changed = [];
    let unknown = false;
    for (const change of changes) {
      const row = this.byPath.get(change.path);
      if (!row || change.gone) {
        unknown ||= Boolean(row) === Boolean(change.gone);
        continue;
      }
      this.count(row, -1);
      const { usage } = row;
      const { parent: _, ...fields } = change;
      Object.assign(row, fields);
      if (change.usage) {
        const past = received - (row.measured ?? NaN);
        const spent = change.usage.cpu_ms - (usage?.cpu_ms ?? NaN);
        if (past > 200 && spent >= 0) row.cpu = (spent / past) * 100;
        if (!(past <= 200)) row.measured = received;
        else row.usage = usage;
      }
      if (change.heartbeat) row.seen = received;
      this.settle(row, now);
      this.count(row, 1);
      changed.push(row);
    }
    return { unknown, changed };
  }

  /**
   * What an event says of the row that it is about.
   * @param {TreeEvent} event
   * @returns {{ unknown: boolean, changed: Row | null }}
   */
  apply(event) {
    const row = this.byPath.get(event.path);
    if (!row) return { unknown: true, changed: null };
    // An event of an incarnation that is over already changes nothing.
    if (event.incarnation != null && event.incarnation < (row.incarnation ?? 0)) return { unknown: false, changed: null };
    this.count(row, -1);
    this.follow(row, event);
    this.count(row, 1);
    return { unknown: event.kind === "reloaded", changed: row };
  }

  /** @param {Row} row @param {TreeEvent} event */
  follow(row, event) {
    switch (event.kind) {
      case "starting":
        if (event.incarnation != null) {
          const more = event.incarnation - (row.incarnation ?? 0);
          if (more > 0) row.restarts = (row.restarts ?? 0) + (row.incarnation ? more : 0);
          row.incarnation = event.incarnation;
        }
        Object.assign(row, { state: "starting", pid: null, usage: null, cpu: undefined, measured: undefined, started_at: null });
        Object.assign(row, { status_text: null, held_by: null, unstarted: null, waits_until: undefined });
        this.silence(row);
        break;
      case "started":
        row.pid = event.pid;
        row.started_at = event.at;
        if (row.path !== "/" && (row.kind === "worker" ? (row.ready ?? "exec") === "exec" : false)) row.state = "running";
        break;
      case "ready":
        row.state = "running";
        break;
      case "beat_late":
      case "hung":
        row.ill = true;
        if (row.heartbeat) row.heartbeat = { ...row.heartbeat, age_ms: event.age_ms };
        break;
      case "exited":
        row.last_exit = { at: event.at, oom_killed: event.oom_killed };
        if (event.signal == null) row.last_exit.code = event.code;
        else row.last_exit.signal = event.signal;
        row.failed = !event.normal && !event.expected;
        Object.assign(row, { state: "exited", pid: null, ill: false, usage: null, cpu: undefined, started_at: null });
        this.silence(row);
        break;
      case "restarting":
        row.state = "waiting";
        row.waits_until = Date.parse(event.at) + (event.delay_ms ?? 0);
        break;
      case "stopping":
      case "auto_shutdown":
      case "gave_up":
        row.state = "stopping";
        break;
      case "panic":
        if (ALIVE.has(row.state)) row.state = "stopping";
        break;
      case "stopped":
        row.state = "stopped";
        row.pid = null;
        break;
      case "held":
        Object.assign(row, { state: "held", pid: null, held_by: event.by ?? row.held_by, held_since: event.since ?? event.at });
        break;
      case "start_failed":
        row.failed = true;
        if (!event.retry) row.state = "exited";
        break;
      case "kill_failed":
        row.kill_failed = { pid: event.survivor, others: event.others, reason: event.reason };
        break;
    }
  }

  /** A new process has not beaten yet. @param {Row} row */
  silence(row) {
    if (row.heartbeat) row.heartbeat = { ...row.heartbeat, age_ms: null, beats: 0, missed: 0 };
  }

  /**
   * The rows to show, in order. Those that are asked for are shown with the supervisors above them.
   * @param {Wanted} wanted
   * @returns {Row[]}
   */
  visible({ folded, test, trouble: ill, sort, now }) {
    const { rows } = this;
    /** @type {Uint8Array | null} */
    let shown = null;
    if (test || ill) {
      shown = new Uint8Array(rows.length);
      for (let at = rows.length - 1; at >= 0; at -= 1) {
        const row = rows[at];
        if (!shown[at] && (!test || test(row, now)) && (!ill || trouble(row, now) !== null)) shown[at] = 1;
        if (shown[at] && row.parent >= 0) shown[row.parent] = 1;
      }
    }
    /** @type {Row[]} */
    const list = [];
    const compare = sort && order(sort);
    /** @param {number} at */
    const walk = (at) => {
      const row = rows[at];
      if (shown && !shown[at]) return;
      list.push(row);
      if (!shown && folded.has(row.path)) return;
      const children = compare ? [...row.children].sort((a, b) => compare(rows[a], rows[b])) : row.children;
      for (const child of children) walk(child);
    };
    if (rows.length) walk(0);
    return list;
  }

  /** A row and all below it. @param {Row} row @returns {Row[]} */
  below(row) {
    const list = [row];
    for (let at = 0; at < list.length; at += 1) for (const child of list[at].children) list.push(this.rows[child]);
    return list;
  }

  /** What an action touches, in a sentence for the reader who is about to take it.
   * @param {Row} row @param {string} verb @param {boolean} hold @param {string | null} self path of the console in the tree
   */
  touches(row, verb, hold, self) {
    const below = this.below(row).filter((one) => one !== row);
    const workers = below.filter((one) => one.kind === "worker").length;
    const all = below.length ? `${row.path} and ${plural(workers, "worker")} below it` : row.path;
    const above = this.rows[row.parent];
    const says = {
      stop: `${all} will be asked to stop, and stays down until it is started.`,
      start: `${all} will be started.`,
      restart: `${all} will be asked to stop, and started again.`,
      reset: `The count of failures of ${row.path} begins anew; what waits for its next attempt is started now.`,
      panic: `${all} will be killed at once, without being asked.`,
    }[verb] ?? all;
    const more = [];
    if (verb === "panic" && !above) more.push("This ends the instance.");
    else if (verb === "panic" && hold) more.push("It stays down until it is started by hand.");
    else if (verb === "panic" && above && row.restart !== "temporary") more.push(this.group(row, above));
    if (self && ["stop", "restart", "panic"].includes(verb) && (self === row.path || self.startsWith(row.path === "/" ? "/" : `${row.path}/`))) {
      more.push("This console is among them: the page will lose its connection.");
    }
    return [says, ...more].join(" ");
  }

  /** What the strategy of a supervisor restarts when a child is killed. @param {Row} row @param {Row} above */
  group(row, above) {
    const siblings = above.children.map((at) => this.rows[at]).filter((one) => ALIVE.has(one.state) || one === row);
    const strategy = above.strategy ?? "one-for-one";
    const place = siblings.indexOf(row);
    const with_ = strategy === "one-for-all" ? siblings.length - 1 : strategy === "rest-for-one" ? siblings.length - 1 - place : 0;
    const window = above.intensity && above.intensity.max != null ? `; restart ${above.intensity.used + 1} of ${above.intensity.max}` : "";
    const who = with_ > 0 ? `it together with ${plural(with_, "sibling")}` : "it alone";
    return `${above.path} then restarts ${who} (${strategy}${window}).`;
  }
}

/** @param {{ by: string, down: boolean }} sort @returns {(a: Row, b: Row) => number} */
function order({ by, down }) {
  const of = SORTS[by] ?? SORTS.name;
  const sign = down ? -1 : 1;
  return (a, b) => {
    const [x, y] = [of(a), of(b)];
    if (x == null || y == null) return (x == null ? 1 : 0) - (y == null ? 1 : 0);
    const way = typeof x === "string" && typeof y === "string" ? x.localeCompare(y, "en", { numeric: true }) : Number(x) - Number(y);
    return way * sign || a.at - b.at;
  };
}

/** Whether a state passes by itself. @param {string} state */
export function passing(state) {
  return PASSING.has(state);
}

/**
 * A burst of events in one sentence, for a screen reader; null where nothing is worth a word.
 * @param {TreeEvent[]} events
 * @returns {string | null}
 */
export function announcement(events) {
  /** @type {Map<string, Set<string>>} */
  const paths = new Map();
  const note = (/** @type {string} */ what, /** @type {string} */ path) => {
    const set = paths.get(what) ?? new Set();
    paths.set(what, set.add(path));
  };
  for (const event of events) {
    if (event.kind === "gave_up") note("gave up", event.path);
    else if (event.kind === "hung") note("hangs", event.path);
    else if (event.kind === "panic") note("was panicked", event.path);
    else if (event.kind === "held") note("is held", event.path);
    else if (event.kind === "start_failed" && !event.retry) note("could not be started", event.path);
    else if (event.kind === "exited" && !event.expected && !event.normal) note("failed", event.path);
    else if (event.kind === "starting" && (event.incarnation ?? 1) > 1) note("restarts", event.path);
  }
  const parts = [];
  for (const what of ["gave up", "hangs", "was panicked", "is held", "could not be started", "failed"]) {
    const set = paths.get(what);
    if (!set) continue;
    const [first] = set;
    parts.push(set.size === 1 ? `${first} ${what}` : `${set.size} ${what === "hangs" ? "hang" : what.replace(/^was /, "were ").replace(/^is /, "are ")}`);
  }
  const restarts = paths.get("restarts");
  if (restarts) {
    const [first] = restarts;
    parts.push(restarts.size === 1 ? `${first} is being restarted` : `${restarts.size} are being restarted`);
  }
  return parts.length ? parts.join("; ") : null;
}
