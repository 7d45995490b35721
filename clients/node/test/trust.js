'use strict';
// An instance that another user may have put in /tmp is not asked anything.

const assert = require('node:assert');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { status } = require('..');

(async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tv'));
  const base = path.join(directory, 'treevisor-7');
  fs.mkdirSync(path.join(base, 'a'), { recursive: true });
  let asked = 0;
  const root = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => (asked += 1));
  });
  await new Promise((resolve) => root.listen(path.join(base, 'a', 'control'), resolve));
  process.env.TREEVISOR_RUNTIME_DIR = base;
  delete process.env.TREEVISOR_INSTANCE;
  const refused = (code, message) => assert.rejects(status('/', { timeout: 200 }), { code, message });
  const uid = process.geteuid;
  try {
    fs.chmodSync(base, 0o777);
    fs.chmodSync(directory, 0o1777); // As /tmp is.
    await refused('no_instance', /others may write/);
    fs.chmodSync(base, 0o755);
    if (uid() === 0) fs.chownSync(base, 65533, 0);
    const owner = fs.statSync(base).uid;
    process.geteuid = () => owner + 1;
    await refused('no_instance', /belongs to uid/);
    assert.strictEqual(asked, 0);
    // Those that are asked come last: what they send may arrive after they have given up.
    process.geteuid = () => owner;
    await refused('no_answer', /./);
    fs.chmodSync(base, 0o777);
    fs.chmodSync(directory, 0o700);
    process.geteuid = uid;
    await refused('no_answer', /./); // No other user can have made it.
  } finally {
    process.geteuid = uid;
    root.close();
    fs.rmSync(directory, { recursive: true });
  }
})();
