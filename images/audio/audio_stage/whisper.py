"""Whisper, run on speech that was found before: its language, and segments of timed words."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
from faster_whisper import WhisperModel
from faster_whisper.vad import get_vad_model

from audio_stage.decoding import Samples
from audio_stage.device import Device
from audio_stage.doubt import MAX_COMPRESSION_RATIO, MIN_LOG_PROBABILITY, MIN_NO_SPEECH_PROBABILITY, SILENCE_S
from audio_stage.segments import place
from audio_stage.speech import SpeechBlock
from audio_stage.timeline import JoinedTimeline
from audio_stage.windows import HeardWindow, WindowListener
from stage_contract.outputs import Segment

RANDOM_SEED = 20_260_101

# Detection listens to up to four windows of 30 s and stops at the first that is sure (above 0.5).
DETECTION_WINDOWS = 4
DETECTION_MAX_S = 30.0 * DETECTION_WINDOWS

# What keeps Whisper from writing what nobody said, where a window is heard again: text that repeats itself or is
# improbable is tried again at a higher temperature; improbable text where no speech is likely is dropped, and so are
# segments of improbable words that stand alone in 2 s of silence. Earlier text is not given as a prompt: it makes one
# invented or repeated sentence breed the next, and windows stay independent.
GUARDS = {
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": MAX_COMPRESSION_RATIO,
    "log_prob_threshold": MIN_LOG_PROBABILITY,
    "no_speech_threshold": MIN_NO_SPEECH_PROBABILITY,
    "hallucination_silence_threshold": SILENCE_S,
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
class HeardSpeech:
    """What was said in some blocks, in media time.

    `tokens` counts what Whisper wrote, `again` the blocks that it heard twice.
    """

    segments: tuple[Segment, ...]
    tokens: int
    again: int


class Whisper:
    """A loaded Whisper model on a device that was shown to work."""

    def __init__(self, name: str, model_dir: Path, device: Device, batch_size: int) -> None:
        self.name = name
        self.batch_size = batch_size
        self._folder = device.weights(model_dir)
        self.size_bytes = (self._folder / "model.bin").stat().st_size
        # Seeds the sampling at higher temperatures, so that the same shard gives the same text.
        ctranslate2.set_random_seed(RANDOM_SEED)
        self._device = device
        self._split = device.split(batch_size)
        self._threads = ThreadPoolExecutor(self._split.workers)
        self._model = self._load(self._split.workers, self._split.threads_each)
        self._careful: WhisperModel | None = None if self._split.workers > 1 else self._model
        get_vad_model()

    def unload(self) -> None:
        """Give the device's memory back. The model is of no use afterwards."""
        self._threads.shutdown()
        with self._device.guard():
            for model in {self._model, self._careful} - {None}:
                model.model.unload_model()

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

    def transcribe(self, blocks: Sequence[SpeechBlock], language: str, beam_size: int) -> HeardSpeech:
        """The segments of at most `batch_size` blocks, in media time; their indices start at 0."""
        listener = WindowListener(self._model, language, beam_size, self._split.encoded_at_once)
        workers = min(self._split.workers, len(blocks))
        shares = [[block.samples for block in blocks[i::workers]] for i in range(workers)]
        with self._device.guard():
            heard = list(self._threads.map(listener.hear, shares))
            windows = [heard[i % workers][i // workers] for i in range(len(blocks))]
            whole = [
                self._hear_again(block.samples, language, beam_size) if window.doubtful else window
                for block, window in zip(blocks, windows, strict=True)
            ]
        placed = [
            segment
            for block, window in zip(blocks, whole, strict=True)
            for one in window.segments
            for segment in place(one, JoinedTimeline(block.intervals))
        ]
        again = sum(window.doubtful for window in windows)
        return HeardSpeech(tuple(placed), sum(window.tokens for window in whole), again)

    def _hear_again(self, samples: Samples, language: str, beam_size: int) -> HeardWindow:
        # Each of CTranslate2's workers draws from its own numbers, and whichever is free takes the work: where there
        # are several, only a model with a single one gives the same text each time.
        if self._careful is None:
            self._careful = self._load(1, self._split.workers * self._split.threads_each)
        heard, _ = self._careful.transcribe(
            samples, language=language, beam_size=beam_size, word_timestamps=True, **GUARDS
        )
        segments = tuple(heard)
        return HeardWindow(segments, sum(len(one.tokens) for one in segments), doubtful=False)

    def _load(self, workers: int, threads_each: int) -> WhisperModel:
        with self._device.guard():
            return WhisperModel(
                str(self._folder),
                device=self._device.name,
                compute_type=self._device.compute_type,
                cpu_threads=threads_each,
                num_workers=workers,
                local_files_only=True,
            )
