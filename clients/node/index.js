'use strict';
// Reports to treevisor that this program does its work. See README.md, and index.d.ts for what each thing does;
// what goes over the wire is in docs/protocol.md.

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { isMainThread } = require('node:worker_threads');

/** The interval in milliseconds that is reckoned with where the node expects no beats. */
const INTERVAL_ASSUMED = 1000;
/** Beats are never closer than this. */
const BEAT_GAP_MIN = 10;
/** After a beat that was dropped, the next call may try again so soon. */
const RETRY_GAP = 50;
/** The end of a lease is sent sooner than other news: a lease that is no longer needed hides a hang. */
const LEASE_END_GAP = 20;
const LEASE_MAX = 365 * 86400 * 1000;
const STATUS_MAX = 256;
const PATH_MAX = 107;
/** A root that is at work reports every second; one that sends nothing for so long is gone. */
const SILENCE_MAX = 5000;
const NUMBER_MAX = 2n ** 64n - 1n;

/** A number as a frame has it; empty for none. */
function number(value) {
  if (value === undefined || value === null || Number.isNaN(value)) return '';
  const whole = typeof value === 'bigint' ? value : BigInt(Math.trunc(Math.min(Math.max(Number(value), 0), 2 ** 64)));
  if (whole < 0n) return '0';
  return String(whole > NUMBER_MAX ? NUMBER_MAX : whole);
}

