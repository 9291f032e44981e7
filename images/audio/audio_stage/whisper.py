"""Whisper, run on speech that was found before: its language, and segments of timed words."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import ctranslate2
from faster_whisper import WhisperModel
from faster_whisper.transcribe import Segment as WhisperSegment
from faster_whisper.vad import get_vad_model

from audio_stage.decoding import Samples
from audio_stage.device import Device
from audio_stage.speech import SpeechBlock
from audio_stage.timeline import JoinedTimeline, PlacedSpan
from stage_contract.outputs import Segment, Word
from stage_contract.resources import cpu_threads

RANDOM_SEED = 20_260_101

# Detection listens to up to four windows of 30 s and stops at the first that is sure (above 0.5).
DETECTION_WINDOWS = 4
DETECTION_MAX_S = 30.0 * DETECTION_WINDOWS

# Word times come in steps of 20 ms; a word never lasts less than half of one.
MIN_WORD_S = 0.01

# What keeps Whisper from writing what nobody said. The first four are Whisper's own defaults
# (https://github.com/openai/whisper, transcribe.py): text that repeats itself or is improbable is tried
# again at a higher temperature; improbable text where no speech is likely is dropped. A fifth drops
# segments of improbable words that stand alone in 2 s of silence. Earlier text is not given as a
# prompt: it makes one invented or repeated sentence breed the next, and blocks stay independent.
GUARDS = {
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": 2.4,
    "log_prob_threshold": -1.0,
    "no_speech_threshold": 0.6,
    "hallucination_silence_threshold": 2.0,
    "condition_on_previous_text": False,
}

# It tells each block's length, which says nothing to a reader of the task's log.
logging.getLogger("faster_whisper").setLevel(logging.WARNING)


@dataclass(frozen=True)
class SpokenLanguage:
    """An ISO 639-1 code. `probability` is 0..1, none when the language was not detected but given."""

    code: str
    probability: float | None


@dataclass(frozen=True)
class BlockTranscript:
    """What was said in one block, in media time. `tokens` counts what Whisper wrote."""

    segments: tuple[Segment, ...]
    tokens: int


class Whisper:
    """A loaded Whisper model on a device that was shown to work."""

    def __init__(self, name: str, model_dir: Path, device: Device) -> None:
        self.name = name
        self.size_bytes = (model_dir / "model.bin").stat().st_size
        # Seeds the sampling at higher temperatures, so that the same shard gives the same text.
        ctranslate2.set_random_seed(RANDOM_SEED)
        self._device = device
        with device.guard():
            self._model = WhisperModel(
                str(model_dir),
                device=device.name,
                compute_type=device.compute_type,
                cpu_threads=cpu_threads(),
                local_files_only=True,
            )
        get_vad_model()

    def unload(self) -> None:
        """Give the device's memory back. The model is of no use afterwards."""
        with self._device.guard():
            self._model.model.unload_model()

    @property
    def is_multilingual(self) -> bool:
        """Whether it can tell languages apart; an English-only model cannot."""
        return bool(self._model.model.is_multilingual)

    @property
    def languages(self) -> frozenset[str]:
        """ISO 639-1 codes (some of three letters) of the languages that this model was trained on."""
        known = self._model.hf_tokenizer.token_to_id
        return frozenset(code for code in self._model.supported_languages if known(f"<|{code}|>") is not None)

    def detect_language(self, samples: Samples) -> SpokenLanguage:
        """The language of the speech in `samples`; only for a multilingual model."""
        with self._device.guard():
            code, probability, _ = self._model.detect_language(
                audio=samples, language_detection_segments=DETECTION_WINDOWS
            )
        return SpokenLanguage(code, float(probability))

    def transcribe(self, block: SpeechBlock, language: str, beam_size: int) -> BlockTranscript:
        """The segments of `block`, in media time; their indices start at 0."""
        with self._device.guard():
            heard, _ = self._model.transcribe(
                block.samples, language=language, beam_size=beam_size, word_timestamps=True, **GUARDS
            )
            whole = list(heard)
        timeline = JoinedTimeline(block.intervals)
        segments = [segment for one in whole for segment in _split(one, timeline)]
        return BlockTranscript(tuple(segments), sum(len(one.tokens) for one in whole))


def _split(heard: WhisperSegment, timeline: JoinedTimeline) -> Iterator[Segment]:
    """One segment, or several where it ran over a silence that had been left out."""
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
