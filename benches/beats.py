"""What it costs to listen: 2,000 workers that beat ten times a second, read by treevisor and by loops that only count.

The same program beats for all of them. It counts what it has sent and measures its own longest pause, so it can be told whether a
beat was lost, and whether a child that was called late had really beaten in time.
"""

import collections
import json
import os
import signal
import subprocess
import time

import contestants
from contestants import Contestant, Shape, clean_environment
from lives import BEATS, COUNTED, CPU_TIME, FIRST_INSTRUCTION, LAST_BEAT, LONGEST_GAP, Failure, cpu_ns, pss_kib, switches

WORKERS = Shape(2000)
INTERVAL, MISSES = 100, 3
# A beat is late after one interval and a half; what the sender itself took so long for is not the receiver's doing.
LATE_NS = INTERVAL * 1_500_000
# libzmq's name for its thread of input and output.
IO_THREAD = "ZMQbg/IO/0"
WAYS = [("router", "zmq", "frames"), ("datagrams", "notify", "datagrams")]


class Counter(Contestant):
    """A loop that counts, and starts its own senders."""

    missed = 0

    def __init__(self, name, note, program, way):
        super().__init__(name, note)
        self.program, self.way, self.by_zmq = program, way, way == "router"

    def prepare(self, folder, shape, worker, **_):
        command = [self.program, self.way, str(shape.workers), os.path.join(folder, "s"), worker]
        return command, clean_environment(TREEVISOR_HEARTBEAT_MS=str(INTERVAL))

    def heard(self, life):
        os.kill(life.pid, signal.SIGUSR2)
        [count] = life.wait_for({COUNTED: 1}, 10)[COUNTED]
        return count[0]

    def blamed(self, _):
        return []


class Listener(contestants.Treevisor):
    """treevisor, whose workers beat by one of the two ways."""

    def __init__(self, name, note, program, source):
        super().__init__(name, note, program, "group", True)
        self.source, self.by_zmq = source, source == "zmq"

    def prepare(self, folder, shape, worker, beside=None):
        return super().prepare(folder, shape, worker, heartbeat=(INTERVAL, MISSES, self.source), beside=beside)

    def ask(self, life, verb):
        environment = clean_environment(TREEVISOR_RUNTIME_DIR=os.path.join(life.folder, "r"))
        ended = subprocess.run([self.program, verb, "--json"], env=environment, stdout=subprocess.PIPE, timeout=60, check=True)
        return ended.stdout

    def heard(self, life):
        root = json.loads(self.ask(life, "status"))["root"]
        hearts = [child["heartbeat"] for child in root["children"]]
        self.missed = sum(heart["missed"] for heart in hearts)
        return sum(heart["beats"] for heart in hearts)

    def blamed(self, life):
        """The process of each event that calls a child late or hung."""
        events = map(json.loads, self.ask(life, "events").splitlines())
        return [event["pid"] for event in events if event["kind"] in ("beat_late", "hung")]


def gather(builds, count):
    """What listens: the loops that count first, then each treevisor."""
    found = []
    for way, source, what in WAYS:
        found.append(Counter(f"count {what}", f"a C loop that counts {what}; {way}", count, way))
        for name, path in builds:
            found.append(Listener(f"{name} {source}", f"heartbeat.source = \"{source}\", interval {INTERVAL} ms x {MISSES}", path, source))
    return found


def per_thread_ns(pid):
    """CPU time of libzmq's thread alone."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as comm:
            if comm.read().strip() == IO_THREAD:
                total += cpu_ns(pid, [task])
    return total


def measure(bench):
    for repetition in range(bench.options.repeat):
        shift = repetition % len(bench.listeners)
        for contestant in bench.listeners[shift:] + bench.listeners[:shift]:
            bench.attempt(one_life, bench, contestant)
        bench.progress(f"beats: {repetition + 1} of {bench.options.repeat}")


def one_life(bench, contestant):
    life = bench.live(contestant, WORKERS, bench.tools["beater"])

    def add(what, value):
        bench.samples.add(f"beats, {what}", contestant.name, value)

    workers = [pid for _, pid, _ in life.records(WORKERS.workers, 60, pause=0.02)]
    # The starts are over for the kernel and for the supervisors.
    time.sleep(2.0)
    receivers = life.supervisors()

    def look():
        return [time.monotonic() * 1e9] + [sum(map(of, receivers)) for of in (cpu_ns, per_thread_ns, switches)]

    before = look()
    time.sleep(bench.options.idle_seconds * 2)
    seconds, cpu, io_cpu, switched = (after - then for after, then in zip(look(), before))
    seconds /= 1e9
    memory = sum(map(pss_kib, receivers)) / 1024
    blamed = collections.Counter(contestant.blamed(life))
    for pid in workers:
        os.kill(pid, signal.SIGUSR1)
    kinds = life.wait_for({BEATS: len(workers), LONGEST_GAP: len(workers), CPU_TIME: len(workers)}, 60)
    sent = sum(number for number, _ in kinds[BEATS])
    gaps = {pid: gap for gap, pid in kinds[LONGEST_GAP]}
    # All has been handed over, but the last of it may not have been looked at yet.
    end = time.monotonic() + 5
    while (heard := contestant.heard(life)) < sent and time.monotonic() < end:
        time.sleep(0.05)
    at_farewell = len(contestant.blamed(life)) - blamed.total()
    wrongly = sum(count for pid, count in blamed.items() if gaps.get(pid, 0) <= LATE_NS)

    add("CPU", cpu / 1e6 / seconds)
    if contestant.by_zmq:
        add("of that libzmq's thread", io_cpu / 1e6 / seconds)
    add("switches", switched / seconds)
    add("memory", memory)
    add("sender", sum(number for number, _ in kinds[CPU_TIME]) / 1e3 / sent)
    add("sent", sent)
    add("lost", sent - heard)
    add("paused by themselves", sum(gap > LATE_NS for gap in gaps.values()))
    add("missed", contestant.missed)
    add("late", sum(blamed.values()))
    add("wrongly late", wrongly)
    add("late at the farewell", at_farewell)
    bench.end(life)
    if sent != heard or wrongly:
        raise Failure(f"{contestant.name}: {sent - heard} of {sent} beats were lost, {wrongly} children wrongly called late")


def hangs(bench):
    """A worker beats every 20 ms, and then no more; its silence is noticed after interval times misses."""
    watching = [c for c in bench.listeners if isinstance(c, Listener)]
    for repetition in range(bench.options.repeat):
        for contestant in watching:
            bench.attempt(one_hang, bench, contestant, "hang", Shape(1), bench.tools["hang"])
            bench.attempt(one_hang, bench, contestant, f"hang, among {WORKERS.workers:,}", WORKERS, bench.tools["beater"])
        bench.progress(f"hang: {repetition + 1} of {bench.options.repeat}")


def one_hang(bench, contestant, name, shape, worker):
    """The worker is alone, or beside others that beat; it hangs, is killed and begins anew again and again."""
    crowd = shape is WORKERS
    life = bench.live(contestant, shape, worker, **({"beside": bench.tools["hang"]} if crowd else {}))
    # The first silence may fall into the start of the others.
    life.wait_for({FIRST_INSTRUCTION: shape.workers + crowd}, 60)
    time.sleep(2.0 if crowd else 0)
    life.forget()
    for _ in range(3 if crowd else 1):
        last = life.next_of(LAST_BEAT, 20)
        again = life.next_of(FIRST_INSTRUCTION, 20)
        bench.samples.add(name, contestant.name, (again - last) / 1e6)
    bench.end(life)
