"""Read a video stream once, in order, and decode what samples and shots need of it."""

import contextlib
import errno
import logging
import math
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import av
from av.error import FFmpegError

from stage_contract.errors import ItemRejected
from stage_contract.outputs import VideoStream
from stage_contract.vocabulary import Reason
from vision_stage.groups import GROUPED_CODECS, SHORT_GROUP_S, Extent, Group, PacketFacts, extent, grouped, times_of
from vision_stage.pictures import DecodedFrame, FrameConverter
from vision_stage.sampling import TOLERANCE_S, SampleGrid
from vision_stage.streams import LARGEST_FRAME_PX

SPAN_S = 0.4
MOST_SPAN_FRAMES = 8
MOST_SPAN_BYTES = 32 * 2**20
"""A span of frames, which are kept until its last one is compared, ends at the first of these limits."""

COMPLETE_S = 10.0
COSTLY_FRAMES = 16
"""Frames decoded again in vain, more than a span holds, from which on it is cheaper to leave none out for a while."""

UNREFERRED_FRAMES = 3
"""More frames than this in a row are not without one that others refer to."""

BYTES_PER_PX = 1.5
MICROSECONDS_PER_S = 1_000_000
DURATION_FACTOR, DURATION_SLACK_S = 2.0, 60.0
"""How far a frame's time may exceed the duration that the probe found, which is an estimate in some formats."""

DISK_ERRNOS = {errno.EIO, errno.ESTALE}

log = logging.getLogger("stage")


