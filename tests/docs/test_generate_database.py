"""docs/database.md says what schema.sql says, and all of it."""

from sqlalchemy import Engine, text

from docs.generate_database import SCHEMA, TARGET, Relation, read_relations, write_document

CATALOG = text("select table_name, column_name from information_schema.columns where table_schema = 'public'")


def test_the_document_is_up_to_date() -> None:
    assert TARGET.read_text() == write_document(SCHEMA.read_text()), "run `make docs`"


def test_every_table_and_column_of_a_real_database_is_found(migrated_database: Engine) -> None:
    relations = [found for found in read_relations(SCHEMA.read_text()) if isinstance(found, Relation)]
    views = {relation.name for relation in relations if relation.kind == "view"}
    read = {(relation.name, column.name) for relation in relations for column in relation.columns}
    with migrated_database.connect() as connection:
        real = {(row.table_name, row.column_name) for row in connection.execute(CATALOG)}
    assert read == {(table, column) for table, column in real if table not in views}
    assert views <= {table for table, _ in real}
