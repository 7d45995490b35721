#!/usr/bin/env python3
"""A program with arrhythmia that does not know treevisor.

It sleeps a random time of up to three seconds, reports that it is alive, and crashes in one turn out of ten:
a read-eval-heartbeat-print loop without the reading. All that it knows is a ZeroMQ PUSH socket (Debian: python3-zmq).

usage: random_app.py [ENDPOINT]         ipc://heartbeat by default
"""

import random
import sys
import time

import zmq

endpoint = sys.argv[1] if len(sys.argv) > 1 else "ipc://heartbeat"
heart = zmq.Context.instance().socket(zmq.PUSH)
# Short memory: old heartbeats are of no use. And at the end there is nothing to wait for.
heart.setsockopt(zmq.SNDHWM, 2)
heart.setsockopt(zmq.LINGER, 0)
heart.connect(endpoint)

while True:
    time.sleep(random.uniform(0, 3))
    print("ba-dum", flush=True)
    if random.random() < 0.1:
        raise SystemExit("my heart!")
    try:
        heart.send(b"", zmq.NOBLOCK)
    except zmq.Again:
        pass  # There is no listener; a heart does not wait for one.
