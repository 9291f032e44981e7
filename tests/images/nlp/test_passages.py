"""Joining segments and finding the way back."""

from hypothesis import given
from hypothesis import strategies as st

from nlp_stage.passages import Passage, join_into_passages, locate
from stage_contract.outputs import Segment

TEXTS = st.lists(st.text(st.sampled_from("ab.!?”  \t\n\u00a0\u2028🎬é"), max_size=60), max_size=12)
LIMITS = st.integers(min_value=4, max_value=80)


def segments_of(*texts: str) -> list[Segment]:
    return [
        Segment(
            index=100 + position,
            start_s=position,
            end_s=position + 1,
            text=text,
            mean_log_probability=-0.1,
            no_speech_probability=0.0,
        )
        for position, text in enumerate(texts)
    ]


def joined(*texts: str, max_chars: int = 4_000) -> list[Passage]:
    return list(join_into_passages(segments_of(*texts), max_chars))


def without_space(text: str) -> str:
    return "".join(text.split())


@given(TEXTS, LIMITS)
def test_passages_hold_every_word_once_and_keep_to_the_limit(texts: list[str], max_chars: int) -> None:
    passages = joined(*texts, max_chars=max_chars)
    assert all(0 < len(passage.text) <= max_chars for passage in passages)
    assert without_space("".join(passage.text for passage in passages)) == without_space("".join(texts))


@given(TEXTS, LIMITS)
def test_a_piece_is_the_same_text_in_the_passage_and_in_the_segment(texts: list[str], max_chars: int) -> None:
    for passage in joined(*texts, max_chars=max_chars):
        for piece in passage.pieces:
            there = passage.text[piece.begin : piece.begin + piece.length]
            here = piece.segment.text[piece.offset : piece.offset + piece.length]
            assert there.split() == here.split()
            assert len(there) == len(here) == piece.length


@given(TEXTS, LIMITS, st.data())
def test_what_is_located_is_part_of_what_was_found(texts: list[str], max_chars: int, data: st.DataObject) -> None:
    for passage in joined(*texts, max_chars=max_chars):
        start = data.draw(st.integers(0, len(passage.text) - 1))
        end = data.draw(st.integers(start + 1, len(passage.text)))
        place = locate(passage, start, end)
        if place is None:
            assert not passage.text[start:end].strip()
        else:
            assert place.text == place.segment.text[place.start : place.end]
            assert place.text == place.text.strip() != ""
            assert " ".join(place.text.split()) in " ".join(passage.text[start:end].split())


@given(TEXTS, LIMITS)
def test_a_whole_piece_is_located_where_it_came_from(texts: list[str], max_chars: int) -> None:
    for passage in joined(*texts, max_chars=max_chars):
        for piece in passage.pieces:
            place = locate(passage, piece.begin, piece.begin + piece.length)
            assert place is not None
            assert (place.segment, place.start, place.end) == (
                piece.segment,
                piece.offset,
                piece.offset + piece.length,
            )


def test_the_longer_part_stands_for_a_name_across_segments() -> None:
    (passage,) = joined("He is Barack", " Hussein Obama.")
    start = passage.text.index("Barack")
    place = locate(passage, start, passage.text.index("."))
    assert place is not None
    assert (place.segment.index, place.start, place.end, place.text) == (101, 1, 14, "Hussein Obama")


def test_the_earlier_part_wins_when_both_are_as_long() -> None:
    (passage,) = joined("abc", "def")
    place = locate(passage, 0, 7)
    assert place is not None
    assert place.text == "abc"


def test_a_passage_ends_with_a_sentence_once_it_is_half_full() -> None:
    passages = joined("One two three.", "Four five", "six.”", "Seven", max_chars=40)
    assert [passage.text for passage in passages] == ["One two three. Four five six.”", "Seven"]


def test_a_segment_longer_than_a_passage_is_cut_between_words() -> None:
    passages = joined("alpha beta gamma", max_chars=11)
    assert [passage.text for passage in passages] == ["alpha beta", "gamma"]
    assert passages[1].pieces[0].offset == 11
