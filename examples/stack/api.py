"""The application, for gunicorn: counts a visit in the database, and leaves a job in the queue."""

import os

from gunicorn.workers.sync import SyncWorker

from parts import database, notify, queue

VERSION = os.environ["VERSION"]


class Worker(SyncWorker):
    """gunicorn's own worker; its loop reports to gunicorn that it lives, and to the supervisor as well."""

    def notify(self):
        super().notify()
        notify("WATCHDOG=1")


def app(environ, start_response):
    connection = database()
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO visits DEFAULT VALUES RETURNING id")
            (visit,) = cursor.fetchone()
    finally:
        connection.close()
    queue().rpush("thanks", visit)
    body = f"version {VERSION}, copy {os.environ['TREEVISOR_NUMBER']}, visit {visit}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
