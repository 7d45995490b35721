#!/usr/bin/env node
// Watches over a program that `treevisor run` supervises, in JavaScript: one line for each thing that happens to it.
//
//     npm install ./clients/node
//     treevisor run --name app --heartbeat 1s --misses 2 -- node examples/arrhythmic.js
//     node examples/monitor.js app
'use strict';
const { follow } = require('treevisor');

async function main() {
  for await (const event of follow('/', { instance: process.argv[2] })) {
    console.log(event.at, event.path, event.kind, event.signal_name ?? event.code ?? '');
  }
}

main().catch((error) => {
  console.error(`cannot follow: ${error.message}`);
  process.exitCode = 1;
});
