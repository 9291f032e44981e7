"""How far two transcripts of the same sound agree: words are matched by their letters, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import ceil
from typing import Protocol

from pydantic import BaseModel

MOST_WORD_ERRORS_MORE = 0.005
MOST_DIFFERENCE_S = 0.3
PERCENTILE = 0.95
LEAST_MATCHED = 0.95


class TimedWord(Protocol):
    """A word with its time in the media."""

    @property
    def text(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


class PlainWord(BaseModel):
    """A word of the baseline."""

    text: str
    start_s: float
    end_s: float


class PlainTranscript(BaseModel):
    """What the baseline heard."""

    text: str
    words: tuple[PlainWord, ...]


@dataclass(frozen=True)
class Agreement:
    """`matched` is the share of the expected words that were found. Differences are 95th percentiles over those."""

    matched: float
    start_s: float
    end_s: float

    @property
    def holds(self) -> bool:
        """Whether words and times agree within the tolerances."""
        return self.matched >= LEAST_MATCHED and max(self.start_s, self.end_s) <= MOST_DIFFERENCE_S


def compare(expected: Sequence[TimedWord], found: Sequence[TimedWord]) -> Agreement:
    """Match the words of two transcripts and compare their times."""
    left, right = ([_letters(word.text) for word in words] for words in (expected, found))
    blocks = SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
    pairs = [(expected[b.a + i], found[b.b + i]) for b in blocks for i in range(b.size)]
    return Agreement(
        matched=len(pairs) / len(expected),
        start_s=_percentile([abs(one.start_s - other.start_s) for one, other in pairs]),
        end_s=_percentile([abs(one.end_s - other.end_s) for one, other in pairs]),
    )


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def _percentile(values: Sequence[float]) -> float:
    return sorted(values)[ceil(PERCENTILE * len(values)) - 1] if values else float("inf")
