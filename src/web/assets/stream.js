// The stream: one connection for all that changes. It is closed while the page is not seen, and connects anew when it is silent.

/** A stream sends something at least every 15 s. */
const SILENCE = 45_000;

/** A page that is not seen for so long closes its stream: a browser opens six to one server. */
const HIDDEN = 30_000;

/** A stream that is not there by then may never be: other tabs have them all. */
const OPENING = 3000;

const KINDS = ["hello", "events", "lost", "rows", "numbers", "logs", "reading", "action", "root", "tick"];

export class Stream {
  /** @param {object} listener @param {(kind: string, data: any) => void} listener.on @param {(state: "live" | "waiting" | "crowded" | "closed") =>
   * void} listener.state @param {() => Promise<boolean>} listener.check before it connects anew: whether there is still a session */
  constructor(listener) {
    this.listener = listener;
    /** @type {EventSource | null} */
    this.source = null;
    /** Whether there is to be one: not before there is a session, and not after it. */
    this.wanted = false;
    /** The run, and the number of the next event. */
    this.run = "";
    this.next = 0;
    this.failures = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.hiding = undefined;
    document.addEventListener("visibilitychange", () => this.seen());
  }

  /** @param {number} next the number of the first event that is wanted */
  open(next) {
    this.close();
    this.wanted = true;
    this.next = next;
    if (document.hidden) {
      this.listener.state("closed");
      return;
    }
    const source = new EventSource(`api/stream?from=${next}&run=${encodeURIComponent(this.run)}`);
    this.source = source;
    this.within(OPENING, () => this.crowded());
    for (const kind of KINDS) source.addEventListener(kind, (event) => this.take(kind, event));
    source.addEventListener("error", () => {
      if (this.source === source) this.again();
    });
  }

  take(kind, event) {
    this.within(SILENCE, () => this.again());
    if (event.lastEventId) this.next = Number(event.lastEventId);
    if (kind === "hello") {
      this.failures = 0;
      this.listener.state("live");
    }
    this.listener.on(kind, JSON.parse(event.data || "null"));
  }

  /** Connects anew, later with each failure. */
  again() {
    this.close();
    this.listener.state("waiting");
    this.failures += 1;
    const wait = Math.min(500 * 2 ** this.failures, 10_000) * (0.7 + 0.6 * Math.random());
    this.within(wait, async () => {
      const there = await this.listener.check();
      // Meanwhile the session may have ended, or the page have been seen again.
      if (!this.wanted || this.source) return;
      if (there) this.open(this.next);
      else this.again();
    });
  }

  /** Requests wait for a connection, and this stream has one: it is given back, so that this page and others can be used. */
  async giveBack() {
    if (!this.source) return;
    this.close();
    this.listener.state("waiting");
    const there = await this.listener.check();
    if (!this.wanted || this.source) return;
    if (there) this.crowded();
    else this.again();
  }

  /** Other pages have all connections. */
  crowded() {
    this.listener.state("crowded");
    this.within(SILENCE, () => this.again());
  }

  within(ms, act) {
    clearTimeout(this.timer);
    this.timer = setTimeout(act, ms);
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  /** There is to be none any more. */
  end() {
    this.wanted = false;
    clearTimeout(this.hiding);
    this.close();
    this.listener.state("closed");
  }

  seen() {
    clearTimeout(this.hiding);
    if (!this.wanted) return;
    if (document.hidden) {
      this.hiding = setTimeout(() => {
        this.close();
        this.listener.state("closed");
      }, HIDDEN);
    } else if (!this.source) {
      this.open(this.next);
    }
  }
}
