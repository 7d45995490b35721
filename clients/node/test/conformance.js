'use strict';
// Drives this client in the conformance tests (clients/README.md): one command a line, one answer a line.

const readline = require('node:readline');
const { Heart } = require('..');

const heart = new Heart({ transport: process.argv[2] ?? 'auto' });

/** `progress=3 pending=2 busy=1500 status=...`; the status is the last one and goes to the end of the line. */
function beat(line) {
  const fields = {};
  const at = line.indexOf('status=');
  if (at >= 0) fields.status = line.slice(at + 'status='.length);
  for (const field of (at >= 0 ? line.slice(0, at) : line).split(' ').filter(Boolean)) {
    const [name, value] = field.split('=');
    if (name === 'busy') fields.busyFor = Number(value);
    else fields[name] = BigInt(value);
  }
  heart.beat(fields);
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [verb] = line.split(' ', 1);
  const rest = line.slice(verb.length + 1);
  let answer = 'ok';
  if (verb === 'end') {
    // As most programs end: nothing is closed, there is just nothing left to do.
    process.stdin.destroy();
    return;
  } else if (verb === 'beat') beat(rest);
  else if (verb === 'flood') {
    // Leases that grow are never held back, so all of these want to be sent.
    for (let at = 1; at <= Number(rest); at++) heart.beat({ busyFor: at * 1000 });
  } else if (verb === 'ready') heart.ready();
  else if (verb === 'stopping') heart.stopping();
  else answer = 'unsupported';
  console.log(answer);
});
