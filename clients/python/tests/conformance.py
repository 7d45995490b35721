"""Drives this client in the conformance tests (clients/README.md): one command a line, one answer a line.

usage: conformance.py [TRANSPORT]
"""

import os
import sys
from pathlib import Path
from typing import Any, Dict

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import treevisor  # noqa: E402
from treevisor import _transport  # noqa: E402

transport = sys.argv[1] if len(sys.argv) > 1 else "auto"
heart = treevisor.Heart(transport=transport)


def beat(fields: str) -> None:
    """`progress=3 pending=2 busy=1500 status=...`; the status is the last one and goes to the end of the line."""
    said: Dict[str, Any] = {}
    fields, mark, status = fields.partition("status=")
    if mark:
        said["status"] = status
    for field in fields.split():
        name, _, value = field.partition("=")
        if name == "busy":
            said["busy_for"] = int(value) / 1000
        else:
            said[name] = int(value)
    heart.beat(**said)


def flood(count: int) -> None:
    """Leases that grow are never held back, so all of these want to be sent."""
    for at in range(1, count + 1):
        heart.beat(busy_for=at)


def fork() -> None:
    child = os.fork()
    if child == 0:
        heart.beat(busy_for=77)
        own = treevisor.Heart(transport=transport)
        own.beat(progress=4711)
        # An end like that of any program, with all that is collected on the way.
        sys.stdout = open(os.devnull, "w")
        raise SystemExit(0 if own.deliver(10) else 1)
    os.waitpid(child, 0)


for raw in sys.stdin.buffer:
    line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
    if line == "end":
        break
    verb, _, rest = line.partition(" ")
    if verb == "beat":
        beat(rest)
    elif verb == "flood":
        flood(int(rest))
    elif verb == "ready":
        heart.ready()
    elif verb == "stopping":
        heart.stopping()
    elif verb == "fork":
        fork()
    answer = "ok"
    if verb == "deliver":
        # libzmq does not report whether the node has read what it was sent.
        zmq = isinstance(heart._transport, _transport.ZmqTransport)
        answer = "unsupported" if zmq else "ok" if heart.deliver(10) else "not delivered"
    print(answer, flush=True)
