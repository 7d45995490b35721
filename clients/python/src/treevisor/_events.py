"""What happens in a tree, as it happens: `treevisor events -f` as an iterator. See docs/protocol.md, section 9."""

import asyncio
import json
import os
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple, Type, Union

from ._control import NoAnswer, NoInstance, Refused, TreevisorError, _is_bound, _run_of, find
from ._transport import Conversation, converse

Event = Dict[str, Any]

#: Events that wait for their reader. When so many do, the root is not read; it drops in turn, and reports how many.
WAITING_MAX = 1000
#: How often the root is notified that the follower is there. It forgets one that is silent for ten seconds.
STILL_THERE_EVERY = 3.0
#: How long one look at the conversation lasts.
LOOK = 0.2
#: How long the last messages of a root that has ended may be on their way.
LAST_WORDS = 0.1
#: Numbers of requests. Each following has one of its own, from FIRST_FOLLOWING on.
PING, STILL_FOLLOWING, UNFOLLOW, FIRST_FOLLOWING = 1, 2, 3, 4


class _Follower:
    """The conversation, in a thread of its own: the root must see a follower while its reader does other things."""

    def __init__(self, path: str, find_socket: Callable[[], bytes], timeout: float) -> None:
        self._path, self._find_socket, self._timeout = path, find_socket, timeout
        self.events: Deque[Event] = deque()
        self.lost = 0
        self.over = False
        self.error: Optional[TreevisorError] = None
        #: The request that is followed, whether the root has forgotten it, and the number of the event that comes next.
        self._request = FIRST_FOLLOWING
        self._is_forgotten = False
        self._next: Optional[int] = None
        #: Which run is followed, if that is known.
        self._run_followed: Optional[str] = None
        self.changed = threading.Condition()
        #: Called by the thread when there is something new, with `changed` held.
        self.wakes: List[Callable[[], None]] = []
        self._closed = threading.Event()
        # It ends with the program, whatever the root does.
        threading.Thread(target=self._run, name="treevisor-events", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        with self.changed:
            self.events.clear()
            self.over = True
            self._tell()

    def _tell(self) -> None:
        self.changed.notify_all()
        for wake in self.wakes:
            wake()

    def _run(self) -> None:
        error: Optional[TreevisorError] = None
        try:
            socket = self._find_socket()
            self._run_followed = _run_of(socket)
            try:
                conversation = converse(socket)
            except OSError as failed:
                raise NoInstance(f"no process answers at {os.fsdecode(socket)}: {failed.strerror}") from failed
            try:
                self._follow(conversation, socket)
            finally:
                conversation.close()
        except TreevisorError as failed:
            error = failed
        except OSError as failed:
            # A root that ends closes the conversation first, and has a little to put away before it is gone.
            if not self._has_ended(socket):
                error = NoAnswer(f"the root has closed the conversation: {failed}")
        except Exception as failed:  # Whatever it is, the reader must learn that there will be no more.
            error = TreevisorError(f"cannot follow the events: {failed!r}")
        with self.changed:
            self.error = None if self._closed.is_set() else error
            self.over = True
            self._tell()

    def _follow(self, conversation: Conversation, socket: bytes) -> None:
        def ask(request: int, verb: Dict[str, Any], within: float) -> bool:
            question = {"request": request, "within_ms": round(self._timeout * 1000), "verb": verb}
            return conversation.send([b"TV1", b"ASK", json.dumps(question).encode()], within)

        def begin() -> bool:
            verb: Dict[str, Any] = {"verb": "events", "path": self._path, "follow": True}
            return ask(self._request, verb if self._next is None else {**verb, "from": self._next}, self._timeout)

        # A tree in which nothing happens sends nothing, so another answer must show that the root is at work.
        asked = ask(PING, {"verb": "ping"}, self._timeout) and begin()
        silent_at = time.monotonic() + self._timeout
        answered = False
        told = time.monotonic()
        ends_at: Optional[float] = None
        while asked and not self._closed.is_set():
            now = time.monotonic()
            if now - told >= STILL_THERE_EVERY:
                told = now
                ask(STILL_FOLLOWING, {"verb": "still-following", "request": self._request}, 0)
            if not self._has_room():
                self._closed.wait(LOOK)
                continue
            frames = conversation.receive(LOOK if ends_at is None else LAST_WORDS)
            if frames is not None:
                answered |= self._hear(frames)
                if self._is_forgotten:  # This process was stopped for so long. It goes on where it was.
                    if self._is_another(socket):
                        return
                    self._is_forgotten = False
                    self._request += 1
                    asked = begin()
                continue
            if ends_at is not None:
                return
            if not _is_bound(Path(os.fsdecode(socket))):
                ends_at = now  # One look more, for its last messages.
            elif not answered and now >= silent_at:
                break
        if self._closed.is_set():
            ask(UNFOLLOW, {"verb": "unfollow", "request": self._request}, 0)
            return
        raise NoAnswer("no answer to events within its time")

    def _is_another(self, socket: bytes) -> bool:
        """Whether another root of the instance answers: its events are others, and those followed have ended."""
        return self._run_followed is not None and _run_of(socket) != self._run_followed

    def _has_ended(self, socket: bytes) -> bool:
        end = time.monotonic() + self._timeout
        while _is_bound(Path(os.fsdecode(socket))) and not self._is_another(socket):
            if time.monotonic() >= end or self._closed.wait(0.01):
                return False
        return True

    def _has_room(self) -> bool:
        with self.changed:
            return len(self.events) < WAITING_MAX

    def _hear(self, frames: List[bytes]) -> bool:
        """Takes in one message; True if it is an answer."""
        if frames[:2] != [b"TV1", b"TOLD"]:
            return False
        told = json.loads(b"".join(frames[2:]))
        reply = told.get("reply")
        if not isinstance(reply, dict) or told.get("request") not in (PING, self._request):
            return False
        if reply.get("is") == "refused":
            if reply.get("why") == "forgotten":
                self._is_forgotten = True
                return True
            raise Refused(str(reply.get("why")), str(reply.get("message")))
        if reply.get("is") == "events":
            self._next = int(reply.get("next") or 0)  # Left out when it is 0.
            with self.changed:
                self.lost += int(reply.get("lost") or 0)
                self.events.extend(reply["events"])
                self._tell()
        return True


class Events:
    """What happened at or below a path of a tree, as far as the root remembers, then what happens, each event as `treevisor
    events --json` prints it. Ends with the instance.

        for event in treevisor.follow("/web"):
            print(event["path"], event["kind"])

        async for event in treevisor.follow("/web"):
            ...

    Errors, such as `NoInstance`, are raised by the first step. For one reader; `close` may be called from any thread.
    """

    def __init__(self, follower: _Follower) -> None:
        self._follower = follower

    @property
    def lost(self) -> int:
        """How many events are missing between those that were received, because this reader was too slow."""
        return self._follower.lost

    def close(self) -> None:
        """Follows no longer; a waiting call ends as after the last event."""
        self._follower.close()

    def wait(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event; None when there are no more, or none has come within `timeout` seconds."""
        with self._follower.changed:
            self._follower.changed.wait_for(self._has_news, timeout)
            return self._take()[0]

    def _has_news(self) -> bool:
        return bool(self._follower.events) or self._follower.over

    def _take(self) -> Tuple[Optional[Event], bool]:
        """The next event if there is one, and whether there will be no more."""
        if self._follower.events:
            return self._follower.events.popleft(), False
        if self._follower.error is not None:
            raise self._follower.error
        return None, self._follower.over

    def __iter__(self) -> "Events":
        return self

    def __next__(self) -> Event:
        event = self.wait()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> Event:
        loop = asyncio.get_running_loop()
        while True:
            news: "asyncio.Future[None]" = loop.create_future()

            def arrived(news: "asyncio.Future[None]" = news) -> None:
                if not news.done():
                    news.set_result(None)

            def wake() -> None:
                try:
                    loop.call_soon_threadsafe(arrived)
                except RuntimeError:
                    pass  # The loop is closed: nothing waits any more.

            with self._follower.changed:
                event, over = self._take()
                if event is not None:
                    return event
                if over:
                    raise StopAsyncIteration
                self._follower.wakes.append(wake)
            try:
                await news
            finally:
                with self._follower.changed:
                    self._follower.wakes.remove(wake)

    def __enter__(self) -> "Events":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    async def __aenter__(self) -> "Events":
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    async def aclose(self) -> None:
        """`close`, for `contextlib.aclosing`."""
        self.close()

    def __del__(self) -> None:
        # A loop that was left by `break` follows no longer. The thread refers only to the follower.
        self._follower.close()


def follow(
    path: str = "/",
    instance: Optional[str] = None,
    *,
    socket: Union[str, "os.PathLike[str]", None] = None,
    timeout: float = 5.0,
) -> Events:
    """Follows what happens at or below `path`. Returns at once; a slow reader slows down no other process."""

    def find_socket() -> bytes:
        return os.fsencode(find(instance) if socket is None else socket)

    return Events(_Follower(path, find_socket, timeout))
