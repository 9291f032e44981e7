"""Key phrases after YAKE, which needs no training: Campos et al., Information Sciences 509 (2020), 257-289.

Different from the paper: a phrase holds no stop words; where a word stands in the text does not count,
since speech does not lead with its subject as a news article does; a phrase mostly said inside a longer
one gives way to it; of two phrases with the same words the better one is kept. The paper's score is
lower for better phrases; ours is its negative decimal logarithm.
"""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from stage_contract.outputs import KeyPhrase, Segment

MAX_WORDS = 3
"""The paper's default for English."""

SCORE_DIGITS = 4

SENTENCE_BREAK = re.compile(r"(?<=[.!?…])[\"'\u201d\u2019)\]»]*\s+")
TOKEN = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*|[^\w\s]")
POSSESSIVE = re.compile(r"['\u2019]s$")
ELISION = re.compile(r"^[^\W\d_]{1,2}['\u2019](?=[^\W_]{3})")
CONTRACTION = re.compile(r"(?:n['\u2019]t|['\u2019](?:s|re|ve|ll|d|m|t))$")

# fmt: off
SPOKEN_FILLERS = frozenset({
    "bit", "gonna", "got", "going", "guess", "guy", "guys", "just", "kind", "kinda", "know", "let", "like",
    "look", "lot", "mean", "okay", "right", "say", "see", "sort", "sure", "tell", "thing", "things", "think",
    "uh", "um", "wanna", "want", "way", "well", "yeah", "yes",
})
# fmt: on
"""English words that fill speech, to ignore besides the stop words, whose lists are made from written text."""


@dataclass(frozen=True)
class Word:
    """A word as said (`surface`) and as counted (`key`: lower case, no possessive, no elided article)."""

    surface: str
    key: str
    is_content: bool


Run = tuple[Word, ...]
Sentence = tuple[Run, ...]
"""Runs of words with punctuation between them."""


@dataclass
class WordStatistics:
    """What is counted of one word key. `last_sentence` is the index of the sentence it was last seen in."""

    count: int = 0
    capitalized: int = 0
    acronyms: int = 0
    sentences: int = 0
    last_sentence: int | None = None
    left: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)


@dataclass
class PhraseStatistics:
    """What is counted of one phrase: how often, and in which spellings."""

    surfaces: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Occurrences in any spelling."""
        return self.surfaces.total()


def find_key_phrases(segments: Iterable[Segment], stop_words: frozenset[str], limit: int) -> tuple[KeyPhrase, ...]:
    """The `limit` most telling phrases of one to three words, best first; equal ones by alphabet.

    `stop_words` are lower-case.
    """
    text = " ".join(segment.text.strip() for segment in segments)
    sentences = list(split_sentences(text, stop_words))
    words = count_words(sentences)
    content = {word.key for sentence in sentences for run in sentence for word in run if word.is_content}
    scores = score_words({key: words[key] for key in content}, len(sentences))
    phrases = count_phrases(sentences)
    absorbed = set(_absorbed(phrases))
    by_key = {key: _phrase_score(key, phrases[key].count, scores) for key in phrases if key not in absorbed}
    chosen = _without_overlap(sorted(by_key, key=lambda key: (by_key[key], key)), limit)
    return tuple(
        KeyPhrase(
            text=_usual_spelling(phrases[key].surfaces),
            score=round(-math.log10(by_key[key]), SCORE_DIGITS),
            count=phrases[key].count,
        )
        for key in chosen
    )


def split_sentences(text: str, stop_words: frozenset[str]) -> Iterator[Sentence]:
    """Sentences with at least one word each."""
    for sentence in SENTENCE_BREAK.split(text):
        runs: list[Run] = []
        run: list[Word] = []
        for token in TOKEN.findall(sentence):
            if token[0].isalnum():
                run.append(_word(token, stop_words))
            elif run:
                runs.append(tuple(run))
                run = []
        if run:
            runs.append(tuple(run))
        if runs:
            yield tuple(runs)


def count_words(sentences: Sequence[Sentence]) -> dict[str, WordStatistics]:
    """Statistics by word key."""
    words: defaultdict[str, WordStatistics] = defaultdict(WordStatistics)
    for index, sentence in enumerate(sentences):
        first = True
        for run in sentence:
            for position, word in enumerate(run):
                known = words[word.key]
                known.count += 1
                known.acronyms += word.surface.isupper() and len(word.surface) > 1
                known.capitalized += word.surface[0].isupper() and not first
                if known.last_sentence != index:
                    known.sentences += 1
                    known.last_sentence = index
                if position:
                    before = run[position - 1].key
                    known.left[before] += 1
                    words[before].right[word.key] += 1
                first = False
    return dict(words)


def score_words(words: dict[str, WordStatistics], sentence_count: int) -> dict[str, float]:
    """The paper's S(t) by word key: above zero, lower for more telling words."""
    if not words:
        return {}
    counts = [word.count for word in words.values()]
    usual = statistics.fmean(counts) + statistics.pstdev(counts)
    most = max(counts)
    return {key: _word_score(word, usual, most, sentence_count) for key, word in words.items()}


