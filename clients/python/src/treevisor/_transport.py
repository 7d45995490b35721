"""How messages of a heart leave the process: by pyzmq, or where that is missing by a UNIX stream of our own."""

import os
import time
from contextlib import suppress
from typing import Any, Callable, List, Optional, Protocol, Sequence

from . import _zmtp

#: A connection that could not be made, or that is gone, is not tried again for so long.
RECONNECT_GAP = 0.05
#: The first message of a connection may wait this long for the node's half of the handshake.
HANDSHAKE_WAIT = 0.01


class Transport(Protocol):
    """The way to a node."""

    def send(self, frames: Sequence[bytes]) -> bool:
        """Sends one message, or returns False. Never waits, and never raises."""

    def deliver(self, timeout: float) -> bool:
        """Closes the connection when the node has taken what was sent; False if it has not by then."""

    def close(self) -> None:
        """Closes the connection at once."""


def choose(wanted: str) -> "Callable[[bytes], Transport]":
    if wanted not in ("auto", "zmq", "stream"):
        raise ValueError(f'transport is "auto", "zmq" or "stream", not {wanted!r}')
    if wanted != "stream":
        try:
            import zmq  # noqa: F401  Only where there is a supervisor: a program without one need not load it.

            return ZmqTransport
        except ImportError:
            if wanted == "zmq":
                raise
    return StreamTransport


class ZmqTransport:
    """A DEALER of libzmq. It connects, and connects again, in a thread of libzmq's own."""

    def __init__(self, path: bytes) -> None:
        self._endpoint: Any = b"ipc://" + path  # Bytes: a path need not be UTF-8.
        self._owner = os.getpid()
        self._context: Any = None
        self._socket: Any = None
        with suppress(Exception):  # Out of descriptors, say; the next message tries again.
            self._open()

    def _open(self) -> None:
        import zmq

        # A context of its own: what the program does with the global one is its own matter.
        context = zmq.Context()
        try:
            dealer = context.socket(zmq.DEALER)
            # Two beats at most wait for a node: a queue of old ones would be of no use to it.
            for option, value in ((zmq.SNDHWM, 2), (zmq.RCVHWM, 2), (zmq.LINGER, 0), (zmq.RECONNECT_IVL, 20)):
                dealer.setsockopt(option, value)
            dealer.connect(self._endpoint)
        except Exception:
            context.destroy(linger=0)
            raise
        self._context, self._socket = context, dealer

    def send(self, frames: Sequence[bytes]) -> bool:
        import zmq

        try:
            if self._socket is None:
                self._open()
            self._socket.send_multipart(list(frames), zmq.DONTWAIT)
        except Exception:
            return False  # Full: the node is gone or does not read. The program goes on whatever else it is.
        return True

    def deliver(self, timeout: float) -> bool:
        if self._socket is None:
            return True
        socket, context = self._socket, self._context
        self._socket = self._context = None
        begun = time.monotonic()
        # Closing does not wait; ending the context does, until what is queued is written or the time is over.
        socket.close(linger=int(timeout * 1000))
        context.term()
        return time.monotonic() - begun < timeout

    def close(self) -> None:
        if self._socket is not None:
            # By name: the context's own list of its sockets is gone already when the interpreter ends.
            self._socket.close(linger=0)
            self._context.term()
            self._socket = self._context = None

    def __del__(self) -> None:
        # A forked child's copy is its parent's: libzmq's threads are not in the child.
        if os.getpid() == self._owner:
            with suppress(Exception):
                self.close()


class StreamTransport:
    """A stream of our own; see `_zmtp`."""

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._stream: Optional[_zmtp.Stream] = None
        self._waited = False
        self._last_connect: Optional[float] = None
        if not self._connect():
            self._last_connect = None  # The first beat need not wait until a second try is allowed.

    def _connect(self) -> bool:
        now = time.monotonic()
        if self._last_connect is not None and now - self._last_connect < RECONNECT_GAP:
            return False
        self._last_connect = now
        try:
            self._stream = _zmtp.Stream(self._path)
        except OSError:
            return False
        self._waited = False
        return True

    def send(self, frames: Sequence[bytes]) -> bool:
        if self._stream is not None:
            try:
                self._stream.pump()
                if not self._stream.flushed:
                    return False
            except OSError:
                self.close()
        if self._stream is None and not self._connect():
            return False
        stream = self._stream
        assert stream is not None
        try:
            if not self._is_open(stream, 0 if self._waited else HANDSHAKE_WAIT):
                return False
            stream.push(frames)
            stream.flush()
        except OSError:
            self.close()
            return False
        # What the kernel has in part goes with the next call.
        return True

    def _is_open(self, stream: _zmtp.Stream, patience: float) -> bool:
        self._waited = True
        until = time.monotonic() + patience
        while not stream.ready:
            left = until - time.monotonic()
            if left <= 0:
                return False
            stream.wait(left)
            stream.pump()
        return True

    def deliver(self, timeout: float) -> bool:
        until = time.monotonic() + timeout
        stream = self._stream
        if stream is None:
            return True
        try:
            while not stream.flushed:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                stream.wait(left)
                stream.pump()
            return stream.finish(until)
        except OSError:
            return False
        finally:
            self.close()
            self._last_connect = None

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class Conversation(Protocol):
    """What a control client needs: whole messages both ways."""

    def send(self, frames: Sequence[bytes], timeout: float) -> bool: ...
    def receive(self, timeout: float) -> Optional[List[bytes]]: ...
    def close(self) -> None: ...


class ZmqConversation:
    def __init__(self, path: bytes) -> None:
        import zmq

        self._context = zmq.Context()
        self._socket: Any = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _zmtp.FRAME_MAX)
        endpoint: Any = b"ipc://" + path
        self._socket.connect(endpoint)

    def send(self, frames: Sequence[bytes], timeout: float) -> bool:
        import zmq

        if not self._socket.poll(max(0, int(timeout * 1000)), zmq.POLLOUT):
            return False
        self._socket.send_multipart(list(frames), zmq.DONTWAIT)
        return True

    def receive(self, timeout: float) -> Optional[List[bytes]]:
        if not self._socket.poll(max(0, int(timeout * 1000))):
            return None
        frames: List[bytes] = self._socket.recv_multipart()
        return frames

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


class StreamConversation:
    def __init__(self, path: bytes) -> None:
        self._stream = _zmtp.Stream(path, keep_messages=True)

    def send(self, frames: Sequence[bytes], timeout: float) -> bool:
        until = time.monotonic() + timeout
        pushed = False
        while True:
            # Behind a message that was written in part none is put: it would become a queue.
            if self._stream.ready and self._stream.flushed and not pushed:
                self._stream.push(frames)
                pushed = True
            # Without reading: a reader that has no room must not be given more.
            self._stream.flush()
            if pushed and self._stream.flushed:
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._stream.wait(left)
            self._stream.pump()

    def receive(self, timeout: float) -> Optional[List[bytes]]:
        until = time.monotonic() + timeout
        while not self._stream.received:
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._stream.wait(left)
            self._stream.pump()
        return self._stream.received.pop(0)

    def close(self) -> None:
        self._stream.close()


def converse(path: bytes) -> Conversation:
    try:
        import zmq  # noqa: F401
    except ImportError:
        return StreamConversation(path)
    return ZmqConversation(path)
