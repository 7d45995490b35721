#!/usr/bin/env python3
"""A web server that knows nothing of treevisor, in Python: it is asked whether it is well.

    treevisor run --probe-http http://127.0.0.1:8081/health --misses 3 --grace 5s -- python3 examples/web_server.py 8081
    curl http://127.0.0.1:8081/hang         its loop stands still, and no request is served: it is started again

usage: web_server.py [PORT]
"""

import http.server
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/hang":
            threading.Event().wait()
        pages = {"/": b"hello\n", "/health": b"well\n"}
        page = pages.get(self.path)
        self.send_response(404 if page is None else 200)
        self.end_headers()
        self.wfile.write(page or b"no such page\n")

    def log_message(self, *_):
        pass  # A probe comes by every second.


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8081
# One request after the other: what /health says is true of the loop that serves.
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
