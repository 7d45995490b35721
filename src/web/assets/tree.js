// The tree as the page has it: columns from the server, then changes and events. Pure but for what is stored in it.

import { ending, plural, span } from "./words.js";

/** States of which there is a process, or was until a moment ago. */
const ALIVE = new Set(["running", "starting", "stopping"]);

/** By what rows are sorted; what has no value comes last. */
const SORTS = /** @type {Record<string, (row: Row) => string | number | null | undefined>} */ ({
  state: (row) => row.state,
  name: (row) => row.name,
  incarnation: (row) => row.incarnation,
  up: (row) => (row.started_at ? -Date.parse(row.started_at) : null),
  restarts: (row) => row.restarts,
  beat: (row) => (row.beat_age_ms == null || !row.beat_limit_ms ? null : row.beat_age_ms / row.beat_limit_ms),
  cpu: (row) => row.cpu,
  memory: (row) => row.memory_bytes,
});

/** Whether the end of a process is a success, by its status alone: success-codes are the supervisor's to know. @param {Row["last_exit"]} exit */
function success(exit) {
  return !exit || exit.code === 0;
}

/** What is wrong with a row in one line, or null. @param {Row} row @param {number} now server's clock @returns {string | null} */
export function trouble(row, now) {
  if (row.survivor) return `cannot be killed: process ${row.survivor}`;
  switch (row.state) {
    case "running":
      return row.ill ? `no heartbeat for ${span(row.beat_age_ms ?? row.beat_limit_ms ?? 0)}` : null;
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
    /** The run of the root that it is of. @type {string | null} */
    this.run = null;
    /** @type {Row[]} parents before children */
    this.rows = [];
    /** @type {Map<string, Row>} */
    this.byPath = new Map();
    /** @type {Map<string, number>} how many workers are in each state */
    this.counts = new Map();
  }

  /** @param {Record<string, any[]>} columns of one length; `parent` has the places of supervisors, null of the root @param {number} now server's clock */
  static from(columns, now) {
    const tree = new Tree();
    const names = Object.keys(columns);
    const length = columns.name?.length ?? 0;
    for (let at = 0; at < length; at += 1) {
      /** @type {any} */
      const sent = Object.fromEntries(names.map((name) => [name, columns[name][at]]).filter(([, value]) => value != null));
      /** @type {any} */
      const row = {};
      const above = tree.rows[columns.parent?.[at] ?? -1];
      tree.take(row, sent, now);
      Object.assign(row, { at, parent: above ? above.at : -1, level: above ? above.level + 1 : 1, children: [] });
      row.path ??= above ? `${above.level > 1 ? above.path : ""}/${row.name}` : "/";
      if (above) above.children.push(at);
      tree.rows.push(row);
      tree.byPath.set(row.path, row);
      tree.count(row, 1);
    }
    return tree;
  }

  /** @param {Row} row @param {number} by */
  count(row, by) {
    if (row.kind === "worker") this.counts.set(row.state, (this.counts.get(row.state) ?? 0) + by);
  }

  /** Takes over what the server has sent of a row, by the names of `status --json`. @param {Row} row @param {Sent} sent @param {number} now */
  take(row, { intensity, heartbeat, usage, waits_ms, kill_failed, ...plain }, now) {
    // Numbers are of a process.
    if ("pid" in plain && plain.pid !== row.pid) Object.assign(row, { beat_age_ms: null, cpu: null, memory_bytes: null, cpu_ms: null });
    Object.assign(row, plain);
    if (intensity) Object.assign(row, { window: intensity.used, window_max: intensity.max, window_ms: intensity.period_ms });
    if (heartbeat) {
      const { interval_ms, misses, age_ms, beats, missed } = heartbeat;
      Object.assign(row, { beat_ms: interval_ms, beat_limit_ms: interval_ms * misses, beat_age_ms: age_ms, beats, missed, seen: now });
    }
    if (usage) {
      const past = now - (row.measured ?? now);
      if (row.cpu_ms != null && past > 0) row.cpu = Math.max(0, ((usage.cpu_ms - row.cpu_ms) / past) * 100);
      const { cpu_ms, memory_bytes, processes } = usage;
      Object.assign(row, { cpu_ms, memory_bytes, processes, measured: now });
    }
    if (waits_ms !== undefined) row.waits_until = waits_ms === null ? null : now + waits_ms;
    if (kill_failed !== undefined) row.survivor = kill_failed?.pid;
    row.failed = !success(row.last_exit);
    if (row.state !== "running") row.ill = false;
    else if (row.beat_age_ms != null && row.beat_ms) row.ill = row.beat_age_ms > row.beat_ms * 1.5;
  }

  /** Takes over changed rows, or numbers. Returns whether there was a row that is not known: then the tree has to be fetched anew.
   * @param {Sent[]} changes @param {number} now */
  merge(changes, now) {
    let unknown = false;
    for (const change of changes) {
      const row = this.byPath.get(change.path);
      if (!row || change.gone) {
        unknown ||= Boolean(row) === Boolean(change.gone);
        continue;
      }
      this.count(row, -1);
      this.take(row, change, now);
      this.count(row, 1);
    }
    return unknown;
  }

  /** What an event shows that rows do not: a beat is late. @param {TreeEvent} event */
  notice(event) {
    const row = this.byPath.get(event.path);
    if (!row || (event.kind !== "beat_late" && event.kind !== "hung")) return;
    Object.assign(row, { ill: row.state === "running", beat_age_ms: event.age_ms });
  }

  /** The rows to show, in order. Those that are asked for are shown with the supervisors above them. @param {Wanted} wanted @returns {Row[]} */
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

  /** What an action touches, in a sentence for the user who is about to take it.
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

  /** What a supervisor does when a child is killed: by its strategy, or, where its window is full, it gives up. @param {Row} row @param {Row} above */
  group(row, above) {
    const used = above.window ?? 0;
    if (above.window_max != null && used + 1 > above.window_max) {
      const period = above.window_ms ? ` within ${span(above.window_ms)}` : "";
      const upper = this.rows[above.parent];
      const end = upper ? `to ${upper.path} that is one child which has failed` : "this ends the instance";
      return `${above.path} allows no further restart (${used} of ${above.window_max}${period}): it stops all its children and gives up; ${end}.`;
    }
    const siblings = above.children.map((at) => this.rows[at]).filter((one) => ALIVE.has(one.state) || one === row);
    const strategy = above.strategy ?? "one-for-one";
    const place = siblings.indexOf(row);
    const with_ = strategy === "one-for-all" ? siblings.length - 1 : strategy === "rest-for-one" ? siblings.length - 1 - place : 0;
    const window = above.window_max == null ? "" : `; restart ${used + 1} of ${above.window_max}`;
    const group = with_ > 0 ? `it together with ${plural(with_, "sibling")}` : "it alone";
    return `${above.path} then restarts ${group} (${strategy}${window}).`;
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

/** A burst of events in one sentence, for a screen reader; null where nothing is worth a word. @param {TreeEvent[]} events @returns {string | null} */
export function announcement(events) {
  /** @type {Map<string, Set<string>>} */
  const paths = new Map();
  const note = (what, path) => {
    const set = paths.get(what) ?? new Set();
    paths.set(what, set.add(path));
  };
  for (const event of events) {
    if (event.beside) continue;
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
