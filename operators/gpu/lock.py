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
        connection.execute(query("lock_gpus"))
        yield connection, connection.execute(query("database_clock")).scalar_one()
