#!/usr/bin/env node
// A web server that knows nothing of treevisor, in JavaScript: it is asked whether it is well.
//
//     treevisor run --probe-http http://127.0.0.1:8082/health --misses 3 --grace 5s -- node examples/web_server.js 8082
//     curl http://127.0.0.1:8082/hang      its event loop stands still, and no request is served any more: it is
//     started again
//
// usage: web_server.js [PORT]
'use strict';
const http = require('node:http');

const pages = { '/': 'hello\n', '/health': 'well\n' };

http
  .createServer((request, response) => {
    if (request.url === '/hang') for (;;);
    const page = pages[request.url];
    response.writeHead(page === undefined ? 404 : 200).end(page ?? 'no such page\n');
  })
  .listen(Number(process.argv[2] ?? 8082), '127.0.0.1');
