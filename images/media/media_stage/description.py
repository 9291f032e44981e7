"""From ffprobe's answers to a `ProbeOutput`, or to a rejection. Pure."""

import itertools
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from media_stage import content
from media_stage.ffprobe import FileReport, PacketSample, StreamReport
from stage_contract.errors import ItemRejected
from stage_contract.outputs import AudioStream, ProbeOutput, VideoStream
from stage_contract.result import Rejection
from stage_contract.vocabulary import Reason

LEAST_PROBE_SCORE = 25
"""What ffmpeg gives four sound frames in a row; less is a guess. Its own limit for looking on is the same."""

PLAYLIST_DEMUXERS = {"hls", "concat", "dash", "imf", "sdp", "rtp", "rtsp", "vobsub", "webm_dash_manifest", "lavfi"}
STILL_PICTURE_DEMUXERS = {"image2", "image2pipe", "gif", "apng", "ico", "fits", "alias_pix", "brender_pix"}
CLOCKLESS_DEMUXERS = {"aac", "ac3", "eac3", "dts", "truehd", "amr"}
"""Formats without times or an index: ffprobe guesses their duration from the bit rate."""

TAG_COUNT = 64
TAG_NAME_CHARACTERS = 64
TAG_VALUE_CHARACTERS = 1_000

UNEVEN_SHARE = 0.02
UNEVEN_BY = 0.1
TICK_S = 0.0011
"""Matroska rounds times to a millisecond."""


@dataclass(frozen=True)
class Tracks:
    """A file's usable streams, the main one of each kind first."""

    video: tuple[StreamReport, ...]
    audio: tuple[StreamReport, ...]

    @property
    def main(self) -> StreamReport:
        """The main picture, or the main sound where there is no picture."""
        return (self.video or self.audio)[0]


def explain_failure(head: bytes, stderr: str, complaint: str) -> Rejection:
    """Why ffprobe did not open a file that begins with `head`."""
    refused = re.search(r"\[(\S+) @ 0x[0-9a-f]+\] Format not on whitelist", stderr)
    demuxers = set(refused.group(1).split(",")) if refused else set()
    if demuxers & PLAYLIST_DEMUXERS:
        return Rejection(
            reason=Reason.PLAYLIST,
            message="media must be in the file itself: ffmpeg takes this for a playlist or stream description; "
            "add the files that it points to instead",
        )
    picture = next((d for d in demuxers if d in STILL_PICTURE_DEMUXERS or d.endswith("_pipe")), None)
    if picture:
        return content.still_picture(picture.removesuffix("_pipe"))
    if demuxers:
        return Rejection(
            reason=Reason.UNSUPPORTED,
            message=f"media must be in a format that keeps time: this is {', '.join(sorted(demuxers))}; "
            "put it into a common container such as MP4, Matroska, MXF or WAV",
        )
    if "moov atom not found" in stderr:
        return _corrupt("its index (moov) is missing, as when a copy or recording was cut off")
    if content.looks_like_a_container(head):
        return _corrupt(f"ffmpeg says {complaint!r}")
    return _not_media()


def choose_tracks(report: FileReport) -> Tracks:
    """The streams that can be described, the main ones first.

    Raises:
        ItemRejected: ffmpeg only guessed the format, there are no streams, or none that can be read.
    """
    if report.format.probe_score < LEAST_PROBE_SCORE:
        raise _rejected(_not_media())
    if any(_carries_key_id(stream) for stream in report.streams):
        raise _rejected(content.encrypted("its streams carry a key id"))
    if not report.streams and not report.format.duration:
        raise _rejected(_zero_duration())
    video = (s for s in report.streams if s.codec_type == "video" and s.codec_name and s.width and s.height)
    audio = (s for s in report.streams if s.codec_type == "audio" and s.codec_name and s.sample_rate and s.channels)
    tracks = Tracks(tuple(sorted(video, key=_video_rank)), tuple(sorted(audio, key=_audio_rank)))
    if not tracks.audio and (not tracks.video or _is_cover(tracks.video[0])):
        kinds = sorted({f"{stream.codec_type} {stream.codec_name or 'unknown'}" for stream in report.streams})
        raise _rejected(
            Rejection(
                reason=Reason.UNSUPPORTED,
                message="media must have a picture or sound track that ffmpeg knows: "
                f"the file has {', '.join(kinds) or 'no stream'}; convert it to a common codec",
            )
        )
    return tracks


