#!/usr/bin/env python3
"""Watches over a program that `treevisor run` supervises, in Python: one line for each thing that happens to it.

    pip install ./clients/python
    treevisor run --name app --heartbeat 1s --misses 2 -- python3 examples/arrhythmic.py
    python3 examples/monitor.py app
"""

import sys

import treevisor

instance = sys.argv[1] if len(sys.argv) > 1 else None
try:
    for event in treevisor.follow("/", instance=instance):
        how = event.get("signal_name") or event.get("code", "")
        print(event["at"], event["path"], event["kind"], how, flush=True)
except treevisor.TreevisorError as error:
    raise SystemExit(f"cannot follow: {error}")
except KeyboardInterrupt:
    pass
