"""Writes docs/database.md from sql/schema.sql: `python -m docs.generate_database`.

Reads the form in which schema.sql is kept, one column a line at four spaces; a test compares what is found
with the catalog of a real database.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from docs.markdown import code, table

DOCS = Path(__file__).resolve().parent
TARGET = DOCS / "database.md"
SCHEMA = DOCS.parent / "sql" / "schema.sql"

INTRODUCTION = """# Database

Tables, views and columns of the database `media`. `make docs` writes this file from `sql/schema.sql`.
Instants are UTC. Suffixes are units: `_s` seconds, `_ms` milliseconds, `_ns` nanoseconds, `_mib` MiB, `_px` pixels.
"""
BLOCK = re.compile(
    r"(?<=\n\n)(?P<heading>(?:-- .*\n)+)|^create table (?P<table>\w+) \(\n(?P<columns>(?:    .*\n)+)\);"
    r"|^create view (?P<view>\w+) as",
    re.MULTILINE,
)
COMMENT = re.compile(r"^comment on (?:table|view|column|domain) ([\w.]+) is\s+'((?:[^']|'')*)';", re.MULTILINE)
DOMAIN = re.compile(r"^create domain (\w+) as (.*?);$", re.MULTILINE | re.DOTALL)
CONSTRAINT = re.compile(r"(primary key|foreign key|unique|check) ?[\w ]*\(")


@dataclass(frozen=True)
class Column:
    """A column and its definition in SQL, on one line."""

    name: str
    definition: str


@dataclass(frozen=True)
class Relation:
    """A table, or a view, whose columns are empty here."""

    name: str
    kind: str
    columns: tuple[Column, ...]
    constraints: tuple[str, ...]


def read_relations(schema: str) -> list[Relation | str]:
    """Tables and views in order, with the comments between them as plain text."""
    found: list[Relation | str] = []
    for block in BLOCK.finditer(schema):
        if block["heading"]:
            found.append(" ".join(line.removeprefix("-- ") for line in block["heading"].splitlines()))
        elif block["view"]:
            found.append(Relation(block["view"], "view", (), ()))
        else:
            lines = re.sub(r"\n {5,}|\n    (?=\))", " ", block["columns"]).splitlines()
            entries = [_one_line(line) for line in lines]
            constraints = tuple(entry for entry in entries if CONSTRAINT.match(entry))
            columns = tuple(Column(*entry.split(" ", 1)) for entry in entries if entry not in constraints)
            found.append(Relation(block["table"], "table", columns, constraints))
    return found


def write_document(schema: str) -> str:
    """The whole document."""
    comments = {name: text.replace("''", "'") for name, text in COMMENT.findall(schema)}
    parts = [INTRODUCTION]
    for relation in read_relations(schema):
        parts.append(_heading(relation) if isinstance(relation, str) else _section(relation, comments))
    domains = [(code(name), code(_one_line(text)), comments.get(name, "")) for name, text in DOMAIN.findall(schema)]
    parts.append("## Domains\n\n" + table(("Domain", "Definition", "Meaning"), domains))
    return "\n".join(parts)


def _heading(comment: str) -> str:
    title, _, more = comment.partition(". ")
    return f"## {title.rstrip('.')}\n" + (f"\n{more}\n" if more else "")


def _section(relation: Relation, comments: dict[str, str]) -> str:
    lines = [f"### {relation.name}\n", f"{comments.get(relation.name, '')}\n"]
    prefix = f"{relation.name}."
    if relation.kind == "view":
        meanings = [(code(name.removeprefix(prefix)), comments[name]) for name in comments if name.startswith(prefix)]
        return "\n".join([*lines, *([table(("Column", "Meaning"), meanings)] if meanings else [])])
    rows = [(code(c.name), code(c.definition), comments.get(prefix + c.name, "")) for c in relation.columns]
    lines.append(table(("Column", "Definition", "Meaning"), rows))
    if relation.constraints:
        lines.append("\n".join(f"- {code(constraint)}" for constraint in relation.constraints) + "\n")
    return "\n".join(lines)


def _one_line(sql: str) -> str:
    return re.sub(r"\s+(?=\))|(?<=\()\s+", "", re.sub(r"\s+", " ", sql)).strip().rstrip(",")


if __name__ == "__main__":
    TARGET.write_text(write_document(SCHEMA.read_text()))
