"""The connection to the database "media"."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from operators.errors import SettingMissing

URL_VARIABLE = "NIGHTREEL_DATABASE_URL"
DRIVER = "postgresql+psycopg"
CONNECT_TIMEOUT_S = 10

# A host that vanishes says nothing, and the kernel would believe in it for hours: a step of the night would hang, or
# its locks would be held by nobody. So a connection is asked after 30 s of silence and given up after three questions,
# and what was sent may stay unacknowledged for a minute: long enough for a cable to be plugged in again. Both ends keep
# to it. A long query is no silence, since the other end's kernel answers.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-KEEPALIVES
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
UNACKNOWLEDGED_MS = 60_000

SESSION = {
    "timezone": "UTC",
    **{f"tcp_{name}": value for name, value in KEEPALIVE.items()},
    "tcp_user_timeout": UNACKNOWLEDGED_MS,
}
"""Settings of each session, on the server's side."""

Database = Engine | Connection
"""An engine, for a transaction of one's own; or a connection, to take part in the caller's."""


def connect() -> Engine:
    """An engine for the database that `NIGHTREEL_DATABASE_URL` names. Connects on first use.

    Raises:
        SettingMissing: the variable is not set, or is no URL of that kind.
    """
    rule = f"{URL_VARIABLE} must be {DRIVER}://USER:PASSWORD@HOST:PORT/media"
    given = os.environ.get(URL_VARIABLE)
    if not given:
        raise SettingMissing(f"{rule}, and is not set; `make up` sets it")
    try:
        url = make_url(given)
    except ArgumentError:
        # The value may hold a password, so it is neither shown nor chained.
        raise SettingMissing(f"{rule}; what it is set to is no URL") from None
    if url.drivername != DRIVER:
        raise SettingMissing(f"{rule}; it names {url.drivername}")
    return open_engine(given)


def open_engine(url: str) -> Engine:
    """A small pool, since each task has its own; a connection is tried before it is handed out."""
    return create_engine(
        url,
        pool_size=2,
        max_overflow=2,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "nightreel",
            "keepalives": 1,
            **KEEPALIVE,
            "tcp_user_timeout": UNACKNOWLEDGED_MS,
            "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
        },
    )


@contextmanager
def transaction(database: Database) -> Iterator[Connection]:
    """All of the block or nothing: a transaction, or a savepoint in the one that a connection is in."""
    if isinstance(database, Engine):
        with database.begin() as connection:
            yield connection
    elif database.in_transaction():
        with database.begin_nested():
            yield database
    else:
        with database.begin():
            yield database
