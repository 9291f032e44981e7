"""Named queries from `sql/queries.sql`."""

import re
from functools import cache
from pathlib import Path

from sqlalchemy import TextClause, text

from operators.errors import NightreelError

QUERIES_FILE = Path(__file__).resolve().parents[1] / "sql" / "queries.sql"
NAME_LINE = re.compile(r"^-- name:(.*)$", re.MULTILINE)


class QueryError(NightreelError):
    """`queries.sql` breaks its own rules, or holds no query of the name asked for."""


def query(name: str) -> TextClause:
    """The query `name`, its parameters written `:parameter`.

    Raises:
        QueryError: there is no query of that name.
    """
    return text(query_text(name))


def query_text(name: str) -> str:
    """The query `name` as it is written in the file.

    Raises:
        QueryError: there is no query of that name.
    """
    queries = _stored_queries()
    if name not in queries:
        raise QueryError(
            f"a query must be in {QUERIES_FILE.name}: {name!r} is not; it has {', '.join(sorted(queries))}"
        )
    return queries[name]


def parse_queries(source: str) -> dict[str, str]:
    """Queries by name. What stands before the first name is the file's own comment.

    Raises:
        QueryError: a name is malformed or used twice, or has no statement.
    """
    _, *parts = NAME_LINE.split(source)
    queries: dict[str, str] = {}
    for name, body in zip(map(str.strip, parts[::2]), map(str.strip, parts[1::2]), strict=True):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise QueryError(f"a query's name must be lower_case words: found {name!r}")
        if name in queries:
            raise QueryError(f"a query's name must be used once: {name!r} is used twice; rename one")
        if all(not line or line.startswith("--") for line in body.splitlines()):
            raise QueryError(f"a name must be followed by a statement: {name!r} has none")
        queries[name] = body
    return queries


@cache
def _stored_queries() -> dict[str, str]:
    return parse_queries(QUERIES_FILE.read_text())
