"""The parts of the package that need no tree: what a beat holds, when it is sent, and the helpers. What goes over the wire is
the matter of the kit in tests/clients; real trees are in tests/it."""

import asyncio
import json
import os
import socket
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import treevisor  # noqa: E402
from treevisor import _control, _events, _heart, _transport, _zmtp  # noqa: E402

TOKEN = "00112233445566778899aabbccddeeff"


class Taken:
    """A transport that keeps what it is given."""

    def __init__(self, path):
        self.path, self.messages, self.room = path, [], True
        self.sent = threading.Event()

    def send(self, frames):
        if self.room:
            self.messages.append(frames)
            self.sent.set()
        self.meanwhile()
        return self.room

    def deliver(self, timeout):
        return self.room

    def meanwhile(self):
        """What another thread does while a message is being sent."""

    def close(self):
        pass


def heart(**environ):
    environ = {"TREEVISOR_ENDPOINT": "ipc:///run/node", "TREEVISOR_TOKEN": TOKEN, **environ}
    with mock.patch.object(_heart, "choose", lambda wanted: Taken):
        return treevisor.Heart(environ=environ)


class Clock:
    """Takes the place of the module `time` in the heart."""

    now = 100.0

    def monotonic(self):
        return self.now


class HeartTest(unittest.TestCase):
    def setUp(self):
        self.clock = Clock()
        patch = mock.patch.object(_heart, "time", self.clock)
        patch.start()
        self.addCleanup(patch.stop)

    def test_beats_are_held_back_for_a_quarter_of_the_interval(self):
        h = heart(TREEVISOR_HEARTBEAT_MS="400")
        self.assertEqual(h.interval, 0.4)
        for step in range(10):  # At 0, 30, 60, ... ms.
            h.beat(progress=step)
            self.clock.now += 0.03
        self.assertEqual([m[4] for m in h._transport.messages], [b"0", b"4", b"8"])
        self.assertEqual([m[3] for m in h._transport.messages], [b"1", b"2", b"3"])

    def test_a_lease_is_not_held_back_and_its_end_is_told_soon(self):
        h = heart(TREEVISOR_HEARTBEAT_MS="1000")
        h.beat()
        h.beat(busy_for=90)
        self.clock.now += 0.01
        h.beat(busy_for=90)  # The lease that stands does as well.
        self.clock.now += 0.015
        h.beat()
        self.assertEqual([m[6] for m in h._transport.messages], [b"", b"90000", b""])

    def test_what_finds_no_room_is_dropped_and_said_again(self):
        h = heart()
        h._transport.room = False
        h.ready()
        h.beat(progress=1)
        self.assertEqual((h.dropped, h._transport.messages), (1, []))
        h._transport.room = True
        self.clock.now += 0.06
        h.beat(progress=2)
        self.assertEqual([m[1] for m in h._transport.messages], [b"READY", b"BEAT"])
        self.assertEqual(h._transport.messages[1][3:5], [b"1", b"2"])

    def test_a_beat_beside_one_that_is_being_sent_is_sent_by_that_one(self):
        h = heart(TREEVISOR_HEARTBEAT_MS="1000")

        def other_thread():
            h._transport.meanwhile = lambda: None
            h.beat(progress=5, busy_for=90)
            h.stopping()

        h._transport.meanwhile = other_thread
        h.beat(progress=4)
        self.assertEqual([m[1] for m in h._transport.messages], [b"BEAT", b"STOPPING", b"BEAT"])
        self.assertEqual([h._transport.messages[at][4] for at in (0, 2)], [b"4", b"5"])
        self.assertEqual(h._transport.messages[2][6], b"90000")

    def test_what_was_not_delivered_is_due_again(self):
        h = heart()
        h.ready()
        h.beat()
        h.stopping()
        h._transport.deliver = lambda timeout: False
        self.assertFalse(h.deliver())
        del h._transport.deliver, h._transport.messages[:]
        self.assertTrue(h.deliver())
        self.assertEqual([m[1] for m in h._transport.messages], [b"READY", b"STOPPING", b"BEAT"])
        del h._transport.messages[:]
        self.assertTrue(h.deliver())
        self.assertEqual(h._transport.messages, [])

    def test_numbers_and_texts_are_made_to_fit(self):
        self.assertEqual([_heart._number(n) for n in (None, 0, -5, 2**70)], [b"", b"0", b"0", b"%d" % (2**64 - 1)])
        self.assertEqual(_heart._status("a\n\x85b\x7f" + "ü" * 200), ("a  b " + "ü" * 125).encode())
        self.assertEqual(_heart._status("\udcff"), b"?")

    def test_helpers_count(self):
        h = heart()
        jobs = []
        for job in h.over(["a", "b"]):
            jobs.append(job)
            self.clock.now += 1
        self.assertEqual(jobs, ["a", "b"])
        self.assertEqual([m[4:6] for m in h._transport.messages], [[b"1", b"1"], [b"2", b"0"]])

        @h.after_each
        def double(number):
            self.clock.now += 1
            return 2 * number

        self.assertEqual((double(4), double.__name__), (8, "double"))
        self.assertEqual(h._transport.messages[-1][4], b"3")

    def test_children_do_not_count(self):
        with mock.patch.object(_heart, "_FIRST_PROCESS", os.getpid() + 1):
            h = heart()
        h.beat()
        self.assertEqual(h._transport.messages[0][3], b"")
        h = heart()
        h._owner += 1
        h.beat()
        self.assertEqual((h.supervised, h._transport.messages), (False, []))

    def test_silent_when_not_supervised(self):
        for environ in ({}, {"TREEVISOR_ENDPOINT": "ipc:///x"}, {"TREEVISOR_ENDPOINT": "x", "TREEVISOR_TOKEN": TOKEN}):
            with treevisor.Heart(environ=environ) as h:
                self.assertFalse(h.supervised)
                h.beat(progress=1, busy_for=1)
                h.ready()
                self.assertEqual(list(h.over([1, 2])), [1, 2])
                self.assertTrue(h.deliver())
        with self.assertRaises(ValueError):
            treevisor.Heart(environ={"TREEVISOR_ENDPOINT": "ipc:///x"}, transport="pigeon")


