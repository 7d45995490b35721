"""One life of a supervisor with its workers, and what /proc tells of it.

The benchmark makes itself a subreaper: whatever a contestant leaves behind becomes its child. So "everything is gone" is a
question to the kernel with an exact answer, waitid(2) says ECHILD, and needs no polling that would disturb the measurement.
"""

import ctypes
import errno
import os
import select
import signal
import struct
import time

RECORD = struct.Struct("=QII")
# Kinds of records, as in record.h.
FIRST_INSTRUCTION, LAST_BEAT, BEATS, LONGEST_GAP, CPU_TIME, COUNTED = range(6)
PR_SET_CHILD_SUBREAPER = 36
F_SETPIPE_SZ = 1031


class Failure(Exception):
    pass


def become_reaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    # Waited for with sigtimedwait(2).
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})


def reap_all(seconds):
    """Waits until no process of ours is left; when that was, in nanoseconds. None if some are left."""
    end = time.monotonic() + seconds
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return time.monotonic_ns()
        if pid == 0:
            left = end - time.monotonic()
            if left <= 0 or (signal.sigtimedwait({signal.SIGCHLD}, left) is None and time.monotonic() >= end):
                return None


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found


def descendants(pid):
    found, queue = [], [pid]
    while queue:
        below = children(queue.pop())
        found += below
        queue += below
    return found


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def cpu_ns(pid, tasks=None):
    """CPU time of these threads, or of all. By the scheduler's nanoseconds where the kernel counts them, else in ticks."""
    total = 0
    for task in tasks or os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        except OSError:
            with open(f"/proc/{pid}/task/{task}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return total


def switches(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as file:
            total += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
    return total


class Life:
    """A running contestant. Its workers report through a FIFO of their own."""

    def __init__(self, folder, contestant, shape, worker, **options):
        self.folder, self.contestant, self.shape, self.worker = folder, contestant, shape, worker
        self.fifo_path = os.path.join(folder, "fifo")
        os.mkfifo(self.fifo_path)
        # For reading and writing: there is never an end of file, and no worker waits for a reader.
        self.fifo = os.open(self.fifo_path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            import fcntl
            fcntl.fcntl(self.fifo, F_SETPIPE_SZ, 1 << 20)
        except OSError:
            pass  # 64 KiB hold 4,000 records as well.
        self.buffer = b""
        self.log_path = os.path.join(folder, "log")
        command, environment = contestant.prepare(folder, shape, worker, **options)
        environment = {**environment, "BENCH_FIFO": self.fifo_path}
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        self.launched = time.monotonic_ns()
        self.pid = os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True, setsigmask=[])

    def records(self, number, seconds, pause=0.0):
        """The next records. With a pause they are looked for that often only, which leaves the CPUs to the contestants."""
        end = time.monotonic() + seconds
        found = []
        while True:
            try:
                self.buffer += os.read(self.fifo, 1 << 16)
            except BlockingIOError:
                pass
            whole = min(len(self.buffer) // RECORD.size, number - len(found))
            found += RECORD.iter_unpack(self.buffer[:whole * RECORD.size])
            self.buffer = self.buffer[whole * RECORD.size:]
            if len(found) == number:
                return found
            left = end - time.monotonic()
            if left <= 0:
                raise Failure(f"{self.contestant.name}: {len(found)} of {number} records came in {seconds:.0f} s; {self.last_words()}")
            if pause:
                time.sleep(pause)
            else:
                select.select([self.fifo], [], [], min(left, 1.0))

    def wait_for(self, wanted, seconds):
        """So many records of each kind, as (number, pid), in any order."""
        found = {kind: [] for kind in wanted}
        end = time.monotonic() + seconds
        while any(len(found[kind]) < number for kind, number in wanted.items()):
            [(number, pid, kind)] = self.records(1, max(end - time.monotonic(), 0))
            found.setdefault(kind, []).append((number, pid))
        return found

    def next_of(self, wanted, seconds):
        """The number of the next record of this kind."""
        end = time.monotonic() + seconds
        while True:
            [(number, _, kind)] = self.records(1, max(end - time.monotonic(), 0))
            if kind == wanted:
                return number

    def forget(self):
        """Drops the records that have arrived until now."""
        try:
            while True:
                self.buffer += os.read(self.fifo, 1 << 16)
        except BlockingIOError:
            self.buffer = self.buffer[len(self.buffer) - len(self.buffer) % RECORD.size:]

    def last_words(self):
        try:
            with open(self.log_path, errors="replace") as file:
                lines = file.readlines()
            # What went wrong first says more than what followed from it.
            wrong = [line for line in lines if " WARN " in line or " ERRO" in line or "cannot" in line or "could not" in line]
            return "its log says: " + "".join(wrong[:10] + lines[-5:]).strip()
        except OSError:
            return "it has no log"

    def supervisors(self):
        """Everything that is not a worker: the supervisors themselves, and what they keep beside them."""
        # Those that have left the supervisor's own descent have come to us, their subreaper.
        found = [self.pid] + descendants(self.pid)
        worker = os.path.realpath(self.worker)
        chosen = []
        for pid in found:
            try:
                if os.path.realpath(f"/proc/{pid}/exe") != worker:
                    chosen.append(pid)
            except OSError:
                pass
        return chosen

    def signal_stop(self):
        now = time.monotonic_ns()
        os.kill(self.pid, self.contestant.stop_signal)
        return now

    def close(self):
        os.close(self.fifo)


def kill_all():
    """Whatever is left of ours, after a failure: the number of processes."""
    killed = set()
    for _ in range(200):
        left = descendants(os.getpid())
        if not left:
            break
        killed.update(left)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError as error:
                if error.errno != errno.ESRCH:
                    raise
        reap_all(0.05)
    return len(killed)