class FrameReader:
    """Decodes one stream of a file. Use as a context manager.

    `container` is the demuxer's name that the probe found: no other demuxer and no protocol but files
    is tried, since the file may be made to mislead. What cannot be decoded is left out and counted in
    `damaged_packets`. `packets` counts what was read, `frames` what was decoded.
    """

    def __init__(
        self, path: Path, container: str, stream: VideoStream, duration_s: float, grid: SampleGrid, threads: int
    ) -> None:
        self.packets = 0
        self.frames = 0
        self.damaged_packets = 0
        self._frames_again = self._frames_again_before = 0
        self._complete_until_s = -math.inf
        self._path, self._format = path, container
        self._grid = grid
        self._threads = threads
        self._stream = stream
        self._converter = FrameConverter(stream)
        self._span_frames = most_span_frames(stream.width_px, stream.height_px)
        self._last_s = 0.0
        self._last_time: int | None = None
        self._compared: DecodedFrame | None = None
        self._latest_plausible_s = DURATION_FACTOR * duration_s + DURATION_SLACK_S
        self._frame_duration_s = 1.0 / stream.frame_rate_hz if stream.frame_rate_hz else 0.0
        self._asked_until_s = -math.inf
        self._due_s: deque[float] = deque()
        self._recent: deque[Group[av.Packet]] = deque()
        self._is_interlaced = False
        self._container = self._open()
        self._again: av.container.InputContainer | None = None

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._container.close()
        if self._again:
            self._again.close()

    def spans(self) -> Generator[list[DecodedFrame], None, None]:
        """The decoded frames in the order of display, a few at a time. A sampled one is the last of its span.

        Raises:
            ItemRejected: the stream cannot be decoded.
        """
        span: list[DecodedFrame] = []
        for frame in self._decode():
            span.append(frame)
            since_s = frame.time_s - self._compared.time_s if self._compared else math.inf
            if frame.is_sampled or since_s >= SPAN_S or len(span) == self._span_frames:
                self._compared, self._frames_again_before = frame, self._frames_again
                yield span
                span = []
        if span:
            yield span

    def leave_nothing_out(self) -> None:
        """Decode all frames of the groups of the next ten seconds, if those that were left out had their price."""
        if self._frames_again - self._frames_again_before >= COSTLY_FRAMES:
            self._complete_until_s = self._last_s + COMPLETE_S

    def between(self, one: DecodedFrame, other: DecodedFrame) -> list[DecodedFrame]:
        """Frames that were left out between two of the latest ones; none only if there are none."""
        if one.time is None or other.time is None:
            return []
        groups = [group for group in self._recent if group.times[-1] >= one.time and group.times[0] <= other.time]
        left_out = sum(group.count_between(one.time, other.time) for group in groups)
        keys = [group for group in groups if one.time < group.key < other.time and len(group.packets) == 1]
        found: list[av.VideoFrame] = []
        if keys:
            found = self._decode_again(keys[len(keys) // 2 :][:1], one.time, other.time, all_frames=True)
        elif left_out > UNREFERRED_FRAMES:
            found = self._decode_again(groups, one.time, other.time, all_frames=False)
        if left_out and not found:
            found = self._decode_again(groups, one.time, other.time, all_frames=True)
        return [self._left_out(frame) for frame in found]

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
        stream = self._video_stream(self._container)
        self._time_base = float(stream.time_base or 0)
        short = round(SHORT_GROUP_S / self._time_base) if self._time_base else 0
        groups = self._groups(stream)
        group, continues = next(groups, None), True
        while group:
            following = next(groups, None)
            self._remember(group)
            compared = self._compared.time if self._compared else None
            everything = Extent(len(group.packets), all_frames=True)
            is_complete = self._last_s < self._complete_until_s
            wanted = everything if is_complete else extent(group, following, compared, short)
            yield from self._decode_group(stream, group, wanted, continues)
            if wanted.packets == len(group.packets):
                continues = True
            elif continues or wanted.packets:
                yield from self._frames_of(stream, None)
                stream.codec_context.flush_buffers()
                continues = False
            group = following
        yield from self._frames_of(stream, None)

    def _decode_group(
        self, stream: av.VideoStream, group: Group[av.Packet], wanted: Extent, continues: bool
    ) -> Iterator[av.VideoFrame]:
        all_frames, again = wanted.all_frames or self._is_interlaced, self._frames_again
        for packet, facts in group.packets[: wanted.packets]:
            if not continues and facts.time is not None and facts.time < group.key:
                continue  # it refers to what was left out
            # A long group is decoded again from its beginning, however little is asked for: once is enough.
            all_frames = all_frames or self._frames_again - again >= COSTLY_FRAMES
            is_needed = all_frames or facts.time in wanted.times
            stream.codec_context.skip_frame = "DEFAULT" if is_needed else "NONREF"
            yield from self._frames_of(stream, packet)

    def _groups(self, stream: av.VideoStream) -> Iterator[Group[av.Packet]]:
        is_orderly, after = stream.codec_context.codec.name in GROUPED_CODECS and self._time_base > 0, None
        for packets in grouped(self._packets(stream)):
            times = times_of(packets, after) if is_orderly else None
            if times is None or self._seconds(times[-1]) > self._latest_plausible_s:
                # What is not orderly once is decoded as it comes from there on.
                is_orderly = False
                yield Group(packets)
                continue
            wanted = tuple(time for time in times if self._grid.takes(self._seconds(time)))
            self._due_s.extend(map(self._seconds, wanted))
            self._asked_until_s, after = self._seconds(times[-1]), times[-1]
            yield Group(packets, times, wanted, is_whole=True)

    def _packets(self, stream: av.VideoStream) -> Iterator[tuple[av.Packet, PacketFacts]]:
        try:
            for packet in self._container.demux(stream):
                if packet.size:
                    self.packets += 1
                    yield packet, PacketFacts(packet.pts, packet.is_keyframe, not packet.is_discard, packet.size)
        except FFmpegError as error:
            # What was read before the damage is kept.
            self._count_damage(error)

    def _remember(self, group: Group[av.Packet]) -> None:
        if group.is_whole:
            self._recent.append(group)
        compared = self._compared.time if self._compared else None
        while compared is not None and len(self._recent) > 2 and self._recent[1].times[-1] < compared:
            self._recent.popleft()

    def _decode_again(
        self, groups: Sequence[Group[av.Packet]], after: int, before: int, all_frames: bool
    ) -> list[av.VideoFrame]:
        """The frames of some groups that are shown after one time and before another."""
        if self._again is None:
            self._again = self._open()
        stream = self._video_stream(self._again)
        stream.codec_context.flush_buffers()
        stream.codec_context.skip_frame = "DEFAULT" if all_frames else "NONREF"
        if after < groups[0].key:
            # What leads a key frame refers to the group before as well.
            earlier = [group for group in self._recent if group.times[-1] < groups[0].times[0]]
            groups = [*earlier[-1:], *groups]
        found = []
        for packet in (*(packet for group in groups for packet, _ in group.packets), None):
            with contextlib.suppress(FFmpegError):  # counted the first time
                frames = stream.decode(packet)
                self.frames, self._frames_again = self.frames + len(frames), self._frames_again + len(frames)
                found += [frame for frame in frames if frame.pts is not None and after < frame.pts < before]
                if any(frame.pts is not None and frame.pts >= before for frame in frames):
                    break
        return found

    def _left_out(self, frame: av.VideoFrame) -> DecodedFrame:
        time_s = self._seconds(frame.pts)
        return DecodedFrame(
            frame, frame.pts, time_s, time_s, is_sampled=False, follows=False, converter=self._converter
        )

    def _open(self) -> av.container.InputContainer:
        try:
            return av.open(
                f"file:{self._path}",
                format=self._format,
                options={"protocol_whitelist": "file"},
                metadata_errors="replace",
            )
        except FFmpegError as error:
            if error.errno in DISK_ERRNOS:
                raise
            raise ItemRejected(
                Reason.CORRUPT, f"the file must open as what the probe found, {self._format}: {error}"
            ) from error

    def _video_stream(self, container: av.container.InputContainer) -> av.VideoStream:
        index, codec = self._stream.index, self._stream.codec
        stream = next((s for s in container.streams.video if s.index == index), None)
        if stream is None:
            raise ItemRejected(
                Reason.CORRUPT, f"the video stream that the probe found must be there: stream {index} ({codec}) is not"
            )
        if stream.codec_context is None:
            raise ItemRejected(
                Reason.UNSUPPORTED,
                f"the video stream must have a decoder here: stream {index} ({codec}) has none; make an H.264 copy",
            )
        if not stream.codec_context.is_open:
            # Frames at a time would cost a fifth more work, and the models want the other cores.
            stream.thread_type = "SLICE"
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
        if frame.duration:
            self._frame_duration_s = frame.duration * self._time_base
        # A field may be referred to where the other one of its frame is not.
        self._is_interlaced = self._is_interlaced or frame.interlaced_frame
        follows, self._last_time = self._follows(frame.pts), frame.pts
        end_s = time_s + self._frame_duration_s
        return DecodedFrame(frame, frame.pts, time_s, end_s, self._is_sampled(time_s), follows, self._converter)

    def _is_sampled(self, time_s: float) -> bool:
        # Samples of orderly groups were chosen by their packets' times; for a damaged one the next frame is taken.
        is_due = bool(self._due_s) and time_s >= self._due_s[0] - TOLERANCE_S
        while self._due_s and self._due_s[0] <= time_s + TOLERANCE_S:
            self._due_s.popleft()
        return is_due or (time_s > self._asked_until_s and self._grid.takes(time_s))

    def _follows(self, time: int | None) -> bool:
        if time is None or self._last_time is None:
            return True
        return not any(group.count_between(self._last_time, time) for group in self._recent)

    def _seconds(self, time: int) -> float:
        return time * self._time_base - (self._container.start_time or 0) / MICROSECONDS_PER_S

    def _time_s(self, frame: av.VideoFrame) -> float:
        """Seconds from the start of the media; never less than the time of the frame before.

        A frame without a time, or with one far beyond the media's duration, follows the frame before it.
        """
        time_s = math.inf if frame.pts is None else self._seconds(frame.pts)
        if time_s > self._latest_plausible_s:
            time_s = self._last_s + self._frame_duration_s if self.frames > 1 else 0.0
        self._last_s = max(self._last_s, time_s)
        return self._last_s


def most_span_frames(width_px: int, height_px: int) -> int:
    """How many frames of a size are kept at a time, at least one."""
    return max(1, min(MOST_SPAN_FRAMES, int(MOST_SPAN_BYTES / (width_px * height_px * BYTES_PER_PX))))
