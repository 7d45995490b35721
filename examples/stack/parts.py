"""What the programs of the stack have in common: the database, the queue, and reports to the supervisor."""

import os
import socket

import psycopg2
import redis


def database():
    """A connection to PostgreSQL; each statement is a transaction of its own."""
    # A relative directory of a socket is none for libpq.
    connection = psycopg2.connect(os.environ["DATABASE"].replace("host=sockets", "host=" + os.path.abspath("sockets")))
    connection.autocommit = True
    return connection


def queue():
    return redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"])


def notify(text):
    """READY=1, WATCHDOG=1 or STATUS=..., by the protocol of sd_notify(3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
