"""Which queries a page sends, and whether their plans read a large table from end to end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event, text

LARGE_ROWS = 50_000
LARGE_TABLES = text(
    "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace and reltuples >= :rows"
)

Plan = Mapping[str, Any]


@dataclass(frozen=True)
class Sent:
    """A query as it went to the database; `settings` is the one before it that changed how queries are planned."""

    statement: str
    parameters: Any
    settings: "Sent | None" = None

    @property
    def is_read(self) -> bool:
        """Whether it can be explained; a `set` or a savepoint cannot."""
        lines = [line for line in self.statement.splitlines() if not line.startswith("--")]
        return "\n".join(lines).lstrip().lower().startswith(("select", "with"))


@contextmanager
def listening(database: Engine) -> Iterator[list[Sent]]:
    """Collect the queries that are sent in the block."""
    sent: list[Sent] = []
    settings: dict[Any, Sent] = {}

    def note(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        sent.append(Sent(statement, parameters, settings.get(connection)))
        if "set_config(" in statement:
            settings[connection] = sent[-1]

    def forget(connection: Any) -> None:
        settings.pop(connection, None)

    # Settings of a transaction end with it.
    heard = (("before_cursor_execute", note), ("commit", forget), ("rollback", forget))
    for name, hear in heard:
        event.listen(database, name, hear)
    try:
        yield sent
    finally:
        for name, hear in heard:
            event.remove(database, name, hear)


def large_tables(database: Engine) -> frozenset[str]:
    """Tables that no page may read from end to end. The database must have been analyzed."""
    with database.connect() as connection:
        return frozenset(connection.execute(LARGE_TABLES, {"rows": LARGE_ROWS}).scalars())


def explain(database: Engine, sent: Sent) -> Plan:
    """The plan by which the database answers this query, with these values."""
    with database.connect() as connection:
        if sent.settings:
            connection.exec_driver_sql(sent.settings.statement, sent.settings.parameters)
        cursor = connection.exec_driver_sql(f"explain (format json) {sent.statement}", sent.parameters)
        plan: Plan = cursor.scalar_one()[0]["Plan"]
    return plan


def full_scans(plan: Plan, tables: frozenset[str]) -> list[str]:
    """Those of `tables` that a plan reads from end to end: by a sequential scan, or by an index without a condition."""
    here = []
    name = plan.get("Relation Name")
    if name in tables:
        is_whole_index = plan["Node Type"] in ("Index Scan", "Index Only Scan") and "Index Cond" not in plan
        # An index that is read in its order until enough is found is how a page of a list is had.
        if plan["Node Type"] == "Seq Scan" or (is_whole_index and not plan.get("within_limit")):
            here.append(str(name))
    is_limited = plan["Node Type"] == "Limit" or bool(plan.get("within_limit"))
    for child in plan.get("Plans", []):
        here += full_scans({**child, "within_limit": is_limited}, tables)
    return here
