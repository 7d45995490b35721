#!/usr/bin/env node
// The big red button, in JavaScript: kills a part of a running tree, hung or not, and its supervisor starts it afresh.
//
//     npm install ./clients/node
//     node examples/panic_button.js /lab/hearts [INSTANCE]
'use strict';
const { panic } = require('treevisor');

const [path, instance] = process.argv.slice(2);
if (path === undefined) {
  console.error('usage: panic_button.js PATH [INSTANCE]');
  process.exit(2);
}
panic(path, { instance }).then(
  (detail) => console.log(`${path}: killed${detail ? `, ${detail}` : ''}`),
  (error) => {
    console.error(`cannot panic ${path}: ${error.message}`);
    process.exitCode = 1;
  },
);
