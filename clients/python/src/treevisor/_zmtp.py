"""As much of ZMTP 3.0 as a DEALER needs that talks to a ROUTER over a UNIX stream: docs/protocol.md, section 11.

No thread, one descriptor, nothing to install. It takes the place of pyzmq where that is missing.
"""

import select
import socket
import time
from typing import List, Optional, Sequence

MORE, LONG, COMMAND = 1, 2, 4

GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".ljust(64, b"\0")
READY = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"

#: A longer command is none that this side could know; it is passed over.
COMMAND_MAX = 512
#: The limits of protocol.md on what a root sends.
FRAME_MAX, FRAMES_MAX = 262144, 256
#: How often one call reads: a peer that sends without end must not hold up the program.
READS_MAX = 4


def frame(flags: int, body: bytes) -> bytes:
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body


def message(frames: Sequence[bytes]) -> bytes:
    last = len(frames) - 1
    return b"".join(frame(MORE if at < last else 0, body) for at, body in enumerate(frames))


class Closed(ConnectionError):
    """The other side has closed the connection after it had read all that was written."""


class Stream:
    """One connection, which never waits. Every method but `close` may raise OSError: it is then of no use any more."""

    def __init__(self, path: bytes, keep_messages: bool = False) -> None:
        self.ready = False
        self.received: List[List[bytes]] = []
        self._keep = keep_messages
        self._parts: List[bytes] = []
        self._in = bytearray()
        self._greeted = False
        self._skip = 0
        self._out = bytearray(GREETING + READY)
        # Born non-blocking: even connect() waits while the listener's backlog is full.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(path)
            self.flush()
        except OSError:
            self.close()
            raise

    @property
    def flushed(self) -> bool:
        """Whether the kernel has taken all that there was to write."""
        return not self._out

    def push(self, frames: Sequence[bytes]) -> None:
        """Puts a message behind what is to be written. The caller sees to it that this does not become a queue."""
        self._out += message(frames)

    def pump(self) -> None:
        """Reads what has come and writes what can be written."""
        self.read()
        self.flush()

    def flush(self) -> None:
        while self._out:
            try:
                sent = self._socket.send(self._out, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            del self._out[:sent]

    def read(self) -> None:
        for _ in range(READS_MAX):
            try:
                taken = self._socket.recv(65536 if self._keep else 1024)
            except BlockingIOError:
                return
            if not taken:
                raise Closed("the supervisor has closed the connection")
            self._in += taken
            self._parse()

    def wait(self, seconds: float) -> None:
        """Waits until there is something to read, or room to write what waits to be written."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._out else 0))
        poll.poll(max(0.0, seconds) * 1000)

    def finish(self, until: float) -> bool:
        """Ends the connection after the other side has taken all that was written. False at the time `until`.

        Any other end raises: the kernel reports ECONNRESET where something was left unread."""
        self._socket.shutdown(socket.SHUT_WR)
        while True:
            try:
                self.read()
            except Closed:
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            self.wait(left)

    def close(self) -> None:
        self._socket.close()

    def _parse(self) -> None:
        while True:
            if self._skip:
                skipped = min(self._skip, len(self._in))
                del self._in[:skipped]
                self._skip -= skipped
                if self._skip:
                    return
            if not self._greeted:
                if len(self._in) < 64:
                    return
                head = bytes(self._in[:64])
                if head[0] != 0xFF or not head[9] & 1 or head[10] < 3 or head[12:32] != b"NULL".ljust(20, b"\0"):
                    raise ConnectionRefusedError("the other side speaks no ZMTP 3 with NULL")
                del self._in[:64]
                self._greeted = True
            if not self._in:
                return
            flags = self._in[0]
            if flags & ~(MORE | LONG | COMMAND):
                raise ConnectionAbortedError("the other side sends no frames")
            width = 8 if flags & LONG else 1
            if len(self._in) < 1 + width:
                return
            length = int.from_bytes(self._in[1 : 1 + width], "big")
            wanted = 1 <= length <= COMMAND_MAX if flags & COMMAND else self._keep
            if not wanted:
                del self._in[: 1 + width]
                self._skip = length
                continue
            if length > FRAME_MAX or len(self._parts) >= FRAMES_MAX:
                raise ConnectionAbortedError("the other side sends more than the protocol allows")
            if len(self._in) < 1 + width + length:
                return
            body = bytes(self._in[1 + width : 1 + width + length])
            del self._in[: 1 + width + length]
            if flags & COMMAND:
                self._command(body)
                continue
            self._parts.append(body)
            if not flags & MORE:
                self.received.append(self._parts)
                self._parts = []

    def _command(self, body: bytes) -> None:
        name, rest = body[1 : 1 + body[0]], body[1 + body[0] :]
        if name == b"READY":
            self.ready = True
        elif name == b"ERROR":
            raise ConnectionRefusedError("the other side has refused the connection")
        elif name == b"PING" and len(rest) >= 2 and len(self._out) <= 256:
            self._out += frame(COMMAND, b"\x04PONG" + rest[2:18])
