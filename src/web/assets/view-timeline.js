// The timeline: all incidents of the last hours, one mark each.

import { button, h, replace, s, shape } from "./dom.js";
import { JOURNAL, Past, incidents } from "./incident.js";
import { get } from "./server.js";
import { time } from "./view-child.js";
import { clock, plural, sentence } from "./words.js";

const HOUR = 3_600_000;

/** Incidents that are listed. */
const LISTED = 100;

const LANE = 34;
const TOP = 24;
const WIDTH = 1000;
const LEFT = 130;

/** It is not painted more often than this, in milliseconds. */
const OFTEN = 500;

/** Incidents of a lane that are nearer share a mark. */
const NEAR = 22;

/** @type {[string, number][]} */
const RANGES = [["Last hour", HOUR], ["6 hours", 6 * HOUR], ["All of the journal", Infinity]];

const SHAPES = /** @type {Record<string, string>} */ ({ escalation: "✕", hang: "◆", failure: "●", operator: "■" });
const NAMES = /** @type {Record<string, string>} */ ({ escalation: "escalation", hang: "hang", failure: "failure", operator: "operator" });

/** Marks of one lane: incidents that are near each other are one, which is as grave as the gravest. @param {Incident[]} lane by time @param {(at:
 * string) => number} x */
export function marks(lane, x) {
  /** @type {{ x: number, worst: Incident, size: number, count: number }[]} */
  const list = [];
  const grave = Object.keys(SHAPES);
  for (const one of lane) {
    const last = list.at(-1);
    const at = x(one.at);
    if (!last || at - last.x > NEAR) {
      list.push({ x: at, worst: one, size: one.size, count: 1 });
      continue;
    }
    last.count += 1;
    last.size += one.size;
    const more = grave.indexOf(one.is) - grave.indexOf(last.worst.is);
    if (more < 0 || (more === 0 && one.size > last.worst.size)) last.worst = one;
  }
  return list;
}

