// The page: who may, which view, keys, and what stands above all of them.

import { actions, dialog } from "./act.js";
import { Console } from "./console.js";
import { Presses, button, byId, choice, h, replace, say, set, shape } from "./dom.js";
import { HostsView } from "./view-hosts.js";
import { IncidentView } from "./view-incident.js";
import { LogsView } from "./logs.js";
import { Refused, get, post } from "./server.js";
import { ChildView } from "./view-child.js";
import { TimelineView } from "./view-timeline.js";
import { TreeView } from "./view-tree.js";
import { WallView } from "./view-wall.js";
import { SHAPES, clock, plural, span, utc } from "./words.js";

/** The place of the hosts among the views. */
const HOSTS = 4;

/** @type {[string, string][]} */
const KEYS = [
  ["↑ ↓ Page Up, Page Down, Home, End", "move in the tree"],
  ["→ ←", "unfold, fold; to the first child, to the supervisor"],
  ["Enter", "open what is marked"],
  ["/", "search"],
  ["!", "only trouble"],
  ["w", "why it is so"],
  ["l", "its output"],
  [".", "actions"],
  ["t", "timeline"],
  ["?", "this help"],
  ["Esc", "back"],
];

export class Page {
  constructor() {
    this.console = new Console();
    /** @type {View | null} */
    this.view = null;
    /** One for as long as the page: its search, its order and its place are there when the reader comes back. @type {TreeView | null} */
    this.tree = null;
    this.route = "";
    /** Whether a single letter is a command; it can be switched off. */
    this.letters = choice("letters") !== "off";
    this.console.announce = (text) => this.say(text);
    this.console.expired = () => this.login("The session is over.");
    this.console.watcher = {
      draw: () => this.draw(),
      lines: (lines) => this.view?.lines?.(lines),
      reading: () => this.view?.reading?.(),
      came: (events) => this.view?.came?.(events),
    };
    theme(choice("theme") ?? "system");
    this.name = h("h1", h("a", { href: "#/" }, ""));
    this.about = h("span.about");
    this.states = h("div.states");
    this.alerts = h("a.alerts", { href: "#/t", hidden: true });
    this.link = h("span.connection", { role: "status" });
    this.links = [["#/", "Tree"], ["#/t", "Timeline"], ["#/l/", "Logs"], ["#/wall", "Wall"], ["#/hosts", "Hosts"]].map(([href, name]) => h("a", { href }, name));
    // Only where there is a cluster.
    this.links[HOSTS].hidden = true;
    const themes = h("select", { "aria-label": "Light or dark", on: { change: () => theme(choice("theme", themes.value) ?? "system") } }, ...["system", "light", "dark"].map((name) => h("option", { value: name }, name)));
    themes.value = choice("theme") ?? "system";
    this.notice = h("p");
    this.dismiss = button("Dismiss", () => {
      this.console.missed = "";
      this.console.changed();
    });
    byId("notice").append(this.notice, this.dismiss);
    byId("notice").hidden = true;
    byId("head").hidden = true;
    byId("head").append(
      h("div.bar-line", this.name, this.about, this.link, h("nav", { "aria-label": "Views" }, ...this.links),
        h("div.end", themes, button("?", () => this.help(), { "aria-label": "Help" }), button("Leave", () => this.logout()))),
      h("div.bar-line", this.states, this.alerts));
    byId("skip").addEventListener("click", () => (this.view?.focus ? this.view.focus() : byId("main").focus()));
    addEventListener("hashchange", () => this.go());
    new Presses().watch(document);
    document.addEventListener("keydown", (event) => this.pressed(event));
    const key = /^#key=(.+)$/.exec(location.hash)?.[1] ?? null;
    // The key is in no history, and in no address that is copied.
    if (key) history.replaceState(null, "", `${location.pathname}#/`);
    this.enter(key);
  }

  /** @param {string | null} key of the link */
  async enter(key) {
    try {
      await this.console.enter(key);
    } catch (error) {
      if (error instanceof Refused && error.status !== 401) this.trouble(error.message, () => this.enter(key));
      else if (error instanceof Refused) this.login(key ? "The link does not hold any more." : "");
      else this.trouble("The server does not answer.", () => this.enter(key));
      return;
    }
    await this.begin();
  }

