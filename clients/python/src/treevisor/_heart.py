"""What a worker reports, and when it is worth a message."""

import functools
import os
import re
import sys
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import (
    Any,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sized,
    Type,
    TypeVar,
)

from ._transport import RECONNECT_GAP, Transport, choose

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

#: The interval that is reckoned with where the node expects no beats.
INTERVAL_ASSUMED = 1.0
#: Beats are never closer than this, however short the interval.
BEAT_GAP_MIN = 0.01
#: The end of a lease is sent sooner than other news: a lease that is no longer needed hides a hang.
LEASE_END_GAP = 0.02
LEASE_MAX = 365 * 86400.0
STATUS_MAX = 256
PATH_MAX = 107

#: The process that has loaded this module; forked children inherit it.
_FIRST_PROCESS = os.getpid()


def _is_first_process() -> bool:
    """Whether this process may count its beats: not if it is one of several that a worker has made of itself."""
    if os.getpid() != _FIRST_PROCESS:
        return False
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing is None or multiprocessing.parent_process() is None


def _number(value: Optional[int]) -> bytes:
    return b"" if value is None else b"%d" % min(max(int(value), 0), 2**64 - 1)


def _status(text: str) -> bytes:
    """One line of at most STATUS_MAX bytes, cut between two characters."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).encode("utf-8", "replace")[:STATUS_MAX]
    return line.decode("utf-8", "ignore").encode("utf-8")


class Heart:
    """The heart of this process, as its environment says; silent without a supervisor.

    No method waits, but `deliver` and `close`, for as long as their argument allows. (Without pyzmq, the first message of a
    connection may wait 10 ms for the node's half of the handshake.) No method raises for anything that the supervisor
    does or does not do. A node that is dead, stopped or slow costs nothing but beats: they are dropped, not queued.

    A forked child's copy is silent; a heart that the child makes itself speaks, and does not count its beats.
    """

    #: How many beats were not sent, because the node was gone or had left no room.
    dropped: int

    def __init__(
        self,
        *,
        environ: Optional[Mapping[str, str]] = None,
        transport: str = "auto",
        counts: Optional[bool] = None,
    ) -> None:
        """`transport` is "zmq" (pyzmq), "stream" (nothing to install), or "auto": pyzmq if it is there.

        `counts=False` is for one process of several that beat for the same worker.
        """
        environ = os.environ if environ is None else environ
        self.dropped = 0
        self._owner = os.getpid()
        self._counts = _is_first_process() if counts is None else counts
        self._lock = threading.Lock()
        self._seq = 0
        self._progress: Optional[int] = None
        self._pending: Optional[int] = None
        self._lease: Optional[float] = None
        self._status = b""
        self._leased_until: Optional[float] = None
        self._last_beat: Optional[float] = None
        self._retry = False
        self._held_back = False
        #: READY and STOPPING that were due and could not be sent; they go with the next message.
        self._due: List[bytes] = []
        #: Those that were sent since the last delivery.
        self._entrusted: List[bytes] = []
        #: What was asked for and not attended to yet; set before the lock is tried, cleared by its holder.
        self._is_beaten = self._is_said = False
        self._transport: Optional[Transport] = None
        self._token = b""
        self._interval: Optional[float] = None
        self.path: Optional[str] = None
        self.incarnation: Optional[int] = None

        way = choose(transport) if environ.get("TREEVISOR_ENDPOINT") else None
        endpoint = os.fsencode(environ.get("TREEVISOR_ENDPOINT", ""))
        token = os.fsencode(environ.get("TREEVISOR_TOKEN", ""))
        path = endpoint[len(b"ipc://") :]
        # A name in the abstract namespace (@) is refused: any process could bind it.
        usable = endpoint.startswith(b"ipc://") and 0 < len(path) <= PATH_MAX and not path.startswith(b"@")
        if way is None or not usable or not re.fullmatch(rb"[0-9a-fA-F]{32}", token):
            return
        self._token = token
        self.path = environ.get("TREEVISOR_PATH")
        number = environ.get("TREEVISOR_INCARNATION", "")
        self.incarnation = int(number) if number.isdecimal() else None
        millis = environ.get("TREEVISOR_HEARTBEAT_MS", "")
        if millis.isdecimal() and int(millis) > 0:
            self._interval = int(millis) / 1000
        self._transport = way(path)

    @property
    def supervised(self) -> bool:
        """Whether there is a supervisor."""
        return self._transport is not None and os.getpid() == self._owner

    @property
    def interval(self) -> Optional[float]:
        """How often the node expects a beat, in seconds; None when it expects none."""
        return self._interval

    def beat(
        self,
        progress: Optional[int] = None,
        pending: Optional[int] = None,
        busy_for: Optional[float] = None,
        status: Optional[str] = None,
    ) -> None:
        """Beats, if it is time: a call that comes less than a quarter of the interval after the last beat sends nothing,
        so it can stand in the innermost loop. What it held back goes with the next one that is sent.

        `progress` is how much is done; with `progress = true` for this worker, a number that does not move is a hang.
        `pending` is how much waits; with 0 the progress may stand still. `busy_for` announces that no other beat may come
        for so many seconds. `status` is a line for people. All but `busy_for` are said again until they change.
        """
        if not self.supervised:
            return
        if progress is not None:
            self._progress = progress
        if pending is not None:
            self._pending = pending
        if status is not None:
            self._status = _status(status)
        self._lease = None if busy_for is None or not busy_for > 0 else min(float(busy_for), LEASE_MAX)
        self._is_beaten = True
        self._attend()

    def ready(self) -> None:
        """Reports that the start is over; the first beat does so as well."""
        self._say(b"READY")

    def stopping(self) -> None:
        """Reports that the end is near."""
        self._say(b"STOPPING")

    def deliver(self, timeout: float = 1.0) -> bool:
        """Waits until every message is on its way to the node, at most so many seconds. For a program that ends right
        after a message. Closes the connection; a later message makes a new one."""
        if not self.supervised:
            return True
        until = time.monotonic() + timeout
        # In a signal's handler the holder may be the code below, which does not go on until this returns.
        if not self._lock.acquire(timeout=max(0.0, timeout)):
            return False
        try:
            return self._deliver(until)
        finally:
            self._lock.release()
            self._attend()

    def close(self) -> None:
        """Closes the connection, at once. The heart is silent from then on."""
        transport, self._transport = self._transport, None
        if transport is not None and os.getpid() == self._owner:
            transport.close()

    def __enter__(self) -> "Heart":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def over(self, jobs: Iterable[T]) -> Iterator[T]:
        """The jobs one by one, with a beat after each; what is done and, where that is known, what waits goes with it.

            for job in heart.over(jobs):
                work(job)
        """
        count = len(jobs) if isinstance(jobs, Sized) else None
        for done, job in enumerate(jobs, 1):
            yield job
            self.beat(progress=done, pending=None if count is None else max(0, count - done))

    def after_each(self, function: F) -> F:
        """Decorates a function: each call that returns is followed by a beat, and counts as progress.

            @heart.after_each
            def handle(request): ...
        """

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            self.beat(progress=(self._progress or 0) + 1)
            return result

        return counted  # type: ignore[return-value]

    @asynccontextmanager
    async def beating(
        self, every: Optional[float] = None, progress: Optional[Callable[[], int]] = None
    ) -> AsyncIterator["Heart"]:
        """Beats from a task of the running event loop, every half of the interval: the loop turns as long as it beats.

            async with heart.beating():
                await serve()

        A loop that turns may still have tasks that are stuck: give `progress`, a function that tells how much is done, and
        say `progress = true` in the tree.
        """
        import asyncio

        async def pulse() -> None:
            while True:
                self.beat(progress=progress() if progress else None)
                await asyncio.sleep(every or (self._interval or INTERVAL_ASSUMED) / 2)

        if not self.supervised:
            yield self
            return
        task = asyncio.ensure_future(pulse())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    @contextmanager
    def side_thread(self, progress: Callable[[], int], every: Optional[float] = None) -> Iterator["Heart"]:
        """Beats from a thread beside the work, which shows that the process runs and NOT that it works: the thread goes on
        while the work is stuck. So it sends a counter that the work moves, and the tree has to say `progress = true`. For
        work that cannot beat by itself; where `beat` or `busy_for` will do, they are better."""
        if not self.supervised:
            yield self
            return
        over = threading.Event()

        def pulse() -> None:
            while True:
                self.beat(progress=progress())
                if over.wait(every or (self._interval or INTERVAL_ASSUMED) / 2):
                    return

        thread = threading.Thread(target=pulse, name="treevisor side thread", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()

    def _attend(self) -> None:
        """Sends what was asked for. Does not wait for another thread that does so at this moment: that one looks again."""
        while (self._is_said or self._is_beaten) and self._lock.acquire(blocking=False):
            try:
                now = time.monotonic()
                if self._is_said:
                    self._is_said = False
                    self._send(now)
                if self._is_beaten:
                    self._hold_back()
                    if self._is_time(now):
                        self._last_beat = now
                        self._send(now)
            finally:
                self._lock.release()

    def _hold_back(self) -> None:
        self._is_beaten = False
        self._held_back = True

    def _deliver(self, until: float) -> bool:
        transport = self._transport
        if transport is None:
            return True
        if self._is_beaten:
            self._hold_back()
        if self._held_back or self._due:
            while not self._send(time.monotonic()):
                if time.monotonic() >= until:
                    return False
                time.sleep(0.005)
        if transport.deliver(max(0.0, until - time.monotonic())):
            self._entrusted = []
            return True
        # It is unknown which messages have arrived, so all become due again; some may arrive twice.
        self._due = [kind for kind in self._entrusted if kind not in self._due] + self._due
        self._held_back = self._retry = self._held_back or self._seq > 0
        return False

    def _is_time(self, now: float) -> bool:
        if self._last_beat is None:
            return True
        since = now - self._last_beat
        gap = max((self._interval or INTERVAL_ASSUMED) / 4, BEAT_GAP_MIN)
        if self._retry:
            # After a beat that was dropped the next call may try again, but not each of a thousand calls.
            gap = min(gap, RECONNECT_GAP)
        lease = self._lease
        if lease is not None:
            # Sent at once, unless the lease that stands does nearly as well.
            stands = self._leased_until is not None and self._leased_until + gap >= now + lease
            return since >= gap or not stands
        if self._leased_until is not None:
            gap = min(gap, LEASE_END_GAP)
        return since >= gap

    def _send(self, now: float) -> bool:
        """Sends what is due: READY and STOPPING, and the beat if one was asked for."""
        transport = self._transport
        if transport is None:
            return True
        # One by one: a queue may have room for some of it.
        while self._due:
            if not transport.send([b"TV1", self._due[0], self._token]):
                self._retry = self._held_back
                self.dropped += self._held_back
                return False
            sent = self._due.pop(0)
            self._entrusted = [other for other in self._entrusted if other != sent] + [sent]
        if not self._held_back:
            return True
        lease = self._lease  # Another thread may set the next one meanwhile.
        self._retry = not transport.send(self._frames(lease))
        if self._retry:
            self.dropped += 1
            return False
        self._held_back = False
        self._seq += 1
        self._leased_until = None if lease is None else now + lease
        return True

    def _frames(self, lease: Optional[float]) -> List[bytes]:
        return [
            b"TV1",
            b"BEAT",
            self._token,
            _number(self._seq + 1) if self._counts else b"",
            _number(self._progress),
            _number(self._pending),
            _number(None if lease is None else max(1, round(lease * 1000))),
            self._status,
        ]

    def _say(self, kind: bytes) -> None:
        if not self.supervised:
            return
        self._due = [other for other in self._due if other != kind] + [kind]
        self._is_said = True
        self._attend()
