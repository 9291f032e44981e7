"""Marking and cutting: the text comes through whole, whatever it holds."""

from hypothesis import given
from hypothesis import strategies as st

from operators.views.excerpts import LONGEST, Part, beginning, ending, mark_span, shorten, split_marked

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50)


def told(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts)


@given(st.lists(st.tuples(TEXTS, st.booleans()), min_size=1))
def test_marks_are_taken_out_and_the_text_is_as_it_was(pieces: list[tuple[str, bool]]) -> None:
    whole = "".join(text for text, _ in pieces)
    marked = "".join(f"[start]{text}[stop]" if is_hit else text for text, is_hit in pieces)

    parts = split_marked(marked, whole, "[start]", "[stop]")

    assert told(parts) == whole


def test_a_text_that_the_search_changed_comes_without_marks() -> None:
    assert split_marked("a [start]dog[stop]", "a <b>dog</b>", "[start]", "[stop]") == (Part("a <b>dog</b>"),)


@given(TEXTS, st.integers(-5, 60), st.integers(-5, 60), TEXTS)
def test_a_name_is_marked_where_it_stands_or_not_at_all(text: str, begin: int, end: int, name: str) -> None:
    parts = mark_span(text, begin, end, name)

    assert told(parts) == text
    assert {part.text for part in parts if part.is_hit} <= {name}


def test_a_name_is_found_where_its_offsets_are_off() -> None:
    parts = mark_span("President Kennedy", 0, 7, "Kennedy")

    assert parts == (Part("President "), Part("Kennedy", True))


def test_a_long_text_is_cut_around_its_first_hit() -> None:
    text = "word " * 200
    parts = (Part(text), Part("hit", True), Part(f" {text}"))

    short = shorten(parts)

    assert Part("hit", True) in short
    assert (short[0].text, short[-1].text) == ("…", "…")
    assert len(told(short)) <= LONGEST + 2
    assert told(short).startswith("…word ")


def test_short_texts_are_whole_and_on_one_line_and_hide_nothing() -> None:
    assert shorten((Part("two\n\nlines "), Part("\u202ehit", True))) == (Part("two lines "), Part("\\u202ehit", True))


def test_what_is_said_around_is_cut_on_the_side_that_is_far() -> None:
    text = " ".join(str(number) for number in range(100))

    assert beginning(text, 10) == "0 1 2 3 4…"
    assert ending(text, 10) == "…97 98 99"
    assert (beginning(None), ending("  a\tb ")) == ("", "a b")
