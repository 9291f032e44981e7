"""Property tests: whatever a model or a file system comes up with, Postgres and a terminal can take it."""

import json
import os
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from sqlalchemy import Engine, text

from operators.clean_text import (
    MAX_PATH_BYTES,
    printable,
    printable_prose,
    storable,
    storable_json,
    storable_path,
)

# Surrogates too, which Python's strings can hold and UTF-8 cannot.
ANY_TEXT = st.text(st.characters(categories=None))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(ANY_TEXT)
def test_storable_text_is_utf8_without_nul(given_text: str) -> None:
    cleaned = storable(given_text)

    assert "\0" not in cleaned
    assert cleaned.encode().decode() == cleaned


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_text_that_postgres_takes_is_left_alone(given_text: str) -> None:
    assert storable(given_text) == given_text


@given(ANY_TEXT)
def test_cleaning_twice_is_cleaning_once(given_text: str) -> None:
    assert storable(storable(given_text)) == storable(given_text)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(given_text=ANY_TEXT, value=ANY_JSON)
def test_postgres_gives_cleaned_text_back(migrated_database: Engine, given_text: str, value: JsonValue) -> None:
    cleaned = storable_json(value)
    with migrated_database.begin() as connection:
        row = connection.execute(
            text("select cast(:text as text) as text, cast(:json as jsonb) as json"),
            {"text": storable(given_text), "json": json.dumps(cleaned)},
        ).one()

    assert row.text == storable(given_text)
    assert row.json == cleaned


@given(st.binary(min_size=1, max_size=5_000))
def test_any_name_on_disk_has_a_storable_form_that_fits_an_index(name: bytes) -> None:
    shown = storable_path(os.fsdecode(name))

    assert "\0" not in shown
    assert 0 < len(shown.encode()) <= MAX_PATH_BYTES


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=400))
def test_a_good_path_is_stored_as_it_is(path: str) -> None:
    assert storable_path(path) == path


def test_names_that_are_not_utf8_stay_apart() -> None:
    assert storable_path(os.fsdecode(b"caf\xe9.mp4")) == r"caf\xe9.mp4"
    assert storable_path("x" * 3_000 + "a") != storable_path("x" * 3_000 + "b")


@given(ANY_TEXT)
def test_printed_text_holds_no_control_character(given_text: str) -> None:
    joiners = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"

    left = [c for c in printable(given_text) if unicodedata.category(c)[0] == "C" and c not in joiners]

    assert left == []


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31mred", r"\x9b31mred"),
        ("gpj.\N{RIGHT-TO-LEFT OVERRIDE}exe", r"gpj.\u202eexe"),
        ("two\nlines", r"two\nlines"),
        ("Überraschung \N{PILE OF POO}", "Überraschung \N{PILE OF POO}"),
    ],
)
def test_what_would_move_the_cursor_is_written_out(given_text: str, shown: str) -> None:
    assert printable(given_text) == shown


def test_prose_becomes_one_line() -> None:
    assert printable_prose("  one\n\ttwo\r\n three ") == "one two three"
