import pytest

from tests.bench.heard import Spoken, Utterance, drift, error_rate, invented_words


def said(start_s: float, text: str, late_s: float = 0.0) -> Utterance:
    """An utterance whose words take a second each."""
    first_s = start_s + late_s
    words = tuple(Spoken(first_s + place, first_s + place + 1, f" {word}") for place, word in enumerate(text.split()))
    return Utterance(words[0].start_s, words[-1].end_s, text, words)


def test_words_that_both_heard_are_compared_wherever_utterances_are_cut():
    reference = [said(0, "Ask not what your country"), said(5, "can do for you.")]
    ours = [said(0, "ask not what"), said(3, "your country can do for you")]
    assert drift(reference, ours).segments_s == pytest.approx(0)
    late = [said(0, "ask not what"), said(3, "your country can do for you", late_s=0.5)]
    assert drift(reference, late).segments_s == pytest.approx(0.5)


def test_a_word_that_one_side_missed_is_an_error_and_no_drift():
    reference, ours = [said(0, "ask not what your country")], [said(0, "ask not"), said(3, "your country")]
    assert drift(reference, ours).words_s == pytest.approx(0)
    assert error_rate("ask not what your country", ours) == pytest.approx(0.2)


def test_words_in_silence_are_invented():
    quiet = [(10.0, 20.0)]
    assert invented_words([said(0, "ask not"), said(12, "thank you")], quiet) == 2
    assert invented_words([Utterance(11.0, 15.0, "Thanks for watching!")], quiet) == 3
    assert invented_words([Utterance(0.0, 9.0, "Ask not.")], quiet) == 0
