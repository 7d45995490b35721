// An incident: its picture, and beside it each step in words.

import { button, h, replace, s, say } from "./dom.js";
import { JOURNAL, Past, first, incident, layout, moment } from "./incident.js";
import { get } from "./server.js";
import { time } from "./view-child.js";
import { clock, meaning, plural, sentence, span } from "./words.js";

const LANE = 30;
const TOP = 34;
const LETTER = 7.4;

/** Steps that are listed; a storm has thousands. */
const STEPS = 300;

/** What the spans are, for the legend and for a screen reader. @type {[string, string][]} */
const SPANS = [["up", "up"], ["ill", "late or hung"], ["stopping", "stopping"], ["starting", "starting"], ["down", "down"]];

/** The patterns by which spans differ, besides their colours. */
function patterns() {
  return s("defs",
    s("pattern", { id: "hatched", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, s("rect.p-stopping", { width: 6, height: 6 }), s("line.p-line", { x1: 0, y1: 0, x2: 0, y2: 6 })),
    s("pattern", { id: "dotted", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, s("rect.p-starting", { width: 6, height: 6 }), s("circle.p-dot", { cx: 3, cy: 3, r: 1.3 })),
    s("pattern", { id: "waved", width: 8, height: 6, patternUnits: "userSpaceOnUse" }, s("rect.p-ill", { width: 8, height: 6 }), s("path.p-wave", { d: "M0 3 q2 -3 4 0 t4 0" })),
    s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" }, s("path.tip", { d: "M0 0 L8 4 L0 8 z" })));
}

/** The picture as a drawing. @param {Picture} picture @param {Map<string, TreeEvent>} events */
function drawing({ lanes, arrows, ticks, width }, events) {
  const names = lanes.map(({ path, count }) => (count > 1 ? `${path} (${count} alike)` : path));
  const left = Math.min(260, Math.max(...names.map((name) => name.length)) * LETTER + 16);
  const height = TOP + lanes.length * LANE + 8;
  const y = (lane) => TOP + lane * LANE;
  const svg = s("svg.incident", { viewBox: `0 0 ${left + width + 10} ${height}`, width: left + width + 10, height, role: "img", "aria-labelledby": "picture-title" });
  svg.append(s("title", { id: "picture-title" }, describe(lanes, events)), patterns());
  let free = 0;
  for (const { x, at } of ticks) {
    svg.append(s("line.tick", { x1: left + x, x2: left + x, y1: TOP - 6, y2: height - 6 }));
    const label = free ? after(moment(at) - moment(ticks[0].at)) : clock(at, true);
    if (left + x < free) continue;
    svg.append(s("text.label", { x: left + x, y: TOP - 12 }, label));
    free = left + x + label.length * LETTER + 10;
  }
  lanes.forEach(({ spans }, lane) => {
    svg.append(s("text.name", { x: 4, y: y(lane) + 19 }, names[lane]), s("line.rule", { x1: left, x2: left + width, y1: y(lane) + LANE - 2, y2: y(lane) + LANE - 2 }));
    for (const { from, to, is } of spans) {
      if (is !== "down") svg.append(s("rect", { x: left + from, y: y(lane) + 5, width: Math.max(1, to - from), height: LANE - 12, rx: 2, class: `span ${is}` }));
    }
  });
  for (const { from, to } of arrows) {
    const down = to.lane > from.lane;
    const [y1, y2] = [y(from.lane) + (down ? LANE - 7 : 5), y(to.lane) + (down ? 4 : LANE - 6)];
    const bend = Math.max(10, Math.abs(to.x - from.x) / 2);
    svg.append(s("path", { d: `M${left + from.x} ${y1} C${left + from.x + bend / 3} ${(y1 + y2) / 2} ${left + to.x - bend} ${y2} ${left + to.x} ${y2}`, class: "arrow", "marker-end": "url(#tip)" }));
  }
  lanes.forEach(({ marks, spans }, lane) => {
    for (const { x, id, kind } of marks) {
      const event = events.get(id);
      const loud = kind !== "escalated" && kind !== "held";
      svg.append(s("text", { x: left + x, y: y(lane) + 20, class: "cross", "text-anchor": "middle" }, loud ? "✕" : "▲"));
      const next = spans.find(({ from, is }) => from > x && (is === "starting" || is === "up"))?.from ?? width;
      const right = next === width && x > width / 2;
      const words = event ? cut(sentence(event), Math.max(12, Math.floor(((right ? x : next - x) - 16) / (LETTER + 1)))) : "";
      svg.append(s("text", { x: left + x + (right ? -10 : 10), y: y(lane) + 18, class: "words", "text-anchor": right ? "end" : "start" }, words));
    }
  });
  return svg;
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** @param {Lane[]} lanes @param {Map<string, TreeEvent>} events */
function describe(lanes, events) {
  const mark = lanes.flatMap(({ marks }) => marks)[0];
  const one = mark && events.get(mark.id);
  const down = lanes.filter(({ spans }) => spans.some(({ is }) => is === "down")).reduce((sum, { count }) => sum + count, 0);
  return `${one ? `${one.path} ${sentence(one)}` : "An incident"}. ${plural(down, "child was", "children were")} down in ${plural(lanes.length, "lane")}. The steps are listed below.`;
}

/** A time of the picture, to the millisecond where that is seen. */
function after(ms) {
  return `+${ms < 10_000 ? `${Math.round(ms)}ms` : span(ms)}`;
}

function legend() {
  return h("ul.legend", ...SPANS.map(([name, words]) => {
    const box = s("svg", { width: 26, height: 14, "aria-hidden": "true" }, s("rect", { width: 26, height: 14, rx: 2, class: `span ${name}` }));
    return h("li", box, ` ${words}`);
  }));
}

export class IncidentView {
  /** @param {Page} page */
  constructor(page, id) {
    this.page = page;
    this.id = id;
    this.title = "Incident";
    /** Events that are known, and of them those that are drawn. */
    this.key = "";
    this.count = -1;
    this.url = "";
    this.body = h("div", h("p", "…"));
    // These stay when it grows, with what the reader has scrolled and what has the focus.
    this.head = h("div.title");
    this.scroll = h("div.scroll", { tabindex: 0, role: "group", "aria-label": "The picture; scroll it sideways" });
    this.more = h("p");
    this.figure = h("figure.picture", this.scroll, h("figcaption", legend(), this.more));
    this.steps = h("ol.steps");
    this.rest = h("p");
    this.element = h("section.one-incident", this.body);
    this.past = new Past();
    this.past.add(page.console.events);
    /** What has been found, which is kept when the page forgets it. @type {TreeEvent[]} */
    this.found = [];
    this.failed = "";
    this.load();
  }

  /** Events of the journal, where the page has none of that time. */
  async load() {
    if (!this.past.known.has(this.id)) {
      try {
        this.past.add(await get(`api/events?n=${JOURNAL}`), true);
      } catch (error) {
        this.failed = /** @type {Error} */ (error).message;
      }
    }
    this.key = "";
    this.loaded = true;
    this.page.console.changed();
  }

  /** @param {TreeEvent[]} events @param {boolean} [asked] */
  came(events, asked) {
    this.past.add(events, asked);
  }

  /** All events that it may be of. */
  events() {
    const { events, known } = this.past;
    return [...this.found.filter((event) => !known.has(event.id)), ...events];
  }

  draw() {
    const { console } = this.page;
    console.show({});
    const key = `${this.past.events.length} ${this.past.events.at(-1)?.id}`;
    if (!this.loaded || key === this.key) return;
    this.key = key;
    const all = this.events();
    const found = incident(all, this.id);
    if (found.length === this.count) return;
    this.found = found;
    this.count = found.length;
    this.close();
    if (!found.length) {
      this.body.replaceChildren(h("h2", "Incident"), h("p.empty",
        this.failed ? `The journal could not be read: ${this.failed}.` : `The event ${this.id} is not among the last ${JOURNAL.toLocaleString("en")}.`));
      return;
    }
    if (!this.figure.isConnected) this.body.replaceChildren(this.head, this.figure, h("h3", "Steps"), this.steps, this.rest);
    const before = first(all, this.id);
    const [one] = found;
    this.path = one.path;
    const begin = moment(one.at);
    const took = moment(found[found.length - 1].at) - begin;
    const copy = button("Copy the report", () => this.copy(found), {});
    const json = found.map((event) => JSON.stringify(event)).join("\n");
    this.url = URL.createObjectURL(new Blob([`${json}\n`], { type: "application/x-ndjson" }));
    const file = h("a", { href: this.url, download: `incident-${this.id}.jsonl`, "data-key": "file" }, "Events as JSON");
    replace(this.head,
      h("h2", h("a", { href: `#/p${one.path}` }, one.path), ` ${sentence(one)}`),
      h("p", time(one.at), `; ${plural(found.length, "event")} in ${span(took)}`, before !== this.id ? h("a", { href: `#/i/${before}` }, "It has a cause of its own") : ""),
      h("div.buttons", copy, file, h("a", { href: `#/i/${this.id}` }, "Link")));
    const picture = layout(found, console.tree.rows);
    this.scroll.replaceChildren(drawing(picture, new Map(found.map((event) => [event.id, event]))));
    say(this.more, `and ${plural(picture.more, "more lane")}`);
    this.more.hidden = picture.more === 0;
    replace(this.steps, ...found.slice(0, STEPS).map((event) => this.step(event, begin)));
    say(this.rest, `and ${plural(found.length - STEPS, "more step")}`);
    this.rest.hidden = found.length <= STEPS;
  }

  /** @param {TreeEvent} event */
  step(event, begin) {
    const means = meaning(event);
    const output = Array.isArray(event.output) && event.output.length ? h("pre", event.output.join("\n")) : null;
    return h("li", { class: `step ${event.kind}` }, h("span.when", { title: clock(event.at, true) }, after(moment(event.at) - begin)), " ",
      h("a", { href: `#/p${event.path}` }, event.path), ` ${sentence(event)}`, means ? h("p.meaning", means) : "", output);
  }

  /** @param {TreeEvent[]} found */
  copy(found) {
    const lines = found.map((event) => `${event.at}  ${event.path}  ${sentence(event)}`);
    const text = [`Incident ${this.id} of ${this.page.console.instance}: ${location.href}`, "", ...lines].join("\n");
    navigator.clipboard?.writeText(text).then(() => this.page.say("The report was copied."), () => this.page.say("It could not be copied."));
  }

  subject() {
    return this.path ?? null;
  }

  /** The browser keeps what a link of this kind leads to until it is revoked. */
  close() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = "";
  }
}
