"""The few words of Redis's protocol and of sd_notify that the shop needs."""

import os
import socket


class Store:
    """One connection to the Redis of the shop."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", int(os.environ["REDIS_PORT"])))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        """Sends a command, and returns its answer: a text, a number, a list, or None."""
        words = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.answer()

    def answer(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("Redis has closed the connection")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return self.file.read(int(rest) + 2)[:-2].decode()


def notify(text):
    """Reports to the supervisor: READY=1 when the program can do its work, WATCHDOG=1 as a heartbeat, STATUS=... for people."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)
