// The cluster's hosts, and which tree runs on which: what `treevisor hosts` shows, asked for anew while it is looked at.

import { claims, look, store } from "./cluster.js";
import { h, say } from "./dom.js";
import { get, oneByOne } from "./server.js";
import { time } from "./view-child.js";
import { plural, span } from "./words.js";

/** It is asked for so often, in milliseconds. */
const OFTEN = 2000;

/** A table whose rows are replaced; it stays where it is, with what the reader has scrolled and with the focus. */
class Table {
  /** @param {string} caption @param {string[]} titles */
  constructor(caption, titles) {
    this.body = h("tbody");
    this.element = h("div.wide", { tabindex: "0", role: "region", "aria-label": caption }, h("table.plain",
      h("caption", caption),
      h("thead", h("tr", ...titles.map((title) => h("th", { scope: "col" }, title)))),
      this.body));
  }

  /** @param {(Node | string)[][]} rows */
  show(rows) {
    const cell = (content, place) => (place === 0 ? h("th", { scope: "row" }, content) : h("td", content));
    this.body.replaceChildren(...rows.map((cells) => h("tr", ...cells.map(cell))));
  }
}

export class HostsView {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.title = "Hosts";
    this.name = h("h2", "Hosts");
    this.store = h("p");
    this.trouble = h("p.error", { role: "status" });
    this.hosts = new Table("Hosts", ["Host", "State", "Lease left", "Link", "Runs", "Epoch", "Version", "Note"]);
    this.trees = new Table("Trees", ["Tree", "Wanted", "Runs on", "Since", "Token", "Note"]);
    this.tables = h("div", { hidden: true }, this.hosts.element, this.trees.element);
    this.made = "";
    this.element = h("section.hosts", { "aria-label": "Hosts" }, this.name, this.store, this.trouble, this.tables);
    /** Asks for it anew. One request at a time: an earlier answer must not be shown last. */
    this.ask = oneByOne(() => this.load());
    this.timer = setInterval(() => this.ask(), OFTEN);
    this.ask();
  }

  async load() {
    try {
      this.show(await get("api/hosts"));
      say(this.trouble, "");
    } catch (error) {
      say(this.trouble, `${/** @type {Error} */ (error).message}. This is how it was last seen.`);
    }
  }

  /** @param {Cluster | null} cluster */
  show(cluster) {
    if (!cluster) {
      say(this.store, "This machine is no host of a cluster, or its agent does not run.");
      this.tables.hidden = true;
      this.made = "";
      return;
    }
    this.tables.hidden = false;
    say(this.name, `Hosts of ${cluster.cluster}, as ${cluster.here} sees them`);
    say(this.store, `The store: ${store(cluster.store)}`);
    const made = JSON.stringify([cluster.hosts, cluster.instances]);
    if (made === this.made) return;
    this.made = made;
    const hosts = cluster.hosts.map((host) => {
      const [name, shape] = look(host.state);
      return [
        host.name,
        h(`span.${name}`, h("span.shape", { "aria-hidden": "true" }, shape), host.state),
        host.lease_left_ms == null ? "" : span(host.lease_left_ms),
        host.link ?? "",
        plural(host.placed, "subtree"),
        `${host.epoch}`,
        host.version,
        host.note ?? (host.cgroup || host.state === "lost" ? "" : "no cgroup that it may kill: runs nothing"),
      ];
    });
    const trees = claims(cluster.instances).map((claim) => [
      claim.name,
      claim.wanted,
      claim.host ?? "nowhere",
      claim.since_ms == null ? "" : time(claim.since_ms),
      claim.token == null ? "" : `${claim.token}`,
      claim.note,
    ]);
    this.hosts.show(hosts);
    this.trees.show(trees);
  }

  draw() {
    // The server goes on sending what the view before had asked for.
    this.page.console.show({});
  }

  close() {
    clearInterval(this.timer);
  }
}
