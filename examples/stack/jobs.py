#!/usr/bin/python3
"""Takes jobs from the queue, one after another, and writes the result to the database."""

from parts import database, notify, queue

connection, jobs, done = database(), queue(), 0
notify("READY=1")
while True:
    job = jobs.blpop("thanks", timeout=1)
    if job:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE visits SET thanked = true WHERE id = %s", (int(job[1]),))
        done += 1
    notify(f"WATCHDOG=1\nSTATUS={done} visitors thanked")
