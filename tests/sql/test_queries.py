"""The named queries: the loader's rules, and every statement against the real schema."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.queries import QUERIES_FILE, QueryError, parse_queries, query, query_text

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = sorted(parse_queries(QUERIES_FILE.read_text()))
TEMPORARY_TABLES = [name for name in NAMES if "create temporary table" in query_text(name)]


def test_a_query_ends_where_the_next_begins() -> None:
    queries = parse_queries("-- file\n-- name: a\n-- why\nselect 1;\n\n-- name: b\nselect 2;\n")

    assert queries == {"a": "-- why\nselect 1;", "b": "select 2;"}


@pytest.mark.parametrize(
    "source",
    ["-- name: a\nselect 1;\n-- name: a\nselect 2;", "-- name: Bad Name\nselect 1;", "-- name: a\n-- only words\n"],
    ids=["used twice", "malformed", "no statement"],
)
def test_a_file_that_breaks_the_rules_is_refused(source: str) -> None:
    with pytest.raises(QueryError):
        parse_queries(source)


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(QueryError, match=r"'find_nothing' is not; it has .*find_run"):
        query("find_nothing")


@pytest.mark.parametrize("name", NAMES)
def test_every_query_fits_the_schema(migrated_database: Engine, name: str) -> None:
    statement = query_text(name).rstrip(";")
    with migrated_database.connect() as connection:
        for table in TEMPORARY_TABLES:
            connection.execute(query(table))
        if "from stdin" in statement:
            driver_connection = connection.connection.driver_connection
            assert driver_connection is not None
            with driver_connection.cursor() as cursor, cursor.copy(statement):
                pass
        elif re.search(r"^(create|truncate) ", statement, re.MULTILINE):
            connection.execute(text(statement))
        else:
            parameters = dict.fromkeys(re.findall(r"(?<!:):(\w+)", statement))
            connection.execute(text(f"explain {statement}"), parameters)


def test_every_query_is_used() -> None:
    code = "".join(
        path.read_text() for room in ("operators", "dags", "plugins") for path in REPOSITORY.glob(f"{room}/**/*.py")
    )

    unused = [name for name in NAMES if f'"{name}"' not in code]

    assert unused == []
