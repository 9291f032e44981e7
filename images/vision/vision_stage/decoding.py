"""Read a video stream once, in order: a small signature of each frame, the whole picture of the sampled ones."""

import errno
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from stage_contract.errors import ItemRejected
from stage_contract.outputs import VideoStream
from stage_contract.vocabulary import Reason
from vision_stage.sampling import SampleGrid
from vision_stage.streams import LARGEST_FRAME_PX, analysed_size, signature_size

LONGEST_CHUNK_FRAMES = 512
HD_HEIGHT_PX = 720
UNSPECIFIED_COLORSPACE = 2
MICROSECONDS_PER_S = 1_000_000
DURATION_FACTOR, DURATION_SLACK_S = 2.0, 60.0
"""How far a frame's time may exceed the duration that the probe found, which is an estimate in some formats."""

DISK_ERRNOS = {errno.EIO, errno.ESTALE}

log = logging.getLogger("stage")


@dataclass(frozen=True)
class DecodedFrame:
    """One frame as displayed.

    `signature` is RGB, uint8, its longer side 64. `picture` is RGB, uint8, (height, width, 3), and is
    there for sampled frames only. `end_s` is when the next frame is due.
    """

    time_s: float
    end_s: float
    signature: np.ndarray
    picture: np.ndarray | None


class FrameReader:
    """Decodes one stream of a file. Use as a context manager.

    `container` is the demuxer's name that the probe found: no other demuxer and no protocol but files
    is tried, since the file may be made to mislead. What cannot be decoded is left out and counted in
    `damaged_packets`.
    """

    def __init__(
        self, path: Path, container: str, stream: VideoStream, duration_s: float, grid: SampleGrid, threads: int
    ) -> None:
        self.frames = 0
        self.damaged_packets = 0
        self._grid = grid
        self._threads = threads
        self._stream = stream
        self._turns = -stream.rotation_deg // 90 % 4
        self._picture_size = self._unrotated(*analysed_size(stream.width_px, stream.height_px))
        self._signature_size = self._unrotated(*signature_size(stream.width_px, stream.height_px))
        self._picture_reformatter, self._signature_reformatter = VideoReformatter(), VideoReformatter()
        self._last_s = 0.0
        self._latest_plausible_s = DURATION_FACTOR * duration_s + DURATION_SLACK_S
        self._frame_duration_s = 1.0 / stream.frame_rate_hz if stream.frame_rate_hz else 0.0
        try:
            self._container = av.open(
                f"file:{path}", format=container, options={"protocol_whitelist": "file"}, metadata_errors="replace"
            )
        except FFmpegError as error:
            if error.errno in DISK_ERRNOS:
                raise
            raise ItemRejected(
                Reason.CORRUPT, f"the file must open as what the probe found, {container}: {error}"
            ) from error
        self._decoded = self._decode()

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._container.close()

    def next_chunk(self, pictures: int) -> list[DecodedFrame]:
        """The next frames, until `pictures` of them are sampled ones; none when the stream has ended.

        Raises:
            ItemRejected: the stream cannot be decoded.
        """
        chunk: list[DecodedFrame] = []
        sampled = 0
        for frame in self._decoded:
            chunk.append(frame)
            sampled += frame.picture is not None
            if sampled == pictures or len(chunk) == LONGEST_CHUNK_FRAMES:
                break
        return chunk

    def _decode(self) -> Iterator[DecodedFrame]:
        for frame in self._video_frames():
            self.frames += 1
            yield self._as_displayed(frame)
        if not self.frames:
            raise ItemRejected(
                Reason.CORRUPT,
                f"at least one frame must be decodable: stream {self._stream.index} ({self._stream.codec}) has none, "
                f"{self.damaged_packets} packets are damaged; fetch the file again from where it came",
            )

    def _video_frames(self) -> Iterator[av.VideoFrame]:
        stream = self._open_stream()
        try:
            for packet in self._container.demux(stream):
                yield from self._frames_of(stream, packet)
        except FFmpegError as error:
            # What was read before the damage is kept.
            self._count_damage(error)
            yield from self._frames_of(stream, None)

    def _open_stream(self) -> av.VideoStream:
        index, codec = self._stream.index, self._stream.codec
        stream = next((s for s in self._container.streams.video if s.index == index), None)
        if stream is None:
            raise ItemRejected(
                Reason.CORRUPT, f"the video stream that the probe found must be there: stream {index} ({codec}) is not"
            )
        if stream.codec_context is None:
            raise ItemRejected(
                Reason.UNSUPPORTED,
                f"the video stream must have a decoder here: stream {index} ({codec}) has none; make an H.264 copy",
            )
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = self._threads
        stream.codec_context.options = {"max_pixels": str(LARGEST_FRAME_PX)}
        return stream

    def _frames_of(self, stream: av.VideoStream, packet: av.Packet | None) -> list[av.VideoFrame]:
        try:
            frames: list[av.VideoFrame] = stream.decode(packet)
            return frames
        except EOFError:
            return []
        except FFmpegError as error:
            self._count_damage(error)
            return []

    def _count_damage(self, error: FFmpegError) -> None:
        if error.errno in DISK_ERRNOS:
            raise error
        self.damaged_packets += 1
        log.debug("damaged packet %d: %s", self.damaged_packets, error)

    def _as_displayed(self, frame: av.VideoFrame) -> DecodedFrame:
        time_s = self._time_s(frame)
        if frame.duration and frame.time_base:
            self._frame_duration_s = float(frame.duration * frame.time_base)
        picture = None
        if self._grid.takes(time_s):
            picture = self._rgb(frame, self._picture_reformatter, self._picture_size)
        signature = self._rgb(frame, self._signature_reformatter, self._signature_size)
        return DecodedFrame(time_s, time_s + self._frame_duration_s, signature, picture)

    def _time_s(self, frame: av.VideoFrame) -> float:
        """Seconds from the start of the media; never less than the time of the frame before.

        A frame without a time, or with one far beyond the media's duration, follows the frame before it.
        """
        time_s = math.inf
        if frame.time is not None:
            time_s = frame.time - (self._container.start_time or 0) / MICROSECONDS_PER_S
        if time_s > self._latest_plausible_s:
            time_s = self._last_s + self._frame_duration_s if self.frames > 1 else 0.0
        self._last_s = max(self._last_s, time_s)
        return self._last_s

    def _rgb(self, frame: av.VideoFrame, reformatter: VideoReformatter, size: tuple[int, int]) -> np.ndarray:
        # Where the file does not say, HD is taken for BT.709 and the rest for BT.601, as players do.
        unspecified_hd = frame.colorspace == UNSPECIFIED_COLORSPACE and frame.height >= HD_HEIGHT_PX
        converted = reformatter.reformat(
            frame,
            width=size[0],
            height=size[1],
            format="rgb24",
            src_colorspace=Colorspace.ITU709 if unspecified_hd else None,
            interpolation=Interpolation.AREA,
            threads=self._threads,
        )
        return np.ascontiguousarray(np.rot90(converted.to_ndarray(), self._turns))

    def _unrotated(self, width_px: int, height_px: int) -> tuple[int, int]:
        return (height_px, width_px) if self._turns % 2 else (width_px, height_px)