class SideTest(unittest.TestCase):
    def test_a_delivery_beside_a_beat_that_does_not_go_on_ends_in_time(self):
        h = heart()
        ended = []
        with h._lock:  # As in a handler of a signal that has come in the middle of a beat.
            thread = threading.Thread(target=lambda: ended.append(h.deliver(0.05)), daemon=True)
            thread.start()
            thread.join(20)
            self.assertEqual(ended, [False])

    def test_the_event_loop_beats_as_long_as_it_turns(self):
        h = heart(TREEVISOR_HEARTBEAT_MS="20")

        async def work():
            async with h.beating(progress=lambda: 7) as same:
                self.assertIs(same, h)
                while len(h._transport.messages) < 3:
                    await asyncio.sleep(0)
                raise KeyError("an error of the program goes through")

        with self.assertRaises(KeyError):
            asyncio.run(work())
        self.assertEqual(h._transport.messages[0][4], b"7")

    def test_the_side_thread_sends_a_counter_and_ends(self):
        h = heart()
        with h.side_thread(progress=lambda: 42):
            self.assertTrue(h._transport.sent.wait(20))
        self.assertEqual(h._transport.messages[0][4], b"42")
        self.assertFalse([t for t in threading.enumerate() if t.name == "treevisor side thread"])


class FramesTest(unittest.TestCase):
    def test_the_bytes_of_the_document(self):
        document = (Path(__file__).resolve().parents[3] / "docs/protocol.md").read_text()

        def block(mark):
            text = document.split(f"<!-- {mark}: held by a test -->")[1].split("```")[1]
            lines = text.removeprefix("text\n") if hasattr(text, "removeprefix") else text[len("text\n") :]
            return bytes.fromhex("".join(line.split("  ")[0] for line in lines.splitlines()))

        self.assertEqual(_zmtp.GREETING + _zmtp.READY, block("greeting"))
        beat = _zmtp.message([b"TV1", b"BEAT", b"000102030405060708090a0b0c0d0e0f"])
        self.assertEqual(beat, block("beat"))
        self.assertEqual(_zmtp.frame(0, b"x" * 256)[:9], b"\x02\0\0\0\0\0\0\x01\0")