  async begin() {
    try {
      await this.console.begin();
      byId("head").hidden = false;
      this.go();
      this.links[HOSTS].hidden = (await get("api/hosts").catch(() => true)) === null;
    } catch (error) {
      this.trouble(/** @type {Error} */ (error).message, () => this.begin());
    }
  }

  /** Shows what is wrong, and tries again. */
  trouble(text, again) {
    byId("main").replaceChildren(h("section.gate", h("h1", "treevisor"), h("p", { role: "alert" }, text), h("p", "It is tried again every few seconds.")));
    setTimeout(again, 3000);
  }

  login(why) {
    this.console.stream.end();
    this.view?.close?.();
    this.view = null;
    this.tree = null;
    byId("head").hidden = true;
    const field = h("input", { type: "password", id: "key", autocomplete: "off", required: true });
    const wrong = h("p.error", { role: "alert" }, why);
    const form = h("form", {
      on: {
        submit: async (event) => {
          event.preventDefault();
          try {
            await this.console.enter(field.value.trim().replace(/^.*#key=/, ""));
            await this.begin();
          } catch (error) {
            say(wrong, /** @type {Error} */ (error).message);
            field.select();
          }
        },
      },
    }, h("label", { for: "key" }, "Link or key"), field, h("button.main", "Enter"));
    byId("main").replaceChildren(h("section.gate", h("h1", "treevisor"), wrong,
      h("p", "This console opens with a link. On the machine of the tree, this prints one that holds once, for ten minutes:"),
      h("pre", "treevisor web --url"), form));
    field.focus();
  }

  async logout() {
    await post("logout", {}).catch(() => {});
    this.login("You have left the console.");
  }

  mayAct() {
    return this.console.may === "act";
  }

  open(path) {
    location.hash = `#/p${path}`;
  }

  actions(path, verb, hold) {
    if (this.mayAct()) actions(this, path, verb, hold);
    else this.say("This session may only look on.");
  }

  /** Tells a screen reader. */
  say(text) {
    byId("said").textContent = text;
  }

  /** Shows the view that the address names. */
  go() {
    const route = decodeURIComponent(location.hash.slice(1)) || "/";
    if (route === this.route && this.view) return;
    const first = !this.view;
    this.view?.close?.();
    this.route = route;
    const [, kind, ...rest] = route.split("/");
    const path = `/${rest.join("/")}`.replace(/\/+$/, "") || "/";
    /** @type {View} */
    const view =
      kind === "p" ? new ChildView(this, path)
      : kind === "i" ? new IncidentView(this, rest.join("/"))
      : kind === "t" ? new TimelineView(this)
      : kind === "l" ? new LogsView(this, path)
      : kind === "wall" ? new WallView(this)
      : kind === "hosts" ? new HostsView(this)
      : (this.tree ??= new TreeView(this));
    this.view = view;
    document.title = `${view.title} – ${this.console.instance || "treevisor"}`;
    const top = view.top ?? 0;
    view.open?.();
    byId("main").replaceChildren(view.element);
    const at = { t: 1, l: 2, wall: 3, hosts: HOSTS }[kind] ?? 0;
    this.links.forEach((link, place) => set(link, "aria-current", place === at ? "page" : null));
    scrollTo(0, 0);
    this.draw();
    // Its height is known when it is drawn.
    if (top) scrollTo(0, top);
    if (first) return;
    if (view.focus) view.focus();
    else byId("main").focus({ preventScroll: true });
  }

  draw() {
    if (!this.view) return;
    const { console } = this;
    const now = console.now();
    say(this.name.firstChild, console.instance);
    const [root] = console.tree.rows;
    const up = root?.started_at ? `, up ${span(now - Date.parse(root.started_at))}` : "";
    say(this.about, `treevisor ${console.version}${up}${console.may === "view" ? ", looking on" : ""}`);
    if (root?.started_at) this.about.title = `since ${clock(root.started_at)}, ${utc(root.started_at)}`;
    this.count();
    this.warn();
    this.view.draw();
  }

  count() {
    const { counts } = this.console.tree;
    const key = [...counts].join();
    if (this.states.dataset.key === key) return;
    this.states.dataset.key = key;
    const there = Object.keys(SHAPES).filter((state) => counts.get(state));
    const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
    replace(this.states, h("span", plural(total, "worker")), ...there.map((state) =>
      button(h(`span.${state}`, shape({ shape: SHAPES[state] }), `${counts.get(state)?.toLocaleString("en")} ${state}`), () => this.find(`state:${state} kind:worker`), { "data-key": state })));
  }

  /** Shows the tree with something in its search. */
  find(text) {
    if (!(this.view instanceof TreeView)) {
      location.hash = "#/";
      this.go();
    }
    if (this.view instanceof TreeView) this.view.search(text);
  }

  warn() {
    const { console } = this;
    const gave = console.alarms();
    this.alerts.hidden = gave === 0;
    say(this.alerts, `✕ ${gave} given up in the last hour`);
    const silent = span(Math.floor((Date.now() - console.heard) / 1000) * 1000);
    const here = console.root === "here";
    const bad = !here || console.connection !== "live" || console.stale !== "";
    say(this.link, here && console.stale && console.connection === "live" ? "not up to date" : here ? { live: "live", waiting: "connecting", crowded: "no stream", closed: "paused" }[console.connection] : `root ${console.root}`);
    this.link.classList.toggle("bad", bad);
    document.documentElement.classList.toggle("stale", bad);
    const lines = [];
    if (console.root === "gone") lines.push(`${console.instance || "The instance"} does not run. This is how it was last seen, ${silent} ago; the page goes on with its next run.`);
    else if (console.root === "silent") lines.push(`The root does not answer; its last message was ${silent} ago. If it hangs: treevisor -i ${console.instance} panic --force /`);
    else if (console.connection === "crowded") lines.push("This page gets no changes. A browser makes six connections to one server, and each page needs one: close other tabs of this console.");
    else if (console.connection === "waiting" && Date.now() - console.heard > 5000) lines.push(`The console does not answer; its last message was ${silent} ago.`);
    else if (console.stale) lines.push(`The tree could not be fetched: ${console.stale}. It is tried again; what is shown may be old.`);
    if (console.missed) lines.push(console.missed);
    say(this.notice, lines.join(" "));
    byId("notice").hidden = !lines.length;
    this.dismiss.hidden = !console.missed;
  }

  help() {
    const letters = h("input", { type: "checkbox", id: "letters", on: { change: () => {
      this.letters = letters.checked;
      choice("letters", letters.checked ? "on" : "off");
    } } });
    letters.checked = this.letters;
    dialog("Keys",
      h("table", h("tbody", ...KEYS.map(([key, does]) => h("tr", h("th", { scope: "row" }, h("kbd", key)), h("td", does))))),
      h("p", letters, " ", h("label", { for: "letters" }, "Single letters and signs are commands")),
      h("p.meaning", "Search: words of a path, ", h("code", "state:held,stopped"), ", ", h("code", "restarts:>3"), ", ", h("code", "memory:>100MB"), ", ", h("code", "up:<5m"), ", a minus before what is not wanted."));
  }

  pressed(event) {
    const field = event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target;
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      if (field) field.blur();
      else this.back();
      return;
    }
    if (!this.view || !this.letters || field) return;
    // The address may have changed without the view having followed yet: a key is for the view that it names.
    this.go();
    const path = this.view.subject?.();
    const does = /** @type {Record<string, () => void>} */ ({
      "/": () => this.searchField(),
      "!": () => (this.view instanceof TreeView ? this.view.troubles() : undefined),
      "?": () => this.help(),
      t: () => (location.hash = "#/t"),
      ...(path && {
        w: () => this.open(path),
        l: () => (location.hash = `#/l${path}`),
        ".": () => this.actions(path),
      }),
    })[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }

  searchField() {
    if (this.view?.focusSearch) this.view.focusSearch();
    else if (this.view instanceof TreeView) this.view.field.focus();
    else this.find("");
    if (this.view instanceof TreeView) this.view.field.focus();
  }

  back() {
    if (this.view instanceof TreeView) {
      if (this.view.onlyTrouble) this.view.troubles();
      this.view.search("");
    } else if (history.length > 1) history.back();
    else location.hash = "#/";
  }
}

function theme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

// For tests, and for those who are curious.
Object.assign(window, { treevisor: new Page() });
