"""Reads a sound file in pieces, so that memory does not grow with its length."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import av
import numpy as np
import numpy.typing as npt

from audio_stage.timeline import SAMPLE_RATE_HZ

Samples: TypeAlias = npt.NDArray[np.float32]
INT16_RANGE = 32_768


class AudioReader:
    """The samples of a FLAC file as mono float32 in [-1, 1) at 16 kHz, from front to end."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path), format="flac")
        self._resampled = self._resample()
        self._waiting = av.AudioFifo()

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def read(self, count: int) -> Samples:
        """The next `count` samples; fewer, or none, only at the end of the file."""
        while self._waiting.samples < count:
            frame = next(self._resampled, None)
            if frame is None:
                break
            self._waiting.write(frame)
        if not self._waiting.samples:
            return np.zeros(0, np.float32)
        frame = self._waiting.read(count, partial=True)
        samples: Samples = frame.to_ndarray().reshape(-1).astype(np.float32) / INT16_RANGE
        return samples

    def _resample(self) -> Iterator[av.AudioFrame]:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        for frame in self._container.decode(audio=0):
            yield from self._without_times(resampler.resample(frame))
        yield from self._without_times(resampler.resample(None))

    @staticmethod
    def _without_times(frames: list[av.AudioFrame]) -> Iterator[av.AudioFrame]:
        # The queue refuses frames whose times do not follow each other exactly; counting samples is exact.
        for frame in frames:
            frame.pts = None
            yield frame