def _word_score(word: WordStatistics, usual: float, most: int, sentence_count: int) -> float:
    casing = max(word.capitalized, word.acronyms) / (1 + math.log(word.count))
    frequency = word.count / usual
    relatedness = 1 + (_dispersion(word.left) + _dispersion(word.right)) * word.count / most
    spread = word.sentences / sentence_count
    return relatedness / (casing + frequency / relatedness + spread / relatedness)


def _dispersion(neighbours: Counter[str]) -> float:
    """Different neighbours among all: 0..1. Words that go with anything tell little."""
    return len(neighbours) / neighbours.total() if neighbours else 0.0


def count_phrases(sentences: Iterable[Sentence]) -> dict[tuple[str, ...], PhraseStatistics]:
    """Phrases of neighbouring content words, by their word keys; each holds a word with a letter."""
    phrases: defaultdict[tuple[str, ...], PhraseStatistics] = defaultdict(PhraseStatistics)
    for sentence in sentences:
        for run in sentence:
            for begin in range(len(run)):
                for end in range(begin + 1, min(begin + MAX_WORDS, len(run)) + 1):
                    if not run[end - 1].is_content:
                        break
                    words = run[begin:end]
                    if not words[0].key.isnumeric():
                        phrases[tuple(word.key for word in words)].surfaces[_spelling(words)] += 1
    return dict(phrases)


def _absorbed(phrases: dict[tuple[str, ...], PhraseStatistics]) -> Iterator[tuple[str, ...]]:
    """Phrases that are said inside one longer phrase most of the time."""
    for key, longer in phrases.items():
        parts = {key[begin:end] for begin in range(len(key)) for end in range(begin + 1, len(key) + 1)} - {key}
        yield from (part for part in parts if part in phrases and 2 * longer.count > phrases[part].count)


def _phrase_score(key: tuple[str, ...], count: int, scores: dict[str, float]) -> float:
    parts = [scores[word] for word in key]
    return math.prod(parts) / (count * (1 + sum(parts)))


def _without_overlap(ranked: Iterable[tuple[str, ...]], limit: int) -> list[tuple[str, ...]]:
    chosen: list[tuple[str, ...]] = []
    for key in ranked:
        if len(chosen) >= limit:
            break
        if not any(set(key) <= set(other) or set(other) <= set(key) for other in chosen):
            chosen.append(key)
    return chosen


def _word(token: str, stop_words: frozenset[str]) -> Word:
    key = ELISION.sub("", POSSESSIVE.sub("", token)).lower().replace("\u2019", "'")
    long_enough = len(key) > 2 or (token.isupper() and len(token) > 1) or key.isnumeric()
    is_stop = bool({key, CONTRACTION.sub("", key), token.lower().replace("\u2019", "'")} & stop_words)
    is_stop = is_stop or key.endswith("n't")
    return Word(token, key, long_enough and not is_stop)


def _spelling(words: Sequence[Word]) -> str:
    last = POSSESSIVE.sub("", words[-1].surface)
    return " ".join([*(word.surface for word in words[:-1]), ELISION.sub("", last) if len(words) == 1 else last])


def _usual_spelling(surfaces: Counter[str]) -> str:
    return min(surfaces, key=lambda surface: (-surfaces[surface], surface))