/** One line of at most STATUS_MAX bytes, cut between two characters. */
function statusLine(text) {
  // eslint-disable-next-line no-control-regex
  const bytes = Buffer.from(String(text).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' '), 'utf8');
  if (bytes.length <= STATUS_MAX) return bytes;
  let end = STATUS_MAX;
  while ((bytes[end] & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** Whether this is not the process, or not the thread, that the supervisor has started. */
function isOneOfSeveral(env) {
  // cluster and child_process.fork give their children a channel; a program under treevisor that has one is such a child.
  return !isMainThread || env.NODE_UNIQUE_ID !== undefined || process.connected !== undefined;
}

/**
 * A DEALER: zeromq's where that can be loaded, else a stream of our own (stream.js). Only where there is something to talk
 * to: a program without a supervisor need not load it.
 */
function dealer(options, transport = 'auto') {
  if (!['auto', 'zmq', 'stream'].includes(transport)) {
    throw new TypeError(`transport is "auto", "zmq" or "stream", not ${JSON.stringify(transport)}`);
  }
  let zmq;
  try {
    if (transport !== 'stream') zmq = require('zeromq');
  } catch (error) {
    if (transport === 'zmq') throw error;
  }
  if (zmq === undefined) return new (require('./stream').Dealer)(options);
  const { listens, ...known } = options;
  // A context of its own: what the program does with the global one is its own matter.
  return new zmq.Dealer({ ...known, context: new zmq.Context() });
}

class Heart {
  #socket = null;
  #token = '';
  #counts;
  #seq = 0;
  #progress;
  #pending;
  #status = '';
  #lease;
  #leasedUntil;
  #lastBeat;
  #retry = false;
  #heldBack = false;
  #due = new Set();
  #dropped = 0;
  #interval;

  constructor({ env = process.env, counts = !isOneOfSeveral(env), transport = 'auto' } = {}) {
    this.#counts = counts;
    const endpoint = env.TREEVISOR_ENDPOINT ?? '';
    const token = env.TREEVISOR_TOKEN ?? '';
    const at = endpoint.slice('ipc://'.length);
    const length = Buffer.byteLength(at);
    // A name in the abstract namespace (@) is refused: any process could bind it.
    if (!endpoint.startsWith('ipc://') || length === 0 || length > PATH_MAX || at.startsWith('@')) return;
    if (!/^[0-9a-fA-F]{32}$/.test(token)) return;
    const millis = Number(env.TREEVISOR_HEARTBEAT_MS);
    this.#interval = Number.isSafeInteger(millis) && millis > 0 ? millis : undefined;
    this.#token = token;
    try {
      // Two beats at most wait for a node: a queue of old ones would be of no use to it.
      const options = { sendHighWaterMark: 2, receiveHighWaterMark: 2, sendTimeout: 0, linger: 0, reconnectInterval: 20 };
      this.#socket = dealer({ ...options, listens: false }, transport);
      this.#socket.connect(endpoint);
    } catch (error) {
      if (transport !== 'auto') throw error; // It was asked for by name.
      this.#socket = null; // Out of descriptors, say: the program runs on, unwatched.
    }
  }

  get supervised() {
    return this.#socket !== null;
  }

  get interval() {
    return this.#interval;
  }

  get dropped() {
    return this.#dropped;
  }

  beat({ progress, pending, busyFor, status } = {}) {
    if (this.#socket === null) return;
    if (progress !== undefined) this.#progress = progress;
    if (pending !== undefined) this.#pending = pending;
    if (status !== undefined) this.#status = statusLine(status);
    this.#lease = busyFor > 0 ? Math.max(1, Math.round(Math.min(busyFor, LEASE_MAX))) : undefined;
    this.#heldBack = true;
    const now = performance.now();
    if (!this.#isTime(now)) return;
    this.#lastBeat = now;
    this.#flush(now);
  }

  ready() {
    this.#say('READY');
  }

  stopping() {
    this.#say('STOPPING');
  }

  every(milliseconds = (this.#interval ?? INTERVAL_ASSUMED) / 2, fields = undefined) {
    if (this.#socket === null) return () => {};
    const beat = () => this.beat(fields ? fields() : undefined);
    beat();
    const timer = setInterval(beat, milliseconds);
    timer.unref(); // A heart does not keep a program alive that has nothing left to do.
    return () => clearInterval(timer);
  }

  close({ linger = 0 } = {}) {
    if (this.#socket === null) return;
    this.#socket.linger = linger;
    this.#socket.close();
    this.#socket = null;
  }

  #isTime(now) {
    if (this.#lastBeat === undefined) return true;
    const since = now - this.#lastBeat;
    let gap = Math.max((this.#interval ?? INTERVAL_ASSUMED) / 4, BEAT_GAP_MIN);
    if (this.#retry) gap = Math.min(gap, RETRY_GAP);
    if (this.#lease !== undefined) {
      // Sent at once, unless the lease that stands does nearly as well.
      const stands = this.#leasedUntil !== undefined && this.#leasedUntil + gap >= now + this.#lease;
      return since >= gap || !stands;
    }
    if (this.#leasedUntil !== undefined) gap = Math.min(gap, LEASE_END_GAP);
    return since >= gap;
  }

  #say(kind) {
    if (this.#socket === null) return;
    this.#due.delete(kind);
    this.#due.add(kind);
    this.#flush(performance.now());
  }

  /**
   * Hands what is due to libzmq, without waiting. What there is room for is taken before `send` returns, whether or not the
   * event loop turns again, so a program that only loops may beat too; the promise has nothing to add.
   */
  #flush(now) {
    for (const kind of this.#due) {
      if (!this.#send(['TV1', kind, this.#token])) return;
      this.#due.delete(kind);
    }
    if (!this.#heldBack) return;
    this.#retry = !this.#send(this.#frames());
    if (this.#retry) {
      this.#dropped += 1;
      return;
    }
    this.#heldBack = false;
    this.#seq += 1;
    this.#leasedUntil = this.#lease === undefined ? undefined : now + this.#lease;
  }

  #send(frames) {
    try {
      // No room: the node is gone or does not read. The next beat replaces this one.
      if (!this.#socket.writable) return false;
      this.#socket.send(frames).catch(() => {});
      return true;
    } catch {
      return false;
    }
  }

  #frames() {
    const seq = this.#counts ? String(this.#seq + 1) : '';
    const fields = [seq, number(this.#progress), number(this.#pending), number(this.#lease), this.#status];
    return ['TV1', 'BEAT', this.#token, ...fields];
  }
}

class TreevisorError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'TreevisorError';
    this.code = code;
  }
}

/** The directory in which the instances of this user have theirs. */
function base(env) {
  for (const [name, below] of [['TREEVISOR_RUNTIME_DIR', ''], ['XDG_RUNTIME_DIR', 'treevisor']]) {
    const value = env[name] ?? '';
    if (path.isAbsolute(value)) return path.join(value, below);
  }
  const uid = process.geteuid();
  return uid === 0 ? '/run/treevisor' : `/tmp/treevisor-${uid}`;
}

/** Whether some process listens at this socket. A root takes a connection without a message for nothing. */
function isBound(socket) {
  return new Promise((resolve) => {
    const probe = net.connect(socket);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    // Its backlog is full: a process is there that is stopped or swamped.
    probe.once('error', (error) => resolve(error.code === 'EAGAIN'));
  });
}

/**
 * Refuses a directory that lies where every user can make one, and that another user has made or may write to:
 * /tmp/treevisor-UID is missing as long as its user has had no tree. Root, whose own are elsewhere, has named that of
 * another user on purpose.
 */
function check(directory) {
  if ((fs.statSync(path.dirname(directory)).mode & 0o002) === 0) return;
  const refuse = (why) => {
    throw new TreevisorError('no_instance', `cannot trust the directory ${directory}: ${why}`);
  };
  const found = fs.statSync(directory);
  const user = process.geteuid();
  for (const { uid } of [fs.lstatSync(directory), found]) {
    if (user !== 0 && uid !== 0 && uid !== user) refuse(`it belongs to uid ${uid}`);
  }
  if ((found.mode & 0o022) !== 0 && (found.mode & 0o1000) === 0) refuse('others may write to it');
}

/** The control socket of an instance: the named one, that of TREEVISOR_INSTANCE, or the only one that runs. */
async function find(instance, env = process.env) {
  const directory = base(env);
  const wanted = instance ?? (env.TREEVISOR_INSTANCE || undefined);
  const entries = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  const bound = await Promise.all(entries.map((name) => isBound(path.join(directory, name, 'control'))));
  const running = entries.filter((_, at) => bound[at]);
  if (wanted !== undefined && !running.includes(wanted)) {
    throw new TreevisorError('no_instance', `no instance "${wanted}" runs in ${directory}`);
  }
  if (running.length === 0) throw new TreevisorError('no_instance', `no instance runs in ${directory}`);
  if (wanted === undefined && running.length > 1) {
    throw new TreevisorError('no_instance', `several instances run; name one of them: ${running.join(', ')}`);
  }
  const found = path.join(directory, wanted ?? running[0]);
  check(directory);
  check(found);
  return path.join(found, 'control');
}

/** Which run of an instance has this socket, as its root has written down before it answers; undefined if unknown. */
async function runOf(socket) {
  try {
    return JSON.parse(await fs.promises.readFile(path.join(path.dirname(socket), 'instance.json'), 'utf8')).mark;
  } catch {
    return undefined;
  }
}

/** Asks the root for one thing and gives the last reply. */
async function ask(verb, { instance, socket, timeout = 5000 } = {}) {
  const path = socket ?? (await find(instance));
  const root = dealer({ linger: 0, sendTimeout: timeout, maxMessageSize: 262144 });
  try {
    root.connect(`ipc://${path}`);
    const question = { request: 1, within_ms: Math.round(timeout), verb };
    const until = (milliseconds) => {
      root.receiveTimeout = milliseconds;
    };
    until(timeout);
    await root.send(['TV1', 'ASK', JSON.stringify(question)]);
    for (;;) {
      const [version, kind, ...body] = await root.receive();
      if (String(version) !== 'TV1' || String(kind) !== 'TOLD') continue;
      const { request, reply } = JSON.parse(Buffer.concat(body).toString('utf8'));
      if (request !== question.request) continue;
      if (reply.is === 'refused') throw new TreevisorError(reply.why, reply.message);
      if (reply.is !== 'accepted') return reply;
      until(Math.max(timeout, SILENCE_MAX));
    }
  } catch (error) {
    if (error && error.code === 'EAGAIN') throw new TreevisorError('no_answer', `no answer to ${verb.verb} in time`);
    throw error;
  } finally {
    root.close();
  }
}

async function status(at = '/', options = {}) {
  return (await ask({ verb: 'status', path: at }, options)).status;
}

async function panic(at, { hold = false, ...options } = {}) {
  const { outcome, detail } = await ask({ verb: 'panic', path: at, hold }, options);
  if (outcome !== 'ok') throw new TreevisorError(outcome, detail || outcome);
  return detail ?? '';
}

/** The root is notified this often that a follower is there; it forgets one that is silent for ten seconds. */
const STILL_THERE_EVERY = 3000;
/** How often a follower that receives nothing looks whether the instance is still there. */
const LOOK = 1000;
/** How long the last messages of a root that has ended may be on their way. */
const LAST_WORDS = 100;
/** Numbers of requests. Each following has one of its own, from FIRST_FOLLOWING on. */
const [PING, STILL_FOLLOWING, FIRST_FOLLOWING] = [1, 2, 3];

class Events {
  #dealer = null;
  #open;
  #timer;
  #waiting = [];
  #lost = 0;
  #closed = false;
  /** The last step that was begun: they are taken one after the other, however they are asked for. */
  #step = Promise.resolve();

  constructor(at, { instance, socket, timeout = 5000 } = {}) {
    this.#open = async () => {
      const path = socket ?? (await find(instance));
      // Few are taken before they are asked for: the root drops what a slow reader cannot take, and reports how many.
      const root = dealer({ linger: 0, sendTimeout: timeout, receiveHighWaterMark: 16, maxMessageSize: 262144 });
      this.#dealer = root;
      root.connect(`ipc://${path}`);
      const ask = (request, verb) =>
        root.send(['TV1', 'ASK', JSON.stringify({ request, within_ms: Math.round(timeout), verb })]);
      const run = await runOf(path);
      const state = { path, run, silentAt: performance.now() + timeout, answered: false, request: FIRST_FOLLOWING };
      // `next` is the number of the event that comes next; it is left out where that is not known yet.
      state.begin = () => ask(state.request, { verb: 'events', path: at, from: state.next, follow: true });
      // A tree in which nothing happens sends nothing, so another answer must show that the root is at work.
      await ask(PING, { verb: 'ping' });
      await state.begin();
      this.#timer = setInterval(() => {
        if (root.closed || !root.writable) return;
        ask(STILL_FOLLOWING, { verb: 'still-following', request: state.request }).catch(() => {});
      }, STILL_THERE_EVERY);
      this.#timer.unref(); // Only a call that waits for an event keeps the program alive.
      return state;
    };
  }

  get lost() {
    return this.#lost;
  }

  next() {
    const step = this.#step.then(() => this.#next());
    this.#step = step.catch(() => {});
    return step;
  }

  async return(value) {
    this.close();
    return { done: true, value };
  }

  close() {
    this.#closed = true;
    this.#waiting = [];
    clearInterval(this.#timer);
    if (this.#dealer !== null && !this.#dealer.closed) this.#dealer.close();
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async #next() {
    try {
      if (!this.#closed && typeof this.#open === 'function') this.#open = await this.#open();
      while (!this.#closed && this.#waiting.length === 0) {
        if (!(await this.#hear(this.#open))) this.close();
      }
    } catch (error) {
      const wanted = this.#closed;
      this.close();
      if (!wanted) throw error;
    }
    return this.#waiting.length > 0 ? { done: false, value: this.#waiting.shift() } : { done: true, value: undefined };
  }

  /** Takes one message, or looks whether the instance is there; false when it has ended. */
  async #hear(state) {
    const receive = async (milliseconds) => {
      this.#dealer.receiveTimeout = milliseconds;
      try {
        return await this.#dealer.receive();
      } catch (error) {
        if (error && error.code === 'EAGAIN') return undefined;
        throw error;
      }
    };
    let message = await receive(LOOK);
    if (message === undefined) {
      if (this.#closed) return false;
      if (await isBound(state.path)) {
        if (state.answered || performance.now() < state.silentAt) return true;
        throw new TreevisorError('no_answer', 'no answer to events in time');
      }
      if (this.#closed) return false;
      message = await receive(LAST_WORDS);
      if (message === undefined) return false;
    }
    const [version, kind, ...body] = message;
    if (String(version) !== 'TV1' || String(kind) !== 'TOLD') return true;
    const { request, reply } = JSON.parse(Buffer.concat(body).toString('utf8'));
    if (request !== PING && request !== state.request) return true;
    if (reply.is === 'refused' && reply.why === 'forgotten') {
      // Another root of the instance has events of its own; those that were followed have ended with the former one.
      if (state.run !== undefined && (await runOf(state.path)) !== state.run) return false;
      // This process was stopped for so long. It goes on where it was.
      state.request += 1;
      await state.begin();
      return true;
    }
    if (reply.is === 'refused') throw new TreevisorError(reply.why, reply.message);
    state.answered = true;
    if (reply.is === 'events' && !this.#closed) {
      state.next = reply.next ?? 0; // Left out when it is 0.
      this.#lost += reply.lost ?? 0;
      this.#waiting.push(...reply.events);
    }
    return true;
  }
}

function follow(at = '/', options = {}) {
  return new Events(at, options);
}

module.exports = { Events, Heart, TreevisorError, status, panic, follow };
