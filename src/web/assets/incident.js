// An incident: an event and all that came of it, as a picture without pixels. Pure; the timeline groups events by the same rule.

import { inOrder } from "./lines.js";

/** Events that are closer stand side by side, in milliseconds. */
const TOGETHER = 0.5;

/** Units of the picture: between two events side by side, and before the first and after the last. */
const STEP = 12;
const EDGE = 60;

/** How many lanes there are at most. */
const LANES = 40;

/** The most events of one answer of the server, and how many a view keeps. */
export const JOURNAL = 10_000;
const KEPT = 20_000;

/** Events of the journal, and those that came meanwhile: of the page, and, which are more, of a view while it is open. */
export class Past {
  /** @param {number} [kept] how many at least, once there are more */
  constructor(kept = KEPT) {
    this.kept = kept;
    /** In the order in which the server has them: a clock that was set back does not change what came first. @type {TreeEvent[]} */
    this.events = [];
    /** Their ids. @type {Set<string>} */
    this.known = new Set();
    /** The time before which some were left out here. @type {string | null} */
    this.cut = null;
  }

  /** @param {TreeEvent[]} events as the server has them, oldest first @param {boolean} [asked] that they are the last ones until some moment, of
   * which later ones may have come already @returns {TreeEvent[]} those that were not known */
  add(events, asked = false) {
    const fresh = events.filter((event) => !this.known.has(event.id));
    if (!fresh.length) return fresh;
    if (fresh.length < events.length) this.events = merged(this.events, events);
    else if (asked && fresh[fresh.length - 1].at <= this.events[0]?.at) this.events.unshift(...fresh);
    else for (const event of fresh) this.events.push(event);
    for (const event of fresh) this.known.add(event.id);
    if (this.events.length > this.kept * 1.2) {
      this.events = this.events.slice(-this.kept);
      this.known = new Set(this.events.map((event) => event.id));
      this.cut = this.events[0].at;
    }
    return fresh;
  }
}

/** Both lists in one: events of the second stand before the one that the first has next, and after the last that it has. @param {TreeEvent[]} kept
 * @param {TreeEvent[]} events @returns {TreeEvent[]} */
function merged(kept, events) {
  const places = new Map(kept.map(({ id }, at) => [id, at]));
  /** @type {TreeEvent[]} */
  const all = [];
  /** @type {TreeEvent[]} */
  let fresh = [];
  let taken = 0;
  for (const event of events) {
    const at = places.get(event.id);
    if (at === undefined) fresh.push(event);
    else if (at >= taken) {
      all.push(...kept.slice(taken, at), ...fresh, event);
      fresh = [];
      taken = at + 1;
    }
  }
  return [...all, ...fresh, ...kept.slice(taken)];
}

