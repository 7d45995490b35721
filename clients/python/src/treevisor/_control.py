"""An operator's side: asks the root of a running tree. See docs/protocol.md, section 9."""

import errno
import json
import os
import socket
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, Optional, Type, Union, cast

from ._transport import converse

#: A root that is at work reports every second; one that sends nothing for so long is gone.
SILENCE_MAX = 5.0


class TreevisorError(Exception):
    """Something was asked of a tree, and did not happen."""


class NoInstance(TreevisorError):
    """No such instance runs, or several do and none was named."""


class NoAnswer(TreevisorError, TimeoutError):
    """The root does not answer."""


class Refused(TreevisorError):
    """The root has not tried it. `why` is one word, such as "no_such_path"."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class NotDone(TreevisorError):
    """It was tried, and ended otherwise than was asked. `outcome` is one word, such as "overtaken"."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail or outcome)
        self.outcome = outcome


def base(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory in which the instances of this user have theirs."""
    for name, below in (("TREEVISOR_RUNTIME_DIR", ""), ("XDG_RUNTIME_DIR", "treevisor")):
        value = environ.get(name, "")
        if os.path.isabs(value):
            return Path(value) / below
    return Path("/run/treevisor") if os.geteuid() == 0 else Path(f"/tmp/treevisor-{os.geteuid()}")


def _is_bound(path: Path) -> bool:
    """Whether some process has this socket: a datagram socket that connects to a stream socket fails at once, even
    by one whose owner is stopped, and the owner notices nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(os.fsencode(path))
        except OSError as error:
            return error.errno == errno.EPROTOTYPE  # Bound, and a stream.
    return False


def _check(directory: Path) -> None:
    """Refuses a directory that lies where every user can make one, and that another user has made or may write to:
    /tmp/treevisor-UID is missing as long as its user has had no tree. Root, whose own are elsewhere, has named that of
    another user on purpose."""
    if not os.stat(directory.parent).st_mode & 0o002:
        return
    link, found, user = os.lstat(directory), os.stat(directory), os.geteuid()
    for uid in (link.st_uid, found.st_uid):
        if user != 0 and uid not in (0, user):
            raise NoInstance(f"cannot trust the directory {directory}: it belongs to uid {uid}")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise NoInstance(f"cannot trust the directory {directory}: others may write to it")


def _run_of(control: bytes) -> Optional[str]:
    """Which run of an instance has this socket, as its root has written down before it answers; None if unknown."""
    try:
        with open(os.path.join(os.path.dirname(control), b"instance.json"), encoding="utf-8") as file:
            return str(json.load(file)["mark"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find(instance: Optional[str] = None) -> Path:
    """The control socket of an instance: the named one, that of TREEVISOR_INSTANCE, or the only one that runs."""
    directory = base()
    instance = instance or os.environ.get("TREEVISOR_INSTANCE") or None
    if instance is not None and ("/" in instance or instance in (".", "..")):
        raise NoInstance(f'"{instance}" is no name of an instance')
    found = sorted(directory.glob("*/control")) if directory.is_dir() else []
    running = [path for path in found if _is_bound(path)]
    if instance is not None:
        running = [path for path in running if path.parent.name == instance]
        if not running:
            raise NoInstance(f'no instance "{instance}" runs in {directory}')
    if not running:
        raise NoInstance(f"no instance runs in {directory}")
    if len(running) > 1:
        names = ", ".join(path.parent.name for path in running)
        raise NoInstance(f"several instances run; name one of them: {names}")
    _check(directory)
    _check(running[0].parent)
    return running[0]


class Control:
    """A conversation with the root of an instance.

        with treevisor.Control() as control:
            control.panic("/web/api")
    """

    def __init__(
        self,
        instance: Optional[str] = None,
        *,
        socket: Union[str, "os.PathLike[str]", None] = None,
        timeout: float = 5.0,
    ) -> None:
        """`timeout` is for the first answer; what takes longer is waited for as long as the root reports it going on."""
        self._timeout = timeout
        self._request = 0
        path = os.fsencode(find(instance) if socket is None else socket)
        try:
            self._conversation = converse(path)
        except OSError as error:
            raise NoInstance(f"no process answers at {os.fsdecode(path)}: {error.strerror}") from error

    def __enter__(self) -> "Control":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        self._conversation.close()

    def status(self, path: str = "/") -> Dict[str, Any]:
        """The state of the subtree at `path`, as `treevisor status --json` prints it."""
        return cast(Dict[str, Any], self.ask("status", path=path)["status"])

    def panic(self, path: str, hold: bool = False) -> str:
        """Kills all that is at or below `path`, now, hung or not; its supervisor heals it, or with `hold` leaves it down.
        Returns when it is gone, with a word on it for people."""
        return self._done("panic", path=path, hold=hold)

    def restart(self, path: str) -> str:
        """Stops what is at `path` in order, and starts it."""
        return self._done("restart", path=path)

    def stop(self, path: str) -> str:
        """Stops what is at `path` in order; "/" is the whole tree."""
        return self._done("stop", path=path)

    def events(self, path: str = "/") -> List[Dict[str, Any]]:
        """What happened at or below `path`, as far as the root remembers, oldest first."""
        events: List[Dict[str, Any]] = []
        self.ask("events", each=lambda reply: events.extend(reply["events"]), path=path, follow=False)
        return events

    def ask(
        self, verb: str, each: Optional[Callable[[Dict[str, Any]], Any]] = None, **members: Any
    ) -> Dict[str, Any]:
        """Asks for one thing and gives the last reply. `each` is called with every reply that carries events."""
        self._request += 1
        request = self._request
        question = {
            "request": request,
            "within_ms": round(self._timeout * 1000),
            "verb": {"verb": verb, **members},
        }
        # A DEALER's frames may have any length up to 256 KiB; no question comes near that.
        try:
            sent = self._conversation.send([b"TV1", b"ASK", json.dumps(question).encode()], self._timeout)
            silent_at = time.monotonic() + self._timeout
            while sent:
                frames = self._conversation.receive(silent_at - time.monotonic())
                if frames is None:
                    break
                if frames[:2] != [b"TV1", b"TOLD"]:
                    continue
                told = json.loads(b"".join(frames[2:]))
                reply = told.get("reply")
                if told.get("request") != request or not isinstance(reply, dict):
                    continue
                kind = reply.get("is")
                if kind == "refused":
                    raise Refused(str(reply.get("why")), str(reply.get("message")))
                if kind == "events" and each is not None:
                    each(reply)
                if kind == "accepted" or (kind == "events" and not reply.get("end")):
                    silent_at = time.monotonic() + max(self._timeout, SILENCE_MAX)
                    continue
                return cast(Dict[str, Any], reply)
        except OSError as error:
            raise NoAnswer(f"the root has closed the conversation: {error}") from error
        raise NoAnswer(f"no answer to {verb} within its time")

    def _done(self, verb: str, **members: Any) -> str:
        reply = self.ask(verb, **members)
        outcome, detail = str(reply.get("outcome")), str(reply.get("detail") or "")
        if outcome != "ok":
            raise NotDone(outcome, detail)
        return detail


def status(path: str = "/", instance: Optional[str] = None, timeout: float = 5.0) -> Dict[str, Any]:
    """The state of a running tree, or of a part of it."""
    with Control(instance, timeout=timeout) as control:
        return control.status(path)


def panic(path: str, hold: bool = False, instance: Optional[str] = None, timeout: float = 5.0) -> str:
    """The big red button: kills all that is at or below `path`, now; it is then healed, or with `hold` stays down."""
    with Control(instance, timeout=timeout) as control:
        return control.panic(path, hold)
