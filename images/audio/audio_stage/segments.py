"""Places what Whisper heard in the media, word by word."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from faster_whisper.transcribe import Segment as WhisperSegment

from audio_stage.timeline import JoinedTimeline, PlacedSpan
from stage_contract.outputs import Segment, Word

# Word times come in steps of 20 ms; a word never lasts less than half of one.
MIN_WORD_S = 0.01


def place(heard: WhisperSegment, timeline: JoinedTimeline) -> Iterator[Segment]:
    """One segment in media time, or several where it ran over a silence that had been left out."""
    if not heard.words:
        yield _segment(heard, heard.text, timeline.place(heard.start, heard.end), ())
        return
    placed = [(timeline.place(word.start, word.end), word) for word in heard.words]
    for _, members in groupby(placed, key=lambda pair: pair[0].interval_index):
        words = tuple(_in_order(_word(span, word.word, word.probability) for span, word in members))
        span = PlacedSpan(0, words[0].start_s, words[-1].end_s)
        yield _segment(heard, "".join(word.text for word in words), span, words)


def _segment(heard: WhisperSegment, text: str, span: PlacedSpan, words: tuple[Word, ...]) -> Segment:
    return Segment(
        index=0,
        start_s=round(span.start_s, 3),
        end_s=round(max(span.end_s, span.start_s + MIN_WORD_S), 3),
        text=text.strip(),
        mean_log_probability=round(float(heard.avg_logprob), 4),
        no_speech_probability=round(float(heard.no_speech_prob), 4),
        words=words,
    )


def _word(span: PlacedSpan, text: str, probability: float) -> Word:
    return Word(start_s=span.start_s, end_s=span.end_s, text=text, probability=round(float(probability), 4))


def _in_order(words: Iterable[Word]) -> Iterator[Word]:
    # Times come from attention: some words have no length, and some begin before the last one ends.
    earliest_s = 0.0
    for word in words:
        start_s = round(max(word.start_s, earliest_s), 3)
        earliest_s = round(max(word.end_s, start_s + MIN_WORD_S), 3)
        yield word.model_copy(update={"start_s": start_s, "end_s": earliest_s})
