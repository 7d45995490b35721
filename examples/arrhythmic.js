#!/usr/bin/env node
// Arrhythmia: a worker whose heart cannot keep time, in JavaScript.
//
//     npm install ./clients/node
//     treevisor run --heartbeat 1s --misses 2 -- node examples/arrhythmic.js
//
// Each turn of its loop takes a random time of up to three intervals, then it beats; and in one turn out of ten it crashes
// with a segmentation fault. Its supervisor takes the long pauses for a hang and the crash for what it is.
'use strict';
const { setTimeout: sleep } = require('node:timers/promises');
const { Heart } = require('treevisor');

async function main() {
  const heart = new Heart();
  for (let turn = 1; ; turn++) {
    await sleep(Math.random() * 3 * (heart.interval ?? 1000));
    if (Math.random() < 0.1) {
      console.error('my heart!');
      process.kill(process.pid, 'SIGSEGV');
    }
    heart.beat({ status: `turn ${turn}` });
  }
}

main();
