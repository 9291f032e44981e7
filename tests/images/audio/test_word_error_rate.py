import pytest

from tests.images.audio.word_error_rate import word_error_rate


def test_case_and_punctuation_do_not_count():
    assert word_error_rate("Ask not, what your country can do.", "ask not what your country can do") == 0.0


@pytest.mark.parametrize(
    ("heard", "errors"),
    [
        ("one two three", 1),
        ("one two three five", 1),
        ("one two three four five", 1),
        ("", 4),
        ("two one three four", 2),
    ],
)
def test_every_wrong_missing_or_added_word_counts_once(heard, errors):
    assert word_error_rate("one two three four", heard) == errors / 4


def test_a_reference_without_words_is_refused():
    with pytest.raises(ValueError, match="must hold words"):
        word_error_rate("...", "something")
