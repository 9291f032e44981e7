"""Brings the database up to date: `python -m operators.migrate`.

Each migration is one transaction that inserts its own row first. Of two migrators at once, the
second waits at that row until the first commits, finds it taken and goes on to the next.
"""

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from operators.database import connect
from operators.errors import NightreelError
from operators.queries import query

MIGRATIONS_DIR = Path(__file__).resolve().parents[1] / "sql" / "migrations"
FILE_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
CONNECT_PATIENCE_S = 60.0


class MigrationError(NightreelError):
    """The migrations do not fit each other or the database."""


@dataclass(frozen=True)
class Migration:
    """One file of `sql/migrations`."""

    version: int
    name: str
    path: Path


def read_migrations(directory: Path = MIGRATIONS_DIR) -> list[Migration]:
    """All migrations in order, numbered from 1 without gaps.

    Raises:
        MigrationError: a file is misnamed, or a number is missing or used twice.
    """
    migrations = []
    for path in sorted(directory.glob("*.sql")):
        match = FILE_NAME.match(path.name)
        if not match:
            raise MigrationError(f"a migration must be named NNNN_words.sql: found {path.name!r}")
        migrations.append(Migration(int(match[1]), match[2], path))
    versions = [migration.version for migration in migrations]
    if versions != list(range(1, len(versions) + 1)):
        raise MigrationError(f"migrations must be numbered from 1 without gaps: found {versions}")
    return migrations


def migrate(engine: Engine, migrations: list[Migration] | None = None) -> list[Migration]:
    """Apply what the database lacks.

    Returns:
        What this call applied; nothing when the database was up to date.

    Raises:
        MigrationError: the database has migrations that these are not.
    """
    wanted = read_migrations() if migrations is None else migrations
    _create_schema_migration(engine)
    _refuse_strangers(engine, wanted)
    return [migration for migration in wanted if _apply(engine, migration)]


def _create_schema_migration(engine: Engine) -> None:
    try:
        with engine.begin() as connection:
            connection.execute(query("create_schema_migration"))
    except (IntegrityError, ProgrammingError):
        # `if not exists` does not see a table that another migrator is making; by now it is made.
        with engine.begin() as connection:
            connection.execute(query("create_schema_migration"))


def _refuse_strangers(engine: Engine, wanted: list[Migration]) -> None:
    with engine.begin() as connection:
        applied = {row.version: row.name for row in connection.execute(query("list_migrations"))}
    known = {migration.version: migration.name for migration in wanted}
    strange = [f"{version:04}_{name}" for version, name in applied.items() if known.get(version) != name]
    if strange:
        raise MigrationError(
            f"the database must not be ahead of this code: it has {', '.join(strange)}; run the code it was made by"
        )


def _apply(engine: Engine, migration: Migration) -> bool:
    with engine.begin() as connection:
        claim = {"version": migration.version, "name": migration.name}
        if connection.execute(query("claim_migration"), claim).first() is None:
            return False
        connection.exec_driver_sql(migration.path.read_text(), execution_options={"no_parameters": True})
    return True


def wait_for(engine: Engine, patience_s: float = CONNECT_PATIENCE_S) -> None:
    """Return as soon as the server takes connections.

    Raises:
        OperationalError: it does not within `patience_s`.
    """
    give_up_s = time.monotonic() + patience_s
    while True:
        try:
            engine.connect().close()
        except OperationalError:
            if time.monotonic() >= give_up_s:
                raise
            time.sleep(1)
        else:
            return


def main() -> int:
    """Migrate the database that the environment names, and say what was done."""
    try:
        engine = connect()
        wait_for(engine)
        applied = migrate(engine)
    except (NightreelError, OperationalError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for migration in applied:
        sys.stdout.write(f"applied {migration.version:04} {migration.name}\n")
    sys.stdout.write("the database is up to date\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