class PeerTest(unittest.TestCase):
    """Streams, and a listener in the node's place."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = f"{directory.name}/node"
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(self.path)
        self.listener.listen()

    def accept(self):
        """The next connection; this side's half of the handshake is on its way."""
        peer, _ = self.listener.accept()
        self.addCleanup(peer.close)
        peer.settimeout(20)
        peer.sendall(_zmtp.GREETING + _zmtp.READY)
        return peer

    def read(self, peer, count):
        taken = b""
        while len(taken) < count:
            taken += peer.recv(count - len(taken))
        return taken

    def test_what_is_sent_without_waiting_is_sent(self):
        conversation = _transport.StreamConversation(os.fsencode(self.path))
        self.addCleanup(conversation.close)
        peer = self.accept()
        self.assertTrue(conversation.send([b"asked"], 20))
        self.assertTrue(conversation.send([b"still-following"], 0))
        self.read(peer, len(_zmtp.GREETING + _zmtp.READY))
        wanted = _zmtp.message([b"asked"]) + _zmtp.message([b"still-following"])
        self.assertEqual(self.read(peer, len(wanted)), wanted)

    def test_for_a_peer_that_does_not_read_there_is_no_queue(self):
        conversation = _transport.StreamConversation(os.fsencode(self.path))
        self.addCleanup(conversation.close)
        self.accept()
        self.assertTrue(conversation.send([b"asked"], 20))
        sent = [conversation.send([b"x" * 100000], 0) for _ in range(100)]
        self.assertFalse(sent[-1])
        self.assertLess(len(conversation._stream._out), 200000)

    def test_delivered_is_what_the_peer_has_read(self):
        for is_read in (False, True):
            transport = _transport.StreamTransport(os.fsencode(self.path))
            peer = self.accept()
            end = time.monotonic() + 20
            while not transport.send([b"beat"]) and time.monotonic() < end:
                pass
            if is_read:
                self.read(peer, len(_zmtp.GREETING + _zmtp.READY + _zmtp.message([b"beat"])))
            peer.close()
            self.assertEqual(transport.deliver(20), is_read)


def told(reply):
    return [b"TV1", b"TOLD", json.dumps(reply).encode()]


class FollowTest(unittest.TestCase):
    def forgotten(self, request):
        return told({"request": request, "reply": {"is": "refused", "why": "forgotten", "message": ""}})

    def events(self, request, event, after):
        reply = {"is": "events", "events": [{"id": event}], "lost": event % 7, "end": False, "next": after}
        return told({"request": request, "reply": reply})

    def follow(self, runs, expected):
        """What a follower asks of a root that sends it an event and has forgotten it then. `runs` are the runs that
        have the socket, one for each look."""
        asked = []
        events, forgotten = self.events, self.forgotten

        class Root:
            replies = []

            def send(self, frames, timeout):
                question = json.loads(frames[2])
                asked.append(question["verb"])
                if question["verb"]["verb"] == "events":
                    number = question["request"]
                    if len(asked) == 2:
                        # Two, as several messages of the follower may have come late.
                        self.replies += [events(number, 7, 12), forgotten(number), forgotten(number)]
                    else:
                        self.replies += [events(number - 1, 8, 99), events(number, 9, 15)]
                return True

            def receive(self, timeout):
                return self.replies.pop(0) if self.replies else time.sleep(0.001)

            def close(self):
                pass

        with mock.patch.object(_events, "converse", lambda path: Root()), mock.patch.object(
            _events, "_is_bound", lambda path: True
        ), mock.patch.object(_events, "_run_of", lambda path: runs.pop(0)):
            with treevisor.follow("/web", socket="/x") as follower:
                self.assertEqual([follower.wait(20), follower.wait(20)], expected)
                # On a busy machine it has also sent that it is still there.
                return [verb for verb in asked if verb["verb"] != "still-following"], follower.lost

    def test_a_follower_that_was_forgotten_goes_on_where_it_was(self):
        for runs in ["a", "a"], [None]:
            asked, lost = self.follow(runs, [{"id": 7}, {"id": 9}])
            self.assertEqual(lost, 2)
            ask = {"verb": "events", "path": "/web", "follow": True}
            self.assertEqual(asked, [{"verb": "ping"}, ask, {**ask, "from": 12}])

    def test_a_follower_ends_with_its_run_although_another_root_answers(self):
        for runs in ["a", "b"], ["a", None]:
            asked, _ = self.follow(runs, [{"id": 7}, None])
            self.assertEqual([verb["verb"] for verb in asked], ["ping", "events"])

    def test_the_run_of_a_socket_is_in_the_file_beside_it(self):
        with tempfile.TemporaryDirectory() as directory:
            control = os.fsencode(f"{directory}/control")
            self.assertIsNone(_control._run_of(control))
            for text, run in (("", None), ("[]", None), ('{"name": "shop"}', None), ('{"mark": "0a"}', "0a")):
                with open(f"{directory}/instance.json", "w", encoding="utf-8") as file:
                    file.write(text)
                self.assertEqual(_control._run_of(control), run)


