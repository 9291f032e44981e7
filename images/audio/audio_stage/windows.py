"""Whisper on several windows at a time: what it writes at temperature zero, in segments with timed words.

Whisper is asked for text without times. Asked for times, it leaves the last sentence of a window to a next one that
begins where it stopped; windows here begin where they begin. Words are timed by alignment either way. faster-whisper's
own `BatchedInferencePipeline` asks the same way, and checks nothing of what `doubt` checks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.models import WhisperGenerationResult
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Segment as WhisperSegment
from faster_whisper.transcribe import Word as WhisperWord
from faster_whisper.transcribe import get_suppressed_tokens

from audio_stage.decoding import Samples
from audio_stage.doubt import (
    APPENDED,
    PREPENDED,
    compression_ratio,
    is_doubtful,
    is_silence,
    longest_hole_s,
    stands_alone_oddly,
)
from audio_stage.sentences import SpokenWord, split_sentences
from audio_stage.timeline import SAMPLE_RATE_HZ


@dataclass(frozen=True)
class HeardWindow:
    """The segments of one window, in seconds from its start. `doubtful`: it must be heard again, with more care.

    `tokens` counts what Whisper wrote.
    """

    segments: tuple[WhisperSegment, ...]
    tokens: int
    doubtful: bool


class WindowListener:
    """Hears windows of at most 30 s with one model in one language.

    `encoded_at_once`: windows that the encoder takes at a time.
    """

    def __init__(self, model: WhisperModel, language: str, beam_size: int, encoded_at_once: int) -> None:
        self._model = model
        self._beam_size = beam_size
        self._encoded_at_once = encoded_at_once
        self._tokenizer = Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language
        )
        self._prompt = model.get_prompt(self._tokenizer, [], without_timestamps=True)

    def hear(self, windows: Sequence[Samples]) -> list[HeardWindow]:
        """What is said in each window. All are decoded together."""
        features = [pad_or_trim(self._model.feature_extractor(window)[..., :-1]) for window in windows]
        step = self._encoded_at_once
        encoded = [self._model.encode(np.stack(features[i : i + step])) for i in range(0, len(features), step)]
        written = self._write(_joined(encoded), len(windows))
        heard: list[HeardWindow] = []
        for first, part in zip(range(0, len(windows), step), encoded, strict=True):
            heard += self._time_words(part, windows[first : first + step], written[first : first + step])
        return heard

    def _write(self, encoded: ctranslate2.StorageView, count: int) -> list[WhisperGenerationResult]:
        written: list[WhisperGenerationResult] = self._model.model.generate(
            encoded,
            [self._prompt] * count,
            beam_size=self._beam_size,
            max_length=self._model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=get_suppressed_tokens(self._tokenizer, [-1]),
        )
        return written

    def _time_words(
        self,
        encoded: ctranslate2.StorageView,
        windows: Sequence[Samples],
        written: Sequence[WhisperGenerationResult],
    ) -> list[HeardWindow]:
        # Windows that are aligned together lie end to end on one time axis, each as long as Whisper's window.
        extractor = self._model.feature_extractor
        texts = [
            [_as_segment(one, number * extractor.nb_max_frames, number * extractor.chunk_length, len(window))]
            for number, (one, window) in enumerate(zip(written, windows, strict=True))
        ]
        frames = [min(extractor.nb_max_frames, len(window) // extractor.hop_length) for window in windows]
        self._model.add_word_timestamps(texts, self._tokenizer, encoded, frames, PREPENDED, APPENDED, 0.0)
        return [
            self._heard(one, text["words"], number * extractor.chunk_length, len(window) / SAMPLE_RATE_HZ)
            for number, (one, (text,), window) in enumerate(zip(written, texts, windows, strict=True))
        ]

    def _heard(
        self, written: WhisperGenerationResult, timed: list[dict[str, Any]], offset_s: float, length_s: float
    ) -> HeardWindow:
        tokens = written.sequences_ids[0]
        mean_log_probability = written.scores[0] * len(tokens) / (len(tokens) + 1)
        if is_silence(mean_log_probability, written.no_speech_prob):
            return HeardWindow((), len(tokens), doubtful=False)
        words = [SpokenWord(w["word"], w["start"] - offset_s, w["end"] - offset_s, w["probability"]) for w in timed]
        sentences = split_sentences(words)
        ran_on = len(self._prompt) + len(tokens) >= self._model.max_length
        text, hole_s = self._tokenizer.decode(tokens).strip(), longest_hole_s(words, length_s)
        doubtful = is_doubtful(text, mean_log_probability, hole_s)
        segments = tuple(_as_heard(one, mean_log_probability, written.no_speech_prob) for one in sentences)
        return HeardWindow(segments, len(tokens), doubtful or ran_on or stands_alone_oddly(sentences, length_s))


def _joined(parts: Sequence[ctranslate2.StorageView]) -> ctranslate2.StorageView:
    if len(parts) == 1:
        return parts[0]
    return ctranslate2.StorageView.from_array(np.concatenate([np.asarray(part) for part in parts]))


def _as_segment(written: WhisperGenerationResult, seek: int, offset_s: float, samples: int) -> dict[str, Any]:
    # The form that `add_word_timestamps` takes, and writes the words into.
    end_s = offset_s + samples / SAMPLE_RATE_HZ
    return {"seek": seek, "start": offset_s, "end": end_s, "tokens": written.sequences_ids[0], "words": []}


def _as_heard(words: Sequence[SpokenWord], mean_log_probability: float, no_speech_probability: float) -> WhisperSegment:
    text = "".join(word.text for word in words)
    return WhisperSegment(
        id=0,
        seek=0,
        start=words[0].start_s,
        end=words[-1].end_s,
        text=text,
        tokens=[],
        avg_logprob=mean_log_probability,
        compression_ratio=compression_ratio(text),
        no_speech_prob=no_speech_probability,
        words=[WhisperWord(word.start_s, word.end_s, word.text, word.probability) for word in words],
        temperature=0.0,
    )
