#!/usr/bin/env python3
"""The shop's pages, served from a socket that the supervisor holds (descriptor 3).

GET /        counts the visit, and leaves a job for the workers
GET /crash   ends the process at once
"""

import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from store import Store, notify

VERSION = os.environ.get("VERSION", "1")


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            print("fatal: asked to crash", flush=True)
            os._exit(3)
        with Store() as store:
            visits = store.ask("INCR", "visits")
            store.ask("RPUSH", "jobs", f"thank visitor {visits}")
        body = f"version {VERSION}, copy {os.environ['TREEVISOR_NUMBER']}, visit {visits}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # what is being answered is answered before the process ends

    def __init__(self):
        super().__init__(None, Page, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=3)
        # Another copy may take the connection between our poll and our accept.
        self.socket.setblocking(False)

    def service_actions(self):
        # Called twice a second by the loop that accepts: if that hangs, so does the heartbeat.
        notify("WATCHDOG=1")


if os.environ.get("LISTEN_PID") != str(os.getpid()):
    sys.exit("no socket is held for this process: it needs `listen`")
server = Server()
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
with Store() as store:
    store.ask("PING")
print(f"version {VERSION} is ready", flush=True)
notify(f"READY=1\nSTATUS=version {VERSION}")
server.serve_forever()
server.server_close()
