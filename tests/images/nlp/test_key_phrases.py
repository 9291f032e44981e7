"""Which phrases are found, and in which order."""

from hypothesis import given
from hypothesis import strategies as st

from nlp_stage.key_phrases import SPOKEN_FILLERS, find_key_phrases
from stage_contract.outputs import KeyPhrase, Segment

# fmt: off
STOP_WORDS = frozenset({
    "a", "again", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "he", "i", "in", "is", "it",
    "l", "la", "not", "of", "on", "our", "she", "that", "the", "to", "was", "we", "will", "you",
})
# fmt: on
SPEECH = (
    "The minimum wage is too low. Congress does not raise the minimum wage. NASA will go to Mars. "
    "I am Barack Obama. The minimum wage, Congress, is Barack Obama's concern. Yeah, I mean, we don't know."
)


def phrases(*texts: str, limit: int = 20) -> list[KeyPhrase]:
    segments = [
        Segment(index=i, start_s=i, end_s=i + 1, text=text, mean_log_probability=0, no_speech_probability=0)
        for i, text in enumerate(texts)
    ]
    return list(find_key_phrases(segments, STOP_WORDS | SPOKEN_FILLERS, limit))


def texts_of(found: list[KeyPhrase]) -> list[str]:
    return [phrase.text for phrase in found]


def test_what_is_said_often_and_together_comes_as_one_phrase_with_its_count() -> None:
    counts = {phrase.text: phrase.count for phrase in phrases(SPEECH)}
    assert counts["minimum wage"] == 3
    assert counts["Congress"] == 2
    assert "minimum" not in counts
    assert "wage" not in counts


def test_a_possessive_counts_as_the_same_name() -> None:
    assert {p.text: p.count for p in phrases(SPEECH.replace("Obama's concern", "Obama's"))}["Barack Obama"] == 2


def test_acronyms_count_though_they_are_short() -> None:
    assert "UN" in texts_of(phrases("The UN, and again the UN."))


def test_stop_words_fillers_and_contractions_are_no_phrases() -> None:
    assert phrases("Yeah, I mean, we don't. You're, it's, we can't do that.") == []


def test_an_elided_article_is_not_part_of_the_word() -> None:
    assert texts_of(phrases("L'exposition. Exposition. L\u2019exposition.")) == ["exposition"]


def test_phrases_run_on_over_segments() -> None:
    assert "Gutenberg Bible" in texts_of(phrases("It is the Gutenberg", "Bible that was printed."))


def test_phrases_do_not_run_over_punctuation() -> None:
    assert "harbour ferries" not in texts_of(phrases("The harbour, ferries, boats."))


def test_no_speech_no_phrases() -> None:
    assert phrases() == phrases("", " … ") == []


def test_scores_fall_from_the_best_to_the_last() -> None:
    scores = [phrase.score for phrase in phrases(SPEECH)]
    assert scores == sorted(scores, reverse=True)


@given(
    st.lists(st.text(st.sampled_from("abc AB1.,'\u2019-é\n"), max_size=40), max_size=8),
    st.integers(min_value=0, max_value=5),
)
def test_any_text_gives_at_most_the_limit_and_every_phrase_occurs(texts: list[str], limit: int) -> None:
    found = phrases(*texts, limit=limit)
    assert len(found) <= limit
    text = " ".join(texts)
    for phrase in found:
        assert phrase.count >= 1
        assert all(word in text for word in phrase.text.split())
