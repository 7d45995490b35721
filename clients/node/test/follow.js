'use strict';
// A follower that the root has forgotten asks again, from where it was, and ends where another root has forgotten it; on
// each transport that can be loaded here. The root is a script: a listener that speaks as much of docs/protocol.md,
// section 11, as it takes.

const assert = require('node:assert');
const fs = require('node:fs');
const Module = require('node:module');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const GREETING = Buffer.alloc(64);
GREETING.set([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3]);
GREETING.write('NULL', 12);
const READY = Buffer.from('\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER', 'latin1');

/** The verbs of a follower, and what the root replies to each: `answer(request, verb)` returns replies with their numbers. */
function root(at, answer) {
  const asked = [];
  const server = net.createServer((socket) => {
    let bytes = Buffer.alloc(0);
    let greeted = false;
    socket.on('error', () => {});
    socket.write(GREETING);
    socket.on('data', (more) => {
      bytes = Buffer.concat([bytes, more]);
      if (!greeted) {
        if (bytes.length < 64) return;
        greeted = true;
        bytes = bytes.subarray(64);
        socket.write(READY);
      }
      for (;;) {
        const isLong = bytes.length > 0 && (bytes[0] & 2) !== 0;
        const head = isLong ? 9 : 2;
        if (bytes.length < head) return;
        const length = isLong ? Number(bytes.readBigUInt64BE(1)) : bytes[1];
        if (bytes.length < head + length) return;
        const [flags, body] = [bytes[0], bytes.subarray(head, head + length)];
        bytes = bytes.subarray(head + length);
        if (flags & 5) continue; // A command, or a frame before the last one.
        const { request, verb } = JSON.parse(body.toString());
        asked.push(verb);
        for (const [number, reply] of answer(request, verb)) {
          const text = Buffer.from(JSON.stringify({ request: number, reply }));
          const last = Buffer.concat([Buffer.from([2]), Buffer.alloc(8), text]);
          last.writeBigUInt64BE(BigInt(text.length), 1);
          socket.write(Buffer.concat([Buffer.from('\x01\x03TV1\x01\x04TOLD', 'latin1'), last]));
        }
      }
    });
  });
  return new Promise((resolve) => server.listen(at, () => resolve({ asked, close: () => server.close() })));
}

async function goesOnWhereItWas(at) {
  const { follow } = require('..');
  const events = (event, next) => ({ is: 'events', events: [{ id: event }], lost: event - 7, end: false, next });
  const forgotten = { is: 'refused', why: 'forgotten', message: '' };
  const { asked, close } = await root(at, (request, verb) => {
    if (verb.verb !== 'events') return [];
    // Twice, as several messages of the follower may have come late; and one that was still under way.
    if (verb.from === undefined) return [[request, events(7, 12)], [request, forgotten], [request, forgotten]];
    return [[request - 1, events(8, 99)], [request, events(9, 15)]];
  });
  const follower = follow('/web', { socket: at, timeout: 20000 });
  const seen = [(await follower.next()).value, (await follower.next()).value];
  assert.deepStrictEqual(seen, [{ id: 7 }, { id: 9 }]);
  assert.strictEqual(follower.lost, 2);
  follower.close();
  close();
  const ask = { verb: 'events', path: '/web', follow: true };
  // On a busy machine it has also sent that it is still there.
  const begun = asked.filter(({ verb }) => verb !== 'still-following');
  assert.deepStrictEqual(begun, [{ verb: 'ping' }, ask, { ...ask, from: 12 }]);
}

async function endsWithItsRun(at) {
  const { follow } = require('..');
  const file = path.join(path.dirname(at), 'instance.json');
  fs.writeFileSync(file, JSON.stringify({ mark: 'a' }));
  const { asked, close } = await root(at, (request, verb) => {
    if (verb.verb !== 'events') return [];
    const told = { is: 'events', events: [{ id: verb.from ?? 7 }], lost: 0, end: false, next: 12 };
    if (verb.from !== undefined) return [[request, told]];
    fs.writeFileSync(file, JSON.stringify({ mark: 'b' }));
    return [[request, told], [request, { is: 'refused', why: 'forgotten', message: '' }]];
  });
  const follower = follow('/web', { socket: at, timeout: 20000 });
  assert.deepStrictEqual((await follower.next()).value, { id: 7 });
  assert.deepStrictEqual(await follower.next(), { done: true, value: undefined });
  close();
  fs.rmSync(file);
  assert.strictEqual(asked.filter(({ verb }) => verb === 'events').length, 1);
}

(async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tv'));
  const load = Module._load;
  try {
    await goesOnWhereItWas(path.join(directory, 'any'));
    await endsWithItsRun(path.join(directory, 'run'));
    Module._load = (name, ...rest) => {
      if (name === 'zeromq') throw new Error('hidden');
      return load(name, ...rest);
    };
    await goesOnWhereItWas(path.join(directory, 'stream'));
    await endsWithItsRun(path.join(directory, 'streamed'));
  } finally {
    Module._load = load;
    fs.rmSync(directory, { recursive: true });
  }
})();
