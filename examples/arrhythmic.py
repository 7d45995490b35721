#!/usr/bin/env python3
"""Arrhythmia: a worker whose heart cannot keep time, in Python.

    pip install ./clients/python
    treevisor run --heartbeat 1s --misses 2 -- python3 examples/arrhythmic.py

Each turn of its loop takes a random time of up to three intervals, then it beats; and in one turn out of ten it crashes
with a segmentation fault. Its supervisor takes the long pauses for a hang and the crash for what it is.
"""

import os
import random
import resource
import signal
import sys
import time

import treevisor

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # The crashes are on purpose; their core files are not wanted.

with treevisor.Heart() as heart:
    turn = 0
    while True:
        time.sleep(random.uniform(0, 3 * (heart.interval or 1)))
        if random.random() < 0.1:
            print("my heart!", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        turn += 1
        heart.beat(status=f"turn {turn}")
