import pytest

from audio_stage.doubt import is_doubtful, is_silence, longest_hole_s, stands_alone_oddly
from audio_stage.sentences import SpokenWord, split_sentences


def spoken(*times_s, probability=0.9, text=" word"):
    return [SpokenWord(text, start_s, end_s, probability) for start_s, end_s in times_s]


@pytest.mark.parametrize(
    ("text", "mean_log_probability", "hole_s"),
    [
        ("Thank you for watching. " * 12, -0.2, 0.5),
        ("A probable sentence.", -1.3, 0.5),
        ("A sentence, and then nothing.", -0.2, 8.0),
    ],
)
def test_repeated_improbable_and_missing_text_is_heard_again(text, mean_log_probability, hole_s):
    assert is_doubtful(text, mean_log_probability, hole_s)


def test_ordinary_text_is_not_heard_again():
    assert not is_doubtful("Ask not what your country can do for you.", -0.2, 1.5)


def test_improbable_text_is_silence_only_where_no_speech_is_likely():
    assert is_silence(-1.2, 0.9)
    assert not is_silence(-1.2, 0.3)
    assert not is_silence(-0.5, 0.9)


def test_the_longest_hole_may_be_at_the_beginning_between_words_or_at_the_end():
    assert longest_hole_s(spoken((4.0, 5.0), (5.5, 6.0)), 7.0) == 4.0
    assert longest_hole_s(spoken((0.5, 1.0), (6.0, 6.5)), 7.0) == 5.0
    assert longest_hole_s(spoken((0.5, 1.0)), 7.0) == 6.0
    assert longest_hole_s([], 7.0) == 7.0


def test_improbable_words_alone_in_silence_are_odd():
    sentence = spoken((0.2, 0.6), (0.6, 1.0))
    assert stands_alone_oddly([sentence, spoken((8.0, 8.05), probability=0.05)], 20.0)
    assert not stands_alone_oddly([sentence, spoken((8.0, 8.4))], 20.0)


def test_improbable_words_within_speech_are_not():
    before, after = spoken((2.5, 2.9), (2.9, 3.3)), spoken((3.6, 4.0))
    assert not stands_alone_oddly([before, spoken((3.3, 3.35), probability=0.05), after], 20.0)


def test_sentences_end_at_a_mark_with_a_pause_and_at_long_pauses():
    words = [
        SpokenWord(" Mr.", 0.0, 0.3, 0.9),
        SpokenWord(" Smith", 0.3, 0.8, 0.9),
        SpokenWord(" came.", 0.8, 1.2, 0.9),
        SpokenWord(" He", 1.5, 1.7, 0.9),
        SpokenWord(" went", 3.0, 3.3, 0.9),
    ]
    texts = ["".join(word.text for word in sentence) for sentence in split_sentences(words)]
    assert texts == [" Mr. Smith came.", " He", " went"]
    assert split_sentences([]) == ()