def check_sample(sample: PacketSample, tracks: Tracks, duration_s: float | None) -> None:
    """See that there is content, and that it needs no key.

    Raises:
        ItemRejected: it has no packets, or the main track's are encrypted.
    """
    if not sample.packets:
        raise _rejected(_corrupt("its header is there, but no content follows") if duration_s else _zero_duration())
    for packet in sample.packets:
        secret = any(data.side_data_type.startswith("Encryption") for data in packet.side_data_list)
        if secret and packet.stream_index == tracks.main.index:
            raise _rejected(content.encrypted("its packets are encrypted"))


def parse_progress(printed: bytes) -> float | None:
    """Seconds reached by the last report of ffmpeg's `-progress`; none when nothing was read."""
    reached = re.findall(rb"^out_time_us=(-?\d+)$", printed, re.MULTILINE)
    return max(0.0, int(reached[-1]) / 1e6) if reached else None


def check_duration(duration_s: float | None, max_duration_s: float) -> float:
    """The duration, when it is one that is processed.

    Raises:
        ItemRejected: it is zero, unknown or too long.
    """
    if not duration_s or duration_s < 0:
        raise _rejected(_zero_duration())
    if duration_s > max_duration_s:
        raise ItemRejected(
            Reason.TOO_LARGE,
            f"media must not be longer than max_duration_s: {duration_s:.0f} s are more than {max_duration_s:.0f} s; "
            "cut it, or raise the parameter",
        )
    return duration_s


def describe(
    report: FileReport,
    tracks: Tracks,
    sample: PacketSample,
    pixel_bits: Mapping[str, int],
    sha256: str,
    size_bytes: int,
    duration_s: float,
) -> ProbeOutput:
    """Everything that `probe.json` holds."""
    return ProbeOutput(
        sha256=sha256,
        size_bytes=size_bytes,
        container=report.format.format_name,
        duration_s=duration_s,
        bit_rate_bps=report.format.bit_rate,
        video=tuple(_video_stream(s, sample, pixel_bits) for s in tracks.video),
        audio=tuple(_audio_stream(s) for s in tracks.audio),
        subtitle_streams=sum(1 for s in report.streams if s.codec_type == "subtitle"),
        tags=clean_tags(report.format.tags),
    )


def _video_stream(stream: StreamReport, sample: PacketSample, pixel_bits: Mapping[str, int]) -> VideoStream:
    rotation_deg = rotation(stream)
    turned = rotation_deg in (90, 270)
    cover = _is_cover(stream)
    frame_rate = _rate(stream.avg_frame_rate) or _rate(stream.r_frame_rate)
    return VideoStream(
        index=stream.index,
        codec=stream.codec_name or "",
        profile=stream.profile,
        pixel_format=stream.pix_fmt,
        bit_depth=pixel_bits.get(stream.pix_fmt or "", stream.bits_per_raw_sample),
        width_px=stream.height if turned else stream.width,
        height_px=stream.width if turned else stream.height,
        rotation_deg=rotation_deg,
        frame_rate_hz=round(float(frame_rate), 3) if frame_rate and not cover else None,
        variable_frame_rate=not cover and is_variable_rate(stream, sample),
        duration_s=stream.duration,
        bit_rate_bps=stream.bit_rate,
        language=_language(stream),
        is_cover=cover,
    )


