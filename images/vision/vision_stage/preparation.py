"""What is done for an asset before the models look: decoding and shots in one thread, measures in another."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stage_contract.outputs import Shot, VideoStream
from stage_contract.phases import PhaseAccumulator
from stage_contract.vocabulary import Phase
from vision_stage.ahead import Ahead
from vision_stage.contact_sheet import ContactSheet
from vision_stage.decoding import FrameReader
from vision_stage.pictures import DecodedFrame
from vision_stage.quality import Quality, measure_quality, signature_distance
from vision_stage.sampling import SampleGrid
from vision_stage.shots import ShotDetector
from vision_stage.unchanged import LastLookedAt

MOST_SAMPLES = 64
"""In a batch, those included that show nothing new."""


@dataclass(frozen=True)
class Sample:
    """A sampled frame, measured. `picture` is none where it shows what the last one with a picture showed."""

    index: int
    time_s: float
    shot_index: int
    quality: Quality
    picture: np.ndarray | None


@dataclass(frozen=True)
class Found:
    """A sampled frame, and the index of the shot that it belongs to."""

    frame: DecodedFrame
    shot_index: int


@dataclass(frozen=True)
class Source:
    """A video file: its path, its demuxer's name, the stream that is analysed and its duration."""

    path: Path
    container: str
    stream: VideoStream
    duration_s: float


class Preparation:
    """Samples of one asset, measured; in the end its shots and its contact sheet. Memory does not grow with length."""

    def __init__(
        self, source: Source, grid: SampleGrid, threads: int, phases: Mapping[Phase, PhaseAccumulator]
    ) -> None:
        self.samples = 0
        self.sheet = ContactSheet()
        self._source = source
        self._grid = grid
        self._threads = threads
        self._phases = phases
        self._end_s = 0.0
        self._last_looked_at = LastLookedAt()
        self._waiting: list[DecodedFrame] = []

    def batches(self, pictures: int) -> Generator[list[Sample], None, None]:
        """Samples in order, with up to `pictures` pictures at a time.

        Raises:
            ItemRejected: the stream cannot be decoded.
        """
        batch: list[Sample] = []
        with Ahead(self._found()) as found:
            for each in found:
                batch.append(self._measured(each))
                if sum(sample.picture is not None for sample in batch) == pictures or len(batch) == MOST_SAMPLES:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def shots(self) -> tuple[Shot, ...]:
        """All shots, once the last batch has come."""
        return self._shots.shots(self._end_s)

    def _found(self) -> Generator[Found, None, None]:
        with self._phases[Phase.DECODE].turn():
            source = self._source
            reader = FrameReader(
                source.path, source.container, source.stream, source.duration_s, self._grid, self._threads
            )
        with reader:
            self._shots = ShotDetector(_distance, reader.between)
            spans = reader.spans()
            while span := self._next_span(reader, spans):
                with self._phases[Phase.SHOT_DETECTION].turn() as counters:
                    settled_s = self._shots.add(span)
                    if self._shots.is_restless:
                        reader.leave_nothing_out()
                    counters["frames"] = counters.get("frames", 0) + len(span)
                self._end_s = span[-1].end_s
                if span[-1].is_sampled:
                    self._waiting.append(span[-1])
                yield from self._settled(settled_s)
            self._shots.finish()
            yield from self._settled(self._end_s)

    def _next_span(self, reader: FrameReader, spans: Generator[list[DecodedFrame], None, None]) -> list[DecodedFrame]:
        with self._phases[Phase.DECODE].turn() as counters:
            span = next(spans, [])
            counters["packets"] = reader.packets
            counters["frames"] = reader.frames
            counters["damaged_packets"] = reader.damaged_packets
        return span

    def _settled(self, until_s: float) -> Generator[Found, None, None]:
        while self._waiting and self._waiting[0].time_s <= until_s:
            frame = self._waiting.pop(0)
            yield Found(frame, self._shots.index_at(frame.time_s))

    def _measured(self, found: Found) -> Sample:
        frame, index = found.frame, self.samples
        with self._phases[Phase.QUALITY].turn() as counters:
            counters["images"] = counters.get("images", 0) + 1
            picture = frame.picture()
            self.sheet.add(frame.time_s, picture)
            quality = measure_quality(picture, frame.signature)
            is_seen = self._last_looked_at.shows(frame.signature, picture)
            counters["unchanged"] = counters.get("unchanged", 0) + is_seen
        self.samples += 1
        return Sample(index, frame.time_s, found.shot_index, quality, None if is_seen else picture)


def _distance(one: DecodedFrame, other: DecodedFrame) -> float:
    return signature_distance(one.signature, other.signature)
