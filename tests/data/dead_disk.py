#!/usr/bin/env python3
"""A disk with one file that stops answering on demand.

    dead_disk.py DIRECTORY COPY PROGRAM [ARGUMENT...]

Mounts a FUSE file system at DIRECTORY, in a mount namespace of its own, with an empty file "out" in it. Runs PROGRAM there with that
file as its standard output and error, and says "running". Words on stdin: "hang": nothing is answered any more; "go": all is again.
When the program has ended, what the file holds is written to COPY, and the exit status is the program's. "cannot" and exit status 77
where that cannot be had."""
import ctypes
import os
import select
import signal
import struct
import subprocess
import sys
import threading

directory, copy, *program = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)


def cannot(why):
    print("cannot:", why, flush=True)
    sys.exit(77)


try:
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
except OSError as error:
    cannot(error)
if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x44000, None):
    cannot("no mount namespace of its own")
if libc.mount(b"disk", directory.encode(), b"fuse.disk", 0, b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fuse):
    cannot("FUSE cannot be mounted: " + os.strerror(ctypes.get_errno()))

content = bytearray()
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, INIT, OPENDIR, RELEASEDIR, ACCESS, INTERRUPT, BATCH_FORGET = 20, 26, 27, 29, 34, 36, 42
ENOENT, ENOSYS = 2, 38


def attributes(node):
    mode, size = (0o40777, 0) if node == 1 else (0o100666, len(content))
    return struct.pack("<6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(operation, node, body):
    """The answer to a request; an int is an error."""
    # Nothing is remembered by the kernel, so that each look at the file asks.
    if operation == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 8, 8, 1 << 16, 1, 0, 0, *[0] * 8)
    if operation == LOOKUP:
        return struct.pack("<4Q2I", 2, 0, 0, 0, 0, 0) + attributes(2) if body == b"out\0" else ENOENT
    if operation in (GETATTR, SETATTR):
        return struct.pack("<Q2I", 0, 0, 0) + attributes(node)
    if operation in (OPEN, OPENDIR):
        return struct.pack("<Q2I", 0, 1 if operation == OPEN else 0, 0)
    if operation == READ:
        offset, size = struct.unpack("<QI", body[8:20])
        return bytes(content[offset : offset + size])
    if operation == WRITE:
        offset, size = struct.unpack("<QI", body[8:20])
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + size] = body[40 : 40 + size]
        return struct.pack("<2I", size, 0)
    # FLUSH is not known here, and the kernel remembers that from the first one on: a process that ends waits for it uninterruptibly,
    # which no program can help.
    if operation in (RELEASE, RELEASEDIR, FSYNC, ACCESS):
        return b""
    return ENOSYS


def serve():
    """The disk: its own thread, as the program's first open waits for it."""
    hangs = False
    while True:
        ready, _, _ = select.select([sys.stdin] if hangs else [fuse, sys.stdin], [], [])
        if sys.stdin in ready:
            word = sys.stdin.readline()
            if not word:
                os._exit(1)
            hangs = word == "hang\n"
            print("so be it", flush=True)
            continue
        try:
            request = os.read(fuse, 1 << 17)
        except OSError:
            continue
        _, operation, unique, node = struct.unpack("<2I2Q", request[:24])
        if operation in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        body = answer(operation, node, request[40:])
        error, body = (-body, b"") if isinstance(body, int) else (0, body)
        try:
            os.write(fuse, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
        except OSError:
            pass


threading.Thread(target=serve, daemon=True).start()
file = os.path.join(directory, "out")
# The first flush. In a child that shares this process until it executes its program (vfork) no thread here could answer it.
os.close(os.open(file, os.O_WRONLY))
out = os.open(file, os.O_WRONLY | os.O_APPEND)
child = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
os.close(out)
print("running", child.pid, flush=True)
code = child.wait()
with open(copy, "wb") as copied:
    copied.write(content)
libc.umount2(directory.encode(), 2)
print("ended", flush=True)
os._exit(code if code >= 0 else 128 - code)