export class TimelineView {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.title = "Timeline";
    this.range = HOUR;
    this.made = "";
    this.painted = 0;
    this.past = new Past();
    this.past.add(page.console.events);
    /** The time before which the journal has more of this range than it answers. @type {string | null} */
    this.cut = null;
    this.failed = "";
    this.buttons = RANGES.map(([label, range]) => button(label, () => this.choose(range), { "aria-pressed": String(range === this.range) }));
    this.scroll = h("div.scroll", { tabindex: 0, role: "group", "aria-label": "The picture; scroll it sideways" });
    const legend = Object.keys(SHAPES).map((is) => h("li", { class: is }, shape({ shape: SHAPES[is] }), ` ${NAMES[is]}`));
    this.picture = h("div.picture", this.scroll, h("ul.legend", ...legend));
    this.list = h("ol.incidents");
    this.summary = h("p");
    this.missing = h("p.meaning", { role: "status", hidden: true });
    this.element = h("section.timeline", h("div.title", h("h2", "Timeline"), h("div.buttons", ...this.buttons), this.summary, this.missing), this.picture, h("h3", "Incidents, the last first"), this.list);
    this.load();
  }

  choose(range) {
    this.range = range;
    this.buttons.forEach((one, at) => one.setAttribute("aria-pressed", String(RANGES[at][1] === range)));
    this.load();
  }

  async load() {
    const { range } = this;
    const since = Number.isFinite(range) ? `&since=${new Date(this.page.console.now() - range).toISOString()}` : "";
    let failed = "";
    const events = await get(`api/events?n=${JOURNAL}${since}`).catch((error) => {
      failed = error.message;
      return null;
    });
    if (range !== this.range) return;
    this.failed = failed;
    if (events) {
      this.past.add(events, true);
      this.cut = events.length >= JOURNAL ? events[0].at : null;
    }
    this.made = "";
    this.page.console.changed();
  }

  /** @param {TreeEvent[]} events @param {boolean} [asked] */
  came(events, asked) {
    this.past.add(events, asked);
  }

  draw() {
    const { console } = this.page;
    console.show({});
    const { events } = this.past;
    const now = console.now();
    // As time goes by the marks move, by a pixel every few seconds.
    const key = `${events.length} ${events.at(-1)?.id} ${Math.floor(now / 5000)} ${this.range}`;
    // In a storm there is something new in every frame.
    if (key === this.made || (this.made && now - this.painted < OFTEN)) return;
    [this.made, this.painted] = [key, now];
    const from = Number.isFinite(this.range) ? now - this.range : Math.min(now - HOUR, ...events.slice(0, 1).map((event) => Date.parse(event.at)));
    const found = incidents(events).filter((one) => Date.parse(one.at) >= from);
    this.lack(from);
    this.paint(found, from, now);
    const words = Object.keys(SHAPES).map((is) => [found.filter((one) => one.is === is).length, NAMES[is]]).filter(([count]) => count);
    this.summary.textContent = found.length ? words.map(([count, name]) => plural(Number(count), String(name))).join(", ") : "Nothing has happened.";
    const last = found.slice(-LISTED).reverse();
    const newest = `${last.length} ${last[0]?.id} ${last[0]?.events}`;
    if (this.list.dataset.key === newest) return;
    this.list.dataset.key = newest;
    replace(this.list, ...last.map((one) => h("li", { class: one.is },
      shape({ shape: SHAPES[one.is] }), time(one.at), " ",
      h("a", { href: `#/i/${one.id}` }, `${one.worst.path} ${sentence(one.worst)}`),
      one.size > 1 ? ` ${plural(one.size, "child", "children")} taken down` : "")));
  }

  /** Shows of what time events are missing. */
  lack(from) {
    const [cut] = [this.cut, this.past.cut].filter((at) => at !== null && Date.parse(at) >= from).sort().reverse();
    const key = `${cut} ${this.failed}`;
    if (this.missing.dataset.key === key) return;
    this.missing.dataset.key = key;
    this.missing.hidden = !cut && !this.failed;
    this.missing.replaceChildren(
      this.failed ? `The journal could not be read: ${this.failed}. This is what the page has seen itself. ` : "",
      ...(cut ? ["What happened before ", time(cut), " is left out: there are too many events."] : []));
  }

  /** @param {Incident[]} found */
  paint(found, from, to) {
    const top = this.page.console.tree.rows.filter((row) => row.level === 2).map((row) => row.path);
    const lanes = [...new Set([...top, ...found.map((one) => one.lane)])].filter((lane) => top.length <= 30 || found.some((one) => one.lane === lane)).slice(0, 40);
    const height = TOP + lanes.length * LANE + 6;
    const x = (at) => LEFT + ((new Date(at).getTime() - from) / (to - from)) * (WIDTH - LEFT - 16);
    const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "times", "aria-label": "Incidents by subtree and time", role: "group" });
    for (let part = 0; part <= 6; part += 1) {
      const at = from + ((to - from) * part) / 6;
      svg.append(s("line.tick", { x1: x(at), x2: x(at), y1: TOP - 4, y2: height }),
        s("text", { x: x(at), y: TOP - 9, class: "label", "text-anchor": part === 6 ? "end" : "middle" }, part === 6 ? "now" : label(at, to - from)));
    }
    lanes.forEach((lane, at) => {
      const y = TOP + at * LANE + LANE / 2;
      svg.append(s("text.name", { x: 4, y: y + 4 }, lane.length > 16 ? `${lane.slice(0, 15)}…` : lane), s("line.rule", { x1: LEFT, x2: WIDTH, y1: y, y2: y }));
      for (const { x: mark, worst, size, count } of marks(found.filter((one) => one.lane === lane), x)) {
        const words = `${clock(worst.at)} ${worst.worst.path} ${sentence(worst.worst)}${size > 1 ? `; ${size} taken down` : ""}${count > 1 ? `; ${plural(count, "incident")} here` : ""}`;
        const radius = Math.min(15, 7 + 2 * Math.sqrt(size));
        svg.append(s("a", { href: `#/i/${worst.id}`, class: `mark ${worst.is}`, "aria-label": words }, s("title", words),
          s("circle", { cx: mark, cy: y, r: radius }), s("text", { x: mark, y: y + 4, "text-anchor": "middle", "aria-hidden": "true" }, SHAPES[worst.is])));
      }
    });
    const first = !this.scroll.firstChild;
    replace(this.scroll, svg);
    // What has happened last is at the right.
    if (first) this.scroll.scrollLeft = this.scroll.scrollWidth;
  }
}

/** @param {number} length of the range */
function label(at, length) {
  const day = length > 20 * HOUR ? `${new Date(at).toLocaleDateString(undefined, { month: "short", day: "numeric" })} ` : "";
  return day + clock(at).slice(0, 5);
}
