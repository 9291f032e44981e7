"""One at a time: whoever places leases, or changes breakers or routing, holds this lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection

from operators.database import Database, transaction
from operators.queries import query


@contextmanager
def exclusive(database: Database) -> Iterator[tuple[Connection, datetime]]:
    """A transaction under the lock, and the database's time once it was had. Do nothing slow in it."""
    with transaction(database) as connection:
        yield connection, take_lock(connection)


def take_lock(connection: Connection) -> datetime:
    """Wait for the lock, in a transaction that has begun, and hold it to its end; returns the database's time then."""
    connection.execute(query("lock_gpus"))
    now: datetime = connection.execute(query("database_clock")).scalar_one()
    return now
