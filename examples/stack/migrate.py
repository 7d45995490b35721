#!/usr/bin/python3
"""Brings the schema up to date, and exits: a step. It runs again whenever the database was restarted, and may."""

from parts import database

with database().cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS visits (id serial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())")
    cursor.execute("ALTER TABLE visits ADD COLUMN IF NOT EXISTS thanked boolean NOT NULL DEFAULT false")
print("the schema is up to date", flush=True)
