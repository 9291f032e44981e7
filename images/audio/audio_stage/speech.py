"""Finds speech in a sound file and hands it out in blocks without the silences between."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from audio_stage.decoding import AudioReader, Samples
from audio_stage.timeline import SAMPLE_RATE_HZ, SampleInterval, group, settle
from stage_contract.phases import PhaseAccumulator

# Memory does not grow with the length of a file: the mel spectrogram of five minutes takes about 200 MiB
# while it is made (measured), a window of ten minutes 150 MiB while it is searched.
WINDOW_SAMPLES = 600 * SAMPLE_RATE_HZ
BLOCK_SAMPLES = 300 * SAMPLE_RATE_HZ
BORDER_SAMPLES = SAMPLE_RATE_HZ

# Silero's own threshold. Pauses under 2 s stay, since Whisper hears sentences better with them;
# sounds under 250 ms are clicks and coughs. Speech that goes on for 120 s is cut at its last pause.
VAD = VadOptions(
    threshold=0.5,
    min_speech_duration_ms=250,
    max_speech_duration_s=120.0,
    min_silence_duration_ms=2_000,
    speech_pad_ms=400,
)


@dataclass(frozen=True)
class SpeechBlock:
    """Speech without its silences. `intervals` say where in the media it was, in 16 kHz samples."""

    samples: Samples
    intervals: tuple[SampleInterval, ...]


class SpeechFinder:
    """Decodes and searches a file window by window, timing both.

    `duration_s` and `speech_s` are whole once all blocks were taken.
    """

    def __init__(self, reader: AudioReader, decode: PhaseAccumulator, vad: PhaseAccumulator) -> None:
        self._reader = reader
        self._decode = decode
        self._vad = vad
        self.duration_s = 0.0
        self.speech_s = 0.0

    def blocks(self) -> Iterator[SpeechBlock]:
        """Blocks in the order of time, each of at most five minutes."""
        window, window_start, last = np.zeros(0, np.float32), 0, False
        while not last:
            piece = self._read()
            last = len(piece) < WINDOW_SAMPLES
            window = np.concatenate([window, piece])
            settled = settle(self._find(window), len(window), BORDER_SAMPLES, last)
            for intervals in group(settled.ready, BLOCK_SAMPLES):
                samples = np.concatenate([window[i.start : i.end] for i in intervals])
                self._count(samples, intervals)
                yield SpeechBlock(samples, tuple(i.shifted(window_start) for i in intervals))
            window, window_start = window[settled.keep_from :], window_start + settled.keep_from

    def _read(self) -> Samples:
        with self._decode.turn() as counters:
            piece = self._reader.read(WINDOW_SAMPLES)
            self.duration_s += len(piece) / SAMPLE_RATE_HZ
            counters["audio_s"] = self.duration_s
        return piece

    def _find(self, window: Samples) -> list[SampleInterval]:
        with self._vad.turn() as counters:
            found = get_speech_timestamps(window, VAD, SAMPLE_RATE_HZ)
            counters["audio_s"] = self.duration_s
            counters.setdefault("speech_s", 0.0)
            counters.setdefault("intervals", 0.0)
        return [SampleInterval(start=int(chunk["start"]), end=int(chunk["end"])) for chunk in found]

    def _count(self, samples: Samples, intervals: tuple[SampleInterval, ...]) -> None:
        self.speech_s += len(samples) / SAMPLE_RATE_HZ
        counters = self._vad.counters
        counters["speech_s"] = self.speech_s
        counters["intervals"] += len(intervals)
