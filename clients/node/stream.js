'use strict';
// As much of ZMTP 3.0 as a DEALER needs that talks to a ROUTER over a UNIX stream: docs/protocol.md, section 11. It takes
// the place of zeromq's Dealer where that package is missing, has the part of its interface that is used here, and needs
// nothing but an event loop that turns.

const net = require('node:net');

const [MORE, LONG, COMMAND] = [1, 2, 4];

const GREETING = Buffer.alloc(64);
GREETING.set([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3]);
GREETING.write('NULL', 12);
const READY = Buffer.from('\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0', 'latin1');

/** A longer command is none that this side could know; it is passed over. */
const COMMAND_MAX = 512;
/** The limits of protocol.md on what a root sends. */
const [FRAME_MAX, FRAMES_MAX] = [262144, 256];
/** A connection that could not be made, or that is gone, is made anew after so long. */
const RECONNECT_GAP = 50;
/**
 * The other side may leave what is written unread for so long; then the connection is given up. A write that is not over
 * keeps a program alive, whatever `unref` says, and it is to end when it has nothing left to do.
 */
const UNREAD_MAX = 5000;

function frame(flags, body) {
  if (body.length < 256) return Buffer.concat([Buffer.from([flags, body.length]), body]);
  const head = Buffer.alloc(9);
  head[0] = flags | LONG;
  head.writeBigUInt64BE(BigInt(body.length), 1);
  return Buffer.concat([head, body]);
}

function message(frames) {
  return Buffer.concat(frames.map((body, at) => frame(at < frames.length - 1 ? MORE : 0, Buffer.from(body))));
}

function again(what) {
  return Object.assign(new Error(what), { code: 'EAGAIN' });
}

class Dealer {
  /** As of zeromq's: -1 is for ever. A call that waits keeps the program alive, nothing else does. */
  receiveTimeout = -1;
  linger = 0;
  closed = false;
  #sendMax;
  #receiveMax;
  #frameMax;
  #listens;
  #path = '';
  #socket = null;
  #isOpen = false;
  #out = [];
  #messages = [];
  #waiting = null;
  #parse = null;
  #again = null;

  /** `listens: false` is for a program that asks nothing: what the other side sends is passed over. */
  constructor({ sendHighWaterMark = 1000, receiveHighWaterMark = 1000, maxMessageSize = FRAME_MAX, listens = true } = {}) {
    this.#sendMax = sendHighWaterMark;
    this.#receiveMax = receiveHighWaterMark;
    this.#frameMax = maxMessageSize;
    this.#listens = listens;
  }

  /** Connects, and connects again, until it is closed. */
  connect(endpoint) {
    this.#path = endpoint.slice('ipc://'.length);
    this.#connect();
  }

  /** Whether there is room for one more message. */
  get writable() {
    return !this.closed && this.#out.length < this.#sendMax;
  }

  /** Sends a message; it waits for the connection where there is none yet. Rejects, with EAGAIN, when there is no room. */
  async send(frames) {
    if (!this.writable) throw again('there is no room for a message');
    this.#out.push(message(frames));
    this.#flush();
  }

  /** The next message, as a list of buffers. Rejects with EAGAIN after `receiveTimeout`, and when the socket is closed. */
  receive() {
    const next = this.#messages.shift();
    this.#socket?.resume();
    if (next !== undefined) return Promise.resolve(next);
    if (this.closed) return Promise.reject(again('the socket is closed'));
    return new Promise((resolve, reject) => {
      const over = () => done(() => reject(again('no message has come')));
      // The longest that a timer takes stands for ever.
      const timer = setTimeout(over, this.receiveTimeout < 0 ? 2 ** 31 - 1 : this.receiveTimeout);
      const done = (end) => {
        clearTimeout(timer);
        this.#waiting = null;
        end();
      };
      this.#waiting = { done, over, resolve };
    });
  }

  /** Closes it. What was not sent by then has `linger` milliseconds left. */
  close() {
    if (this.closed) return;
    this.closed = true;
    this.#waiting?.over();
    clearTimeout(this.#again);
    const socket = this.#socket;
    if (socket === null || this.linger <= 0) {
      this.#out = [];
      socket?.destroy();
      return;
    }
    const timer = setTimeout(() => socket.destroy(), this.linger);
    socket.once('close', () => clearTimeout(timer));
    this.#flush();
  }

  #connect() {
    // A name that Node.js does not take is one of no use, as one is at which nothing listens.
    const socket = net.connect({ path: this.#path });
    socket.unref();
    this.#socket = socket;
    this.#parse = new Parser(this.#frameMax, this.#listens);
    socket.on('error', () => {}); // 'close' follows.
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      this.#isOpen = false;
      this.#socket = null;
      if (!this.closed) this.#again = setTimeout(() => this.#connect(), RECONNECT_GAP).unref();
    });
    socket.write(Buffer.concat([GREETING, READY]));
  }

