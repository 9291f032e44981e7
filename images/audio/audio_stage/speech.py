"""Finds speech in a sound file and hands it out in blocks without the silences between."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from audio_stage.decoding import AudioReader, Samples
from audio_stage.timeline import SAMPLE_RATE_HZ, SampleInterval, bridge, group, settle
from stage_contract.phases import PhaseAccumulator

# Memory does not grow with the length of a file: a stretch is searched and transcribed before the next one is read. It
# is long beside a block, since speech that reaches its end is searched twice.
STRETCH_SAMPLES = 300 * SAMPLE_RATE_HZ
BLOCK_S = 30
BLOCK_SAMPLES = BLOCK_S * SAMPLE_RATE_HZ
BORDER_SAMPLES = SAMPLE_RATE_HZ

# Pauses under 2 s stay, since Whisper hears sentences better with them.
LONGEST_PAUSE_SAMPLES = 2 * SAMPLE_RATE_HZ

# Silero's own threshold. Sounds under 250 ms are clicks and coughs. Where speech must be cut it is at a pause of 300 ms
# or more, as between phrases: cut within them, 222 s of narration had a word error rate 0.7 points higher. Speech
# without such a pause is cut at the last of any length.
VAD = VadOptions(
    threshold=0.5,
    min_speech_duration_ms=250,
    max_speech_duration_s=float(BLOCK_S),
    min_silence_duration_ms=300,
    speech_pad_ms=400,
)


@dataclass(frozen=True)
class SpeechBlock:
    """Speech without its silences. `intervals` say where in the media it was, in 16 kHz samples."""

    samples: Samples
    intervals: tuple[SampleInterval, ...]


class SpeechFinder:
    """Decodes and searches a file stretch by stretch, timing both.

    `duration_s` and `speech_s` are whole once all stretches were taken.
    """

    def __init__(self, reader: AudioReader, decode: PhaseAccumulator, vad: PhaseAccumulator) -> None:
        self._reader = reader
        self._decode = decode
        self._vad = vad
        self.duration_s = 0.0
        self.speech_s = 0.0

    def stretches(self) -> Iterator[tuple[SpeechBlock, ...]]:
        """What is spoken in each stretch of five minutes, in the order of time; stretches without speech are left out.

        Blocks are of at most 30 s, which is what Whisper hears at a time.
        """
        stretch, stretch_start, last = np.zeros(0, np.float32), 0, False
        while not last:
            piece = self._read()
            last = len(piece) < STRETCH_SAMPLES
            stretch = np.concatenate([stretch, piece])
            settled = settle(self._find(stretch), len(stretch), BORDER_SAMPLES, last)
            blocks = tuple(
                SpeechBlock(
                    np.concatenate([stretch[i.start : i.end] for i in intervals]),
                    tuple(i.shifted(stretch_start) for i in intervals),
                )
                for intervals in group(settled.ready, BLOCK_SAMPLES)
            )
            stretch, stretch_start = stretch[settled.keep_from :].copy(), stretch_start + settled.keep_from
            if blocks:
                self._count(blocks)
                yield blocks

    def _read(self) -> Samples:
        with self._decode.turn() as counters:
            piece = self._reader.read(STRETCH_SAMPLES)
            self.duration_s += len(piece) / SAMPLE_RATE_HZ
            counters["audio_s"] = self.duration_s
        return piece

    def _find(self, stretch: Samples) -> list[SampleInterval]:
        with self._vad.turn() as counters:
            found = get_speech_timestamps(stretch, VAD, SAMPLE_RATE_HZ)
            counters["audio_s"] = self.duration_s
            counters.setdefault("speech_s", 0.0)
            counters.setdefault("intervals", 0.0)
        intervals = (SampleInterval(start=int(chunk["start"]), end=int(chunk["end"])) for chunk in found)
        return bridge(intervals, LONGEST_PAUSE_SAMPLES, BLOCK_SAMPLES)

    def _count(self, blocks: tuple[SpeechBlock, ...]) -> None:
        self.speech_s += sum(len(block.samples) for block in blocks) / SAMPLE_RATE_HZ
        counters = self._vad.counters
        counters["speech_s"] = self.speech_s
        counters["intervals"] += sum(len(block.intervals) for block in blocks)
