"""Labels, and the whole from its parts."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp_stage.sentiment import find_sentiments, label_of, weighted_mean
from stage_contract.outputs import Segment

SCORES = st.floats(min_value=-1, max_value=1)


class WordCounting:
    """Scores by two words, so that the expected result can be read off the text."""

    name = "word-counting"
    neutral_below = 0.05

    def scores(self, texts: Sequence[str]) -> list[float]:
        return [float(text.count("good") - text.count("bad")) for text in texts]


def spoken(index: int, start_s: float, end_s: float, text: str) -> Segment:
    return Segment(
        index=index, start_s=start_s, end_s=end_s, text=text, mean_log_probability=0, no_speech_probability=0
    )


def test_the_whole_weighs_segments_by_their_duration() -> None:
    segments = [spoken(0, 0, 9, "good"), spoken(1, 9, 10, "bad"), spoken(2, 10, 99, " ")]
    found = [(s.segment_index, s.label, s.score) for s in find_sentiments(segments, WordCounting())]
    assert found == [(None, "positive", 0.8), (0, "positive", 1.0), (1, "negative", -1.0)]


def test_no_words_no_sentiment() -> None:
    assert find_sentiments([spoken(0, 0, 1, " \n")], WordCounting()) == ()


@pytest.mark.parametrize(
    ("score", "label"),
    [(0.05, "positive"), (0.049, "neutral"), (0.0, "neutral"), (-0.049, "neutral"), (-0.05, "negative")],
)
def test_scores_around_zero_are_neutral(score: float, label: str) -> None:
    assert label_of(score, neutral_below=0.05) == label


@given(st.lists(st.tuples(SCORES, st.floats(min_value=-1, max_value=1e5)), min_size=1))
def test_the_mean_lies_between_the_extremes(pairs: list[tuple[float, float]]) -> None:
    values = [value for value, _ in pairs]
    mean = weighted_mean(values, [weight for _, weight in pairs])
    assert min(values) - 1e-9 <= mean <= max(values) + 1e-9


def test_without_durations_every_segment_weighs_the_same() -> None:
    assert weighted_mean([1.0, 0.0], [0.0, 0.0]) == 0.5


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs values"):
        weighted_mean([], [])