class ControlTest(unittest.TestCase):
    def test_instances_are_found_where_the_protocol_says(self):
        self.assertEqual(str(_control.base({"TREEVISOR_RUNTIME_DIR": "/a", "XDG_RUNTIME_DIR": "/b"})), "/a")
        self.assertEqual(str(_control.base({"TREEVISOR_RUNTIME_DIR": "a", "XDG_RUNTIME_DIR": "/b"})), "/b/treevisor")
        with tempfile.TemporaryDirectory() as directory, mock.patch.dict(
            os.environ, {"TREEVISOR_RUNTIME_DIR": directory, "TREEVISOR_INSTANCE": ""}
        ):
            with self.assertRaisesRegex(treevisor.NoInstance, "no instance runs"):
                _control.find()
            listeners = []
            for name in ("a", "b"):
                os.mkdir(f"{directory}/{name}")
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(f"{directory}/{name}/control")
                listener.listen()
                listeners.append(listener)
            with self.assertRaisesRegex(treevisor.NoInstance, "a, b"):
                _control.find()
            self.assertEqual(str(_control.find("a")), f"{directory}/a/control")
            listeners.pop().close()  # Its file stays behind, as after a kill.
            self.assertEqual(str(_control.find()), f"{directory}/a/control")
            listeners.pop().close()
            with self.assertRaisesRegex(treevisor.NoInstance, '"a"'):
                _control.find("a")

    def test_an_instance_that_another_user_may_have_put_there_is_not_trusted(self):
        with tempfile.TemporaryDirectory() as directory, mock.patch.dict(
            os.environ, {"TREEVISOR_RUNTIME_DIR": f"{directory}/treevisor-7", "TREEVISOR_INSTANCE": ""}
        ), socket.socket(socket.AF_UNIX) as listener:
            base = f"{directory}/treevisor-7"
            os.makedirs(f"{base}/a")
            listener.bind(f"{base}/a/control")
            listener.listen()
            os.chmod(base, 0o777)
            self.assertEqual(str(_control.find()), f"{base}/a/control", "no other user can have made it")
            os.chmod(directory, 0o1777)  # As /tmp is.
            for name in (None, "a"):
                with self.assertRaisesRegex(treevisor.NoInstance, "others may write"):
                    _control.find(name)
            os.chmod(base, 0o755)
            self.assertEqual(str(_control.find()), f"{base}/a/control")
            with mock.patch.object(os, "geteuid", lambda: os.lstat(base).st_uid + 1):
                if os.lstat(base).st_uid == 0:
                    os.chown(base, 65_533, -1)
                with self.assertRaisesRegex(treevisor.NoInstance, "belongs to uid"):
                    _control.find()

    def conversation(self, *replies):
        sent = []

        class Conversation:
            def send(self, frames, timeout):
                sent.append(json.loads(frames[2]))
                return True

            def receive(self, timeout):
                return waiting.pop(0) if waiting else None

            def close(self):
                pass

        waiting = [[b"TV1", b"TOLD", json.dumps({"request": 1, "reply": r}).encode()] for r in replies]
        with mock.patch.object(_control, "converse", lambda path: Conversation()):
            return treevisor.Control(socket="/x"), sent

    def test_the_last_reply_counts(self):
        done = {"is": "done", "outcome": "ok", "detail": "2 processes"}
        control, sent = self.conversation({"is": "accepted", "waiting_for": "/a"}, done)
        self.assertEqual(control.panic("/a", hold=True), "2 processes")
        self.assertEqual(sent[0]["verb"], {"verb": "panic", "path": "/a", "hold": True})
        control, _ = self.conversation({"is": "refused", "why": "no_such_path", "message": "there is no /b"})
        with self.assertRaises(treevisor.Refused) as refused:
            control.status("/b")
        self.assertEqual(refused.exception.why, "no_such_path")
        control, _ = self.conversation({"is": "done", "outcome": "overtaken"})
        with self.assertRaises(treevisor.NotDone):
            control.restart("/b")
        control, _ = self.conversation({"is": "accepted", "waiting_for": "/a"})
        with self.assertRaises(treevisor.NoAnswer):
            control.stop("/")
        events = {"is": "events", "events": [{"id": 1}], "lost": 0}
        control, _ = self.conversation({**events, "end": False}, {**events, "end": True})
        self.assertEqual(len(control.events()), 2)


if __name__ == "__main__":
    unittest.main()