/** The path of the supervisor. @param {string} path */
export function above(path) {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** Milliseconds with their fraction: Date.parse has none below one. @param {string} at */
export function moment(at) {
  const fraction = /\.\d{3}(\d+)/.exec(at)?.[1] ?? "";
  return Date.parse(at) + Number(`0.${fraction || 0}`);
}

/** The event that led to each. A supervisor that is stopped stops its children as a process of its own, and they name no cause: it is the stop of
 * the supervisor. @param {TreeEvent[]} events in the order of their numbers @returns {Map<string, string>} from id to id */
export function causes(events) {
  /** @type {Map<string, string>} */
  const causes = new Map();
  /** @type {Map<string, string>} */
  const stops = new Map();
  for (const event of events) {
    if (event.cause) causes.set(event.id, event.cause);
    if (event.kind !== "stopping") continue;
    const of = event.why === "supervisor_ends" && !event.cause && stops.get(above(event.path));
    if (of) causes.set(event.id, of);
    stops.set(event.path, event.id);
  }
  return causes;
}

/** The event and every later one that it led to. @param {TreeEvent[]} events in their order @param {string} id @returns {TreeEvent[]} by
 * time, those of one node in their order, as when the clock is set back; none where the event is not known */
export function incident(events, id) {
  const first = events.findIndex((event) => event.id === id);
  if (first < 0) return [];
  const cause = causes(events);
  const within = new Set([id]);
  const found = [events[first]];
  for (const event of events.slice(first + 1)) {
    if (!within.has(cause.get(event.id) ?? "")) continue;
    within.add(event.id);
    found.push(event);
  }
  return inOrder(found, ({ id }) => id.slice(0, id.lastIndexOf("-")), ({ at }) => moment(at));
}

/** The first cause of an event, as far as it is known. @param {TreeEvent[]} events @param {string} id */
export function first(events, id) {
  const known = new Set(events.map((event) => event.id));
  const cause = causes(events);
  for (let next = cause.get(id); next && known.has(next); next = cause.get(next)) id = next;
  return id;
}

/** Where each event stands: silences grow with their logarithm, and what happens in one moment stands side by side where the one led to the other, or
 * both are of one lane. @param {TreeEvent[]} events by time @param {(event: TreeEvent) => number} lane @param {Map<string, string>} cause */
function axis(events, lane, cause) {
  /** @type {Map<string, number>} */
  const xs = new Map();
  /** @type {{ x: number, at: string }[]} */
  const ticks = [];
  let start = EDGE;
  let end = EDGE;
  let before = NaN;
  let taken = new Map();
  for (const event of events) {
    const time = moment(event.at);
    if (!(time - before < TOGETHER)) {
      if (!Number.isNaN(before)) start = end + STEP * (1 + 2 * Math.log10((time - before) / TOGETHER));
      ticks.push({ x: Math.round(start), at: event.at });
      taken = new Map();
      end = start;
    }
    before = time;
    const led = xs.get(cause.get(event.id) ?? "");
    const own = taken.get(lane(event));
    const x = Math.max(start, own === undefined ? 0 : own + STEP, led === undefined || led < start ? 0 : led + STEP);
    taken.set(lane(event), x);
    xs.set(event.id, Math.round(x));
    end = Math.max(end, x);
  }
  return { xs, ticks, width: Math.round(end + EDGE) };
}

/** What a lane was before its first event. @param {string} kind @returns {Span} */
function until(kind) {
  if (kind === "starting" || kind === "restarting" || kind === "failed_over" || kind === "held" || kind === "stopped") return "down";
  return kind === "started" || kind === "ready" || kind === "start_failed" || kind === "no_host" ? "starting" : "up";
}

/** What an event makes of its lane; null where that stays as it is. @param {TreeEvent} event @param {boolean} awaited whether a `ready` is still to
 * come @returns {Span | null} */
function becomes(event, awaited) {
  if (event.beside) return null;
  switch (event.kind) {
    case "beat_late":
    case "hung":
      return "ill";
    case "stopping":
    case "gave_up":
    case "auto_shutdown":
    case "panic":
      return "stopping";
    case "exited":
    case "stopped":
    case "held":
    case "restarting":
    case "failed_over":
    case "no_host":
    case "start_failed":
      return "down";
    case "starting":
      return "starting";
    case "started":
      return awaited ? "starting" : "up";
    case "ready":
      return "up";
    default:
      return null;
  }
}

/** Events whose words stand in the picture, besides the first. */
const LOUD = new Set(["gave_up", "escalated", "held"]);

/** Siblings of one `count` that did the same share a lane. @param {TreeEvent[]} events @param {{ path: string }[]} order */
function lanes(events, order) {
  /** @type {Map<string, TreeEvent[]>} */
  const own = new Map();
  for (const event of events) {
    const list = own.get(event.path) ?? [];
    list.push(event);
    own.set(event.path, list);
  }
  const places = new Map(order.map(({ path }, at) => [path, at]));
  const paths = [...own.keys()].sort((a, b) => (places.get(a) ?? Infinity) - (places.get(b) ?? Infinity) || (a < b ? -1 : 1));
  /** @type {{ path: string, paths: string[], events: TreeEvent[] }[]} */
  const all = [];
  const alike = new Map();
  for (const path of paths) {
    const mine = own.get(path) ?? [];
    const copy = /^(.*)-\d+$/.exec(path)?.[1];
    const key = copy && `${copy} ${mine.map((event) => event.kind).join(" ")}`;
    const same = key && alike.get(key);
    if (same) {
      same.paths.push(path);
      same.events.push(...mine);
    } else {
      const lane = { path, paths: [path], events: [...mine] };
      all.push(lane);
      if (key) alike.set(key, lane);
    }
  }
  return all;
}

/** The picture of an incident. @param {TreeEvent[]} events of one incident, by time, the first cause first @param {{ path: string, ready?: string |
 * null }[]} order the rows of the tree; `ready`: whether a worker is up once it is started @returns {Picture} */
export function layout(events, order) {
  const cause = causes(events);
  const all = lanes(events, order);
  const shown = all.slice(0, LANES);
  const laneOf = new Map(shown.flatMap(({ paths }, at) => paths.map((path) => [path, at])));
  const drawn = events.filter((event) => laneOf.has(event.path));
  const lane = (event) => laneOf.get(event.path) ?? -1;
  const { xs, ticks, width } = axis(drawn, lane, cause);
  const at = (event) => xs.get(event.id) ?? 0;
  const ready = new Map(order.map((row) => [row.path, row.ready]));
  const list = shown.map(({ path, paths, events: mine }) => ({
    path,
    count: paths.length,
    paths,
    spans: stretches(mine, paths, at, width, ready.get(path)),
    marks: mine
      .filter((event) => event === events[0] || LOUD.has(event.kind))
      .map((event) => ({ x: at(event), id: event.id, kind: event.kind })),
  }));
  return { lanes: list, more: all.length - shown.length, arrows: arrows(drawn, cause, lane, at), ticks, width };
}

/** The spans of a lane. Of several copies the n-th step begins with the first of them, and something is up or down when all are. @param {TreeEvent[]}
 * mine @param {string[]} paths @param {(event: TreeEvent) => number} at @param {number} width @param {string | null | undefined} ready @returns
 * {Stretch[]} */
function stretches(mine, paths, at, width, ready) {
  const one = mine.filter((event) => event.path === paths[0]);
  const copies = paths.map((path) => mine.filter((event) => event.path === path));
  /** @type {Stretch[]} */
  const spans = [];
  let is = until(one[0].kind);
  let from = 0;
  one.forEach((event, step) => {
    const rest = one.slice(step + 1);
    const next = rest.findIndex((later) => later.kind === "starting" || later.kind === "exited");
    const comes = rest.slice(0, next < 0 ? rest.length : next).some((later) => later.kind === "ready");
    const then = becomes(event, comes || (ready != null && ready !== "exec"));
    if (!then || then === is) return;
    const xs = copies.map((copy) => at(copy[step]));
    const x = then === "up" || then === "down" ? Math.max(...xs) : Math.min(...xs);
    if (x > from) spans.push({ from, to: x, is });
    [from, is] = [Math.max(x, from), then];
  });
  spans.push({ from, to: width, is });
  return spans;
}

/** Arrows from a cause to an effect in another lane, one for each pair of lanes and moment. @param {TreeEvent[]} events @param {Map<string, string>}
 * cause @param {(event: TreeEvent) => number} lane @param {(event: TreeEvent) => number} at @returns {Arrow[]} */
function arrows(events, cause, lane, at) {
  const byId = new Map(events.map((event) => [event.id, event]));
  const drawn = new Set();
  const list = [];
  for (const event of events) {
    const from = byId.get(cause.get(event.id) ?? "");
    if (!from || lane(from) === lane(event)) continue;
    const key = `${from.id} ${lane(event)} ${event.kind}`;
    if (drawn.has(key)) continue;
    drawn.add(key);
    list.push({ from: { lane: lane(from), x: at(from) }, to: { lane: lane(event), x: at(event) } });
  }
  return list;
}

/** What makes an event worth a mark on the timeline. @param {TreeEvent} event @returns {"escalation" | "hang" | "operator" | "failure" | null} */
function weight(event) {
  if (event.kind === "gave_up" || event.kind === "escalated") return "escalation";
  if (event.kind === "hung") return "hang";
  if (["panic", "reloaded", "upgraded"].includes(event.kind) || (event.kind === "stopping" && ["operator", "reload"].includes(event.why))) return "operator";
  if (["restarting", "failed_over", "no_host", "start_failed", "kill_failed", "upgrade_failed"].includes(event.kind)) return "failure";
  return event.kind === "exited" && !event.expected && !event.normal ? "failure" : null;
}

const WEIGHTS = ["escalation", "hang", "failure", "operator"];

/** All incidents among some events. @param {TreeEvent[]} events in the order of their numbers @returns {Incident[]} by time */
export function incidents(events) {
  const cause = causes(events);
  /** @type {Map<string, string>} */
  const root = new Map();
  /** @type {Map<string, { first: TreeEvent, worst: TreeEvent | null, is: number, down: Set<string>, events: number }>} */
  const groups = new Map();
  for (const event of events) {
    const of = root.get(cause.get(event.id) ?? "") ?? event.id;
    root.set(event.id, of);
    const group = groups.get(of) ?? { first: event, worst: null, is: WEIGHTS.length, down: new Set(), events: 0 };
    groups.set(of, group);
    group.events += 1;
    if (event.kind === "exited") group.down.add(event.path);
    const is = WEIGHTS.indexOf(weight(event) ?? "");
    if (is >= 0 && is < group.is) Object.assign(group, { is, worst: event });
  }
  const list = [];
  for (const [id, { first, worst, is, down, events: count }] of groups) {
    if (!worst) continue;
    const top = first.path === "/" ? "/" : `/${first.path.split("/")[1]}`;
    list.push({ id, at: first.at, path: first.path, lane: top, is: WEIGHTS[is], size: down.size, events: count, worst });
  }
  return list.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
}