  #flush() {
    const socket = this.#socket;
    // What the kernel has not taken is not added to: it would become a queue of old news.
    while (this.#isOpen && this.#out.length > 0 && socket.writableLength === 0) {
      const bytes = this.#out.shift();
      let isOver = false;
      socket.write(bytes, () => {
        isOver = true;
        if (this.#socket === socket) this.#flush();
      });
      // Most often the kernel has it by now, and there is nothing to wait for.
      if (socket.writableLength > 0) setTimeout(() => isOver || socket.destroy(), UNREAD_MAX).unref();
    }
    if (this.closed && this.#isOpen && this.#out.length === 0) socket.end();
  }

  #take(bytes) {
    const socket = this.#socket;
    const { commands, messages, isBroken } = this.#parse.take(bytes);
    if (isBroken) return socket.destroy();
    for (const [name, rest] of commands) {
      if (name === 'READY') this.#isOpen = true;
      else if (name === 'ERROR') return socket.destroy();
      else if (name === 'PING' && rest.length >= 2 && socket.writableLength === 0) {
        socket.write(frame(COMMAND, Buffer.concat([Buffer.from('\x04PONG'), rest.subarray(2, 18)])));
      }
    }
    this.#messages.push(...messages);
    if (this.#waiting !== null && this.#messages.length > 0) {
      const { done, resolve } = this.#waiting;
      done(() => resolve(this.#messages.shift()));
    }
    // The other side sees that this one is slow, and may drop what it has.
    if (this.#messages.length >= this.#receiveMax) socket.pause();
    this.#flush();
  }
}

/** Takes the bytes of one connection apart. */
class Parser {
  #frameMax;
  #keeps;
  #bytes = Buffer.alloc(0);
  #greeted = false;
  #skip = 0;
  #parts = [];

  constructor(frameMax, keeps) {
    this.#frameMax = frameMax;
    this.#keeps = keeps;
  }

  /** What is whole with these bytes: commands as name and rest, messages as lists of frames. */
  take(bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    const found = { commands: [], messages: [], isBroken: false };
    try {
      while (this.#step(found));
    } catch {
      found.isBroken = true;
    }
    return found;
  }

  #drop(count) {
    this.#bytes = this.#bytes.subarray(count);
  }

  /** Takes one thing; false when it is not there as a whole. */
  #step(found) {
    const skipped = Math.min(this.#skip, this.#bytes.length);
    this.#skip -= skipped;
    this.#drop(skipped);
    const head = this.#bytes;
    if (!this.#greeted) {
      if (head.length < 64) return false;
      const isNull = head.subarray(12, 32).equals(GREETING.subarray(12, 32));
      if (head[0] !== 0xff || !(head[9] & 1) || head[10] < 3 || !isNull) throw new Error('no ZMTP 3 with NULL');
      this.#greeted = true;
      this.#drop(64);
      return true;
    }
    if (head.length === 0) return false;
    const flags = head[0];
    if (flags & ~(MORE | LONG | COMMAND)) throw new Error('no frame');
    const width = flags & LONG ? 8 : 1;
    if (head.length < 1 + width) return false;
    const length = flags & LONG ? Number(head.readBigUInt64BE(1)) : head[1];
    const isWanted = flags & COMMAND ? length >= 1 && length <= COMMAND_MAX : this.#keeps;
    if (!isWanted) {
      this.#skip = length;
      this.#drop(1 + width);
      return true;
    }
    if (length > this.#frameMax || this.#parts.length >= FRAMES_MAX) throw new Error('more than the protocol allows');
    if (head.length < 1 + width + length) return false;
    const body = Buffer.from(head.subarray(1 + width, 1 + width + length));
    this.#drop(1 + width + length);
    if (flags & COMMAND) {
      found.commands.push([body.toString('latin1', 1, 1 + body[0]), body.subarray(1 + body[0])]);
      return true;
    }
    this.#parts.push(body);
    if (!(flags & MORE)) {
      found.messages.push(this.#parts);
      this.#parts = [];
    }
    return true;
  }
}

module.exports = { Dealer };