def _audio_stream(stream: StreamReport) -> AudioStream:
    return AudioStream(
        index=stream.index,
        codec=stream.codec_name or "",
        sample_rate_hz=stream.sample_rate or 0,
        channels=stream.channels,
        duration_s=stream.duration,
        bit_rate_bps=stream.bit_rate,
        language=_language(stream),
    )


def rotation(stream: StreamReport) -> int:
    """Quarter turns to show the picture upright: 0, 90, 180 or 270 degrees, clockwise."""
    counter_clockwise = next((d.rotation for d in stream.side_data_list if d.rotation is not None), 0.0)
    return round(-counter_clockwise / 90) * 90 % 360


def is_variable_rate(stream: StreamReport, sample: PacketSample) -> bool:
    """Whether frames come unevenly: in the sample, or on average over the file against the rate it is based on.

    Interlaced streams state the field rate, which is twice the frame rate.
    """
    base, mean = _rate(stream.r_frame_rate), _rate(stream.avg_frame_rate)
    if base and mean and all(abs(float(mean / base) - even) > UNEVEN_BY * even for even in (0.5, 1.0)):
        return True
    times = sorted(
        time_s
        for packet in sample.packets
        if packet.stream_index == stream.index
        and (time_s := packet.dts_time if packet.pts_time is None else packet.pts_time) is not None
    )
    gaps = [after - before for before, after in itertools.pairwise(times)]
    if len(gaps) < 3:
        return False
    usual = statistics.median(gaps)
    uneven = sum(1 for gap in gaps if abs(gap - usual) > UNEVEN_BY * usual + TICK_S)
    return uneven / len(gaps) > UNEVEN_SHARE


def clean_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """At most 64 tags, their names and values cut to a bounded length, without control characters."""
    kept = list(tags.items())[:TAG_COUNT]
    return {_printable(name)[:TAG_NAME_CHARACTERS]: _printable(value)[:TAG_VALUE_CHARACTERS] for name, value in kept}


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _video_rank(stream: StreamReport) -> tuple[bool, bool, int, int]:
    return _is_cover(stream), not stream.disposition.default, -stream.width * stream.height, stream.index


def _audio_rank(stream: StreamReport) -> tuple[bool, bool, int]:
    purpose = stream.disposition
    aside = bool(purpose.comment or purpose.hearing_impaired or purpose.visual_impaired)
    return aside, not purpose.default, stream.index


def _is_cover(stream: StreamReport) -> bool:
    return bool(stream.disposition.attached_pic or stream.disposition.timed_thumbnails)


def _carries_key_id(stream: StreamReport) -> bool:
    # WebM names the key of an encrypted track in a tag; QuickTime's protected codecs are called drmi, drms and drmt.
    return "enc_key_id" in {name.lower() for name in stream.tags} or stream.codec_tag_string.startswith("drm")


def _rate(text: str) -> Fraction | None:
    numerator, _, denominator = text.partition("/")
    return Fraction(int(numerator), int(denominator)) if int(numerator) > 0 and int(denominator) > 0 else None


def _language(stream: StreamReport) -> str | None:
    language = _printable(stream.tags.get("language", ""))[:TAG_NAME_CHARACTERS]
    return None if language in ("", "und") else language


def _rejected(rejection: Rejection) -> ItemRejected:
    return ItemRejected(rejection.reason, rejection.message)


def _corrupt(what: str) -> Rejection:
    return Rejection(
        reason=Reason.CORRUPT,
        message=f"media must be whole enough to be opened: {what}; copy the file again from its origin",
    )


def _not_media() -> Rejection:
    return Rejection(
        reason=Reason.NOT_MEDIA,
        message="media must be video or sound: ffmpeg knows no format like this file's; see where it came from",
    )


def _zero_duration() -> Rejection:
    return Rejection(
        reason=Reason.ZERO_DURATION,
        message="media must last longer than zero seconds: the file has a header and nothing to show or play; "
        "see whether the recording was ever started",
    )
