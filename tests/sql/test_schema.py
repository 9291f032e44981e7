"""The schema, the migrations that lead to it, and the contract's words in both."""

import re
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from operators.migrate import Migration, MigrationError, migrate, read_migrations
from operators.stage_plan import AttemptOutcome
from operators.timings import RunItemOutcome, RunOutcome
from stage_contract.vocabulary import PhaseOutcome, Reason, ResultStatus, Stage, Variant

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "sql" / "schema.sql"

COLUMNS = """
    select c.table_name, c.column_name, c.data_type, c.udt_name, c.domain_name, c.is_nullable, c.column_default,
        c.numeric_precision, c.generation_expression,
        col_description(format('%I', c.table_name)::regclass, c.ordinal_position) as comment
    from information_schema.columns as c where table_schema = 'public'
    order by c.table_name, c.ordinal_position
"""
CONSTRAINTS = """
    select conrelid::regclass::text, contypid::regtype::text, conname, pg_get_constraintdef(oid)
    from pg_constraint where connamespace = 'public'::regnamespace order by 1, 2, 3
"""
INDEXES = "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by 1, 2"
RELATIONS = """
    select relname, relkind, obj_description(oid, 'pg_class'), case when relkind = 'v' then pg_get_viewdef(oid) end
    from pg_class where relnamespace = 'public'::regnamespace order by 1
"""
DOMAINS = """
    select typname, format_type(typbasetype, typtypmod), typnotnull, obj_description(oid, 'pg_type')
    from pg_type where typtype = 'd' and typnamespace = 'public'::regnamespace order by 1
"""
FUNCTIONS = """
    select proname, pg_get_functiondef(oid), obj_description(oid, 'pg_proc')
    from pg_proc where pronamespace = 'public'::regnamespace order by 1, 2
"""


def catalog_of(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    asked = {
        "columns": COLUMNS,
        "constraints": CONSTRAINTS,
        "indexes": INDEXES,
        "relations": RELATIONS,
        "domains": DOMAINS,
        "functions": FUNCTIONS,
    }
    with engine.begin() as connection:
        return {name: [tuple(row) for row in connection.execute(text(sql))] for name, sql in asked.items()}


def test_migrations_lead_to_the_schema(empty_database: Engine, migrated_database: Engine) -> None:
    with empty_database.begin() as connection:
        connection.exec_driver_sql(SCHEMA_FILE.read_text(), execution_options={"no_parameters": True})

    from_schema, from_migrations = catalog_of(empty_database), catalog_of(migrated_database)

    assert len(from_schema["columns"]) > 100
    assert from_migrations == from_schema


def test_every_table_and_view_has_a_comment(migrated_database: Engine) -> None:
    bare = [row[0] for row in catalog_of(migrated_database)["relations"] if row[1] in ("r", "v") and not row[2]]

    assert bare == []


@pytest.mark.parametrize(
    ("words", "constraint"),
    [
        (Stage, "stage_name_check"),
        (Variant, "variant_name_check"),
        (Reason, "rejection_reason_check"),
        (AttemptOutcome, "stage_attempt_outcome_check"),
        (RunOutcome, "processing_run_outcome_check"),
        (RunItemOutcome, "run_item_outcome_check"),
        (PhaseOutcome, "phase_timing_outcome_check"),
        (ResultStatus, "stage_result_status_check"),
    ],
)
def test_the_database_takes_exactly_the_words_of_the_code(
    migrated_database: Engine, words: type[StrEnum], constraint: str
) -> None:
    with migrated_database.begin() as connection:
        definition = connection.execute(
            text("select pg_get_constraintdef(oid) from pg_constraint where conname = :name"), {"name": constraint}
        ).scalar_one()

    assert set(re.findall(r"'([^']+)'", definition)) == {str(word) for word in words}


def test_migrating_again_applies_nothing(empty_database: Engine) -> None:
    first = migrate(empty_database)

    assert [migration.version for migration in first] == [m.version for m in read_migrations()]
    assert migrate(empty_database) == []


def test_migrators_at_once_apply_each_migration_once(empty_database: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = [migration for done in pool.map(lambda _: migrate(empty_database), range(4)) for migration in done]

    assert sorted(migration.version for migration in applied) == [m.version for m in read_migrations()]


def test_a_migration_that_fails_leaves_nothing_behind_and_can_be_repeated(
    empty_database: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "0001_half.sql"
    path.write_text("create table half_made (id integer); select no_such_function();")
    broken = [Migration(1, "half", path)]
    with pytest.raises(ProgrammingError):
        migrate(empty_database, broken)
    path.write_text("create table half_made (id integer);")

    assert migrate(empty_database, broken) == broken


def test_a_database_ahead_of_the_code_is_refused(empty_database: Engine) -> None:
    migrate(empty_database)

    with pytest.raises(MigrationError, match="must not be ahead"):
        migrate(empty_database, read_migrations()[:-1])


@pytest.mark.parametrize("names", [["0002_second.sql"], ["0001_a.sql", "0001_b.sql"], ["first.sql"]])
def test_misnumbered_migrations_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("select 1;")

    with pytest.raises(MigrationError):
        read_migrations(tmp_path)
