#!/usr/bin/env python3
"""Brings the data to the form that this version of the shop expects, and exits: a step."""

from store import Store

with Store() as store:
    have = int(store.ask("GET", "schema") or 0)
    for step in range(have, 3):
        store.ask("SET", "schema", step + 1)
        print(f"migrated to schema {step + 1}", flush=True)
print("the schema is up to date", flush=True)
