#!/usr/bin/env python3
"""Does the jobs of the queue, one after another. The job `hang` makes it hang, as a deadlock would."""

import time

from store import Store, notify

with Store() as store:
    notify("READY=1")
    done = 0
    while True:
        job = store.ask("BLPOP", "jobs", 1)
        if job and job[1] == "hang":
            print("the next job never ends", flush=True)
            time.sleep(3600)
        done += bool(job)
        notify(f"WATCHDOG=1\nSTATUS={done} jobs")
