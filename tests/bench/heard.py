"""How far two transcripts of a recording agree, and what was heard where nobody speaks. Decides; does no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from operators.benchmark.agreement import percentile, word_error_rate, words

P95 = 0.95


@dataclass(frozen=True)
class Spoken:
    """A word or an utterance in [start_s, end_s)."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Utterance(Spoken):
    """`words` are its timed words; none where they were not timed."""

    words: tuple[Spoken, ...] = ()


@dataclass(frozen=True)
class Drift:
    """By how much times differ at the 95th percentile, s; 0 where there is nothing to compare.

    `segments_s` is of the words that begin or end an utterance on either side, `words_s` of all.
    """

    segments_s: float
    words_s: float


def error_rate(known: str, utterances: Sequence[Spoken]) -> float:
    """Words wrong, missing and invented, per word of the known text."""
    return word_error_rate(known, " ".join(utterance.text for utterance in utterances))


def drift(reference: Sequence[Utterance], ours: Sequence[Utterance]) -> Drift:
    """How far the times of the words that both heard lie apart.

    An utterance's begin is that of its first word and its end that of its last. What is cut into utterances
    elsewhere is compared all the same: by the time that the other side gives the same word.
    """
    first, second = _timed(reference), _timed(ours)
    pairs = _same_words([word for word, _ in first], [word for word, _ in second])
    begins = [(first[i][0], second[j][0]) for i, j in pairs if first[i][1].begins or second[j][1].begins]
    ends = [(first[i][0], second[j][0]) for i, j in pairs if first[i][1].ends or second[j][1].ends]
    every = [(first[i][0], second[j][0]) for i, j in pairs]
    return Drift(
        segments_s=_p95([abs(a.start_s - b.start_s) for a, b in begins] + [abs(a.end_s - b.end_s) for a, b in ends]),
        words_s=_p95([gap for a, b in every for gap in (abs(a.start_s - b.start_s), abs(a.end_s - b.end_s))]),
    )


def invented_words(utterances: Sequence[Utterance], quiet: Sequence[tuple[float, float]]) -> int:
    """How many words were heard where nobody speaks: their middle, or their utterance's where words were not
    timed, lies in one of the intervals [start_s, end_s).
    """
    heard = [(word, 1) for utterance in utterances for word in utterance.words]
    heard += [(utterance, len(words(utterance.text))) for utterance in utterances if not utterance.words]
    return sum(count for spoken, count in heard if any(a <= (spoken.start_s + spoken.end_s) / 2 < b for a, b in quiet))


@dataclass(frozen=True)
class _Place:
    begins: bool
    ends: bool


def _timed(utterances: Sequence[Utterance]) -> list[tuple[Spoken, _Place]]:
    return [
        (word, _Place(index == 0, index == len(utterance.words) - 1))
        for utterance in utterances
        for index, word in enumerate(utterance.words)
    ]


def _same_words(first: Sequence[Spoken], second: Sequence[Spoken]) -> list[tuple[int, int]]:
    one, other = ([" ".join(words(word.text)) for word in side] for side in (first, second))
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return [(block.a + step, block.b + step) for block in blocks for step in range(block.size)]


def _p95(gaps: Sequence[float]) -> float:
    return percentile(gaps, P95) if gaps else 0.0
