"""Which queries a page sends, and whether their plans read a large table from end to end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event, text

LARGE_ROWS = 50_000
LARGE_TABLES = text(
    "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace and reltuples >= :rows"
)

Plan = Mapping[str, Any]


@contextmanager
def explaining(database: Engine) -> Iterator[list[Plan | None]]:
    """Collect a plan of each query that is sent in the block; none of what cannot be explained, such as a `set`.

    Each is made just before the query, in its transaction: with its values, and with what was set for it.
    """
    plans: list[Plan | None] = []

    def note(connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if not _is_read(statement):
            plans.append(None)
            return
        cursor = connection.connection.cursor()
        cursor.execute(f"explain (format json) {statement}", parameters)
        plans.append(cursor.fetchone()[0][0]["Plan"])  # type: ignore[index]
        cursor.close()

    event.listen(database, "before_cursor_execute", note)
    try:
        yield plans
    finally:
        event.remove(database, "before_cursor_execute", note)


def large_tables(database: Engine) -> frozenset[str]:
    """Tables that no page may read from end to end. The database must have been analyzed."""
    with database.connect() as connection:
        return frozenset(connection.execute(LARGE_TABLES, {"rows": LARGE_ROWS}).scalars())


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


def _is_read(statement: str) -> bool:
    lines = [line for line in statement.splitlines() if line.strip() and not line.lstrip().startswith("--")]
    return lines[0].lstrip().lower().startswith(("select", "with")) if lines else False
