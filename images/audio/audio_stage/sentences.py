"""Timed words, and the sentences that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# A sentence goes on after the point of an abbreviation, and where nobody pauses.
SENTENCE_ENDS = (".", "?", "!", "\u3002", "\uff1f", "\uff01")
SENTENCE_PAUSE_S = 0.1
LONG_PAUSE_S = 1.0


@dataclass(frozen=True)
class SpokenWord:
    """A word as Whisper timed it."""

    text: str
    start_s: float
    end_s: float
    probability: float


def split_sentences(words: Sequence[SpokenWord]) -> tuple[tuple[SpokenWord, ...], ...]:
    """Words in the sentences that Whisper's punctuation makes, cut at pauses of a second as well."""
    cuts = [i for i in range(1, len(words)) if _ends_before(words[i - 1], words[i])]
    return tuple(tuple(words[i:j]) for i, j in pairwise([0, *cuts, len(words)]) if i < j)


def _ends_before(word: SpokenWord, following: SpokenWord) -> bool:
    pause_s = following.start_s - word.end_s
    ends = word.text.strip().endswith(SENTENCE_ENDS)
    return pause_s >= LONG_PAUSE_S or (ends and pause_s >= SENTENCE_PAUSE_S)
