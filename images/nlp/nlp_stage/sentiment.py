"""Sentiment by segment and for the whole, whichever engine gives the scores."""

from collections.abc import Sequence
from typing import Literal, Protocol

from stage_contract.outputs import Segment, Sentiment

Label = Literal["negative", "neutral", "positive"]

SCORE_DIGITS = 4


class SentimentEngine(Protocol):
    """Gives each text a score from -1 (negative) to 1 (positive)."""

    name: str
    neutral_below: float
    """A score whose absolute value is below this is neutral."""

    def scores(self, texts: Sequence[str]) -> list[float]:
        """One score for each text, in order."""


def find_sentiments(segments: Sequence[Segment], engine: SentimentEngine) -> tuple[Sentiment, ...]:
    """One for the whole, then one for each segment that has words; none when no segment has.

    The whole is the mean over the segments, each weighted by how long it lasts.
    """
    spoken = [segment for segment in segments if segment.text.strip()]
    if not spoken:
        return ()
    scores = engine.scores([segment.text.strip() for segment in spoken])
    whole = weighted_mean(scores, [segment.end_s - segment.start_s for segment in spoken])
    indexed: list[tuple[int | None, float]] = [(None, whole)]
    indexed += [(segment.index, score) for segment, score in zip(spoken, scores, strict=True)]
    return tuple(
        Sentiment(segment_index=index, label=label_of(score, engine.neutral_below), score=round(score, SCORE_DIGITS))
        for index, score in indexed
    )


def label_of(score: float, neutral_below: float) -> Label:
    """The word for a score."""
    if abs(score) < neutral_below:
        return "neutral"
    return "positive" if score > 0 else "negative"


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """The mean of `values`; the plain one when no weight is above zero.

    Raises:
        ValueError: there are no values, or not as many weights.
    """
    if not values:
        raise ValueError("a mean needs values: got none")
    positive = [max(weight, 0.0) for weight in weights]
    total = sum(positive)
    if total == 0:
        return sum(values) / len(values)
    return sum(value * weight for value, weight in zip(values, positive, strict=True)) / total
