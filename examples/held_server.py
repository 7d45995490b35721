#!/usr/bin/env python3
"""A web server on a socket that its supervisor holds: descriptor 3, by the protocol of sd_listen_fds(3).

It opens no socket of its own, so nothing is refused while it crashes or is replaced: connections wait until the next one
accepts them.
"""

import http.server
import os
import socket
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"served by {os.environ.get('TREEVISOR_PATH', 'no supervisor')}, process {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def address_string(self):
        return ""


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, held):
        super().__init__(None, Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = held


if os.environ.get("LISTEN_PID") != str(os.getpid()):
    sys.exit("no socket is held for this process: run it with `listen = ...`")
print(f"{os.environ['LISTEN_FDS']} held: {os.environ['LISTEN_FDNAMES']}", flush=True)
Server(socket.socket(fileno=3)).serve_forever()
