// What the page's modules take from a browser, as far as tests of the page's model need it: requests that a test answers, a stream
// that a test fills, and no clock.

/** @type {Map<string, string>} */
const stored = new Map();

const timeout = globalThis.setTimeout;

Object.assign(globalThis, {
  // A test does not wait for what the page does much later.
  setTimeout: (act, ms) => {
    const timer = timeout(act, ms);
    if (ms > 10) timer.unref();
    return timer;
  },
  document: { hidden: false, addEventListener() {} },
  location: new URL("https://ops.example/shop/#/"),
  requestAnimationFrame: () => 0,
  setInterval: () => 0,
  EventSource: class {
    addEventListener() {}
    close() {}
  },
  localStorage: { getItem: (name) => stored.get(name) ?? null, setItem: (name, value) => void stored.set(name, value) },
});

/** A request that waits for its answer. @type {{ url: string, body: any, headers: any, answer: (value: any, status?: number) => Promise<void>, fail: (error?: Error) => Promise<void> }[]} */
export const requests = [];

globalThis.fetch = (url, { body, headers } = {}) =>
  new Promise((done, failed) => {
    const end = (act) => {
      requests.splice(requests.indexOf(request), 1);
      act();
      return settled();
    };
    const request = {
      url, headers,
      body: body && JSON.parse(body),
      answer: (value, status = 200) => end(() => done({ ok: status < 400, status, text: async () => JSON.stringify(value ?? null) })),
      fail: (error = new TypeError("it does not answer")) => end(() => failed(error)),
    };
    requests.push(request);
  });

/** All that follows from what has been done. */
export function settled() {
  return new Promise((done) => setTimeout(done, 1));
}

/** The one request to an address that waits. */
export function asked(url) {
  const found = requests.filter((one) => one.url.startsWith(url));
  if (found.length !== 1) throw new Error(`${found.length} requests to ${url}, of ${requests.map((one) => one.url).join()}`);
  return found[0];
}

/** Whether none waits. */
export function idle(url) {
  return requests.every((one) => !one.url.startsWith(url));
}

/** A tree of a supervisor with workers, as the server sends it. */
export function tree(workers, { run = "r1", next = 1, root = "here", columns = {} } = {}) {
  const names = ["shop", ...Object.keys(workers)];
  return {
    at: new Date().toISOString(), instance: "shop", version: "1", run, next, root,
    rows: {
      parent: names.map((_, at) => (at ? 0 : null)),
      name: names,
      kind: names.map((_, at) => (at ? "worker" : "supervisor")),
      state: ["running", ...Object.values(workers)],
      pid: names.map((_, at) => at + 1),
      incarnation: names.map(() => 1),
      ...columns,
    },
  };
}
