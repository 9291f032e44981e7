"""What ffprobe is asked, and its answers as models. Nothing here judges."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from media_stage.media_file import INPUT_OPTIONS, MediaFile
from media_stage.tool import Limits, ToolRun, run_tool

PIXEL_FORMATS_FILE = Path("/opt/nightreel/pixel_formats.json")
"""What ffprobe answers to `-show_pixel_formats`: asked when the image is built, since it takes 60 ms to tell."""

PROBE_LIMITS = Limits(cpu_s=60, wall_s=300, stdout_bytes=8 << 20)
SAMPLE_PACKETS = 400
"""About six seconds of a picture and a sound track: enough to see whether frames come evenly."""


def _number_or_none(value: object) -> object:
    return None if value in ("N/A", "", "nan", "inf", "-nan", "-inf") else value


Number = Annotated[float | None, BeforeValidator(_number_or_none)]
Count = Annotated[int | None, BeforeValidator(_number_or_none)]


class Report(BaseModel):
    """Base of ffprobe's answers; what is not asked for is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class SideData(Report):
    """`rotation` is in degrees, counter-clockwise."""

    side_data_type: str = ""
    rotation: float | None = None


class Disposition(Report):
    """What a stream is for: 1 is yes."""

    default: int = 0
    attached_pic: int = 0
    timed_thumbnails: int = 0
    comment: int = 0
    hearing_impaired: int = 0
    visual_impaired: int = 0


class StreamReport(Report):
    """One stream. Rates are fractions as text (`25/1`, `0/0` when unknown)."""

    index: int
    codec_type: str = ""
    codec_name: str | None = None
    codec_tag_string: str = ""
    profile: str | None = None
    pix_fmt: str | None = None
    width: int = 0
    height: int = 0
    r_frame_rate: str = "0/0"
    avg_frame_rate: str = "0/0"
    bits_per_raw_sample: Count = None
    sample_rate: Count = None
    channels: int = 0
    duration: Number = None
    bit_rate: Count = None
    disposition: Disposition = Disposition()
    tags: dict[str, str] = {}
    side_data_list: tuple[SideData, ...] = ()


class FormatReport(Report):
    """The file as a whole. `probe_score` is how sure ffmpeg is of the format, 0..100."""

    format_name: str
    probe_score: int = 0
    duration: Number = None
    bit_rate: Count = None
    tags: dict[str, str] = {}


class FileReport(Report):
    """The answer to `-show_format -show_streams`."""

    format: FormatReport
    streams: tuple[StreamReport, ...] = ()


class PacketReport(Report):
    """One packet; times are seconds."""

    stream_index: int
    pts_time: Number = None
    dts_time: Number = None
    side_data_list: tuple[SideData, ...] = ()


class PacketSample(Report):
    """The first packets of a file, in file order."""

    packets: tuple[PacketReport, ...] = ()


class _Component(Report):
    bit_depth: int


class _PixelFormat(Report):
    name: str
    components: tuple[_Component, ...] = ()


class _PixelFormats(Report):
    pixel_formats: tuple[_PixelFormat, ...]


def run_ffprobe(media: MediaFile, *question: str) -> ToolRun:
    """Ask `question` of the file, in JSON.

    Raises:
        ItemRejected, TransientFailure, OSError: see `run_tool`.
    """
    inputs = [word for name, value in INPUT_OPTIONS.items() for word in (f"-{name}", value)]
    command = ["ffprobe", "-hide_banner", "-v", "error", *inputs, *question, "-of", "json", media.url]
    return run_tool(command, media, PROBE_LIMITS)


def describe_file(media: MediaFile) -> ToolRun:
    """Ask for the container and its streams: a `FileReport` when the exit code is 0."""
    return run_ffprobe(media, "-show_format", "-show_streams")


def sample_packets(media: MediaFile) -> ToolRun:
    """Ask for the first packets, without decoding them: a `PacketSample` when the exit code is 0."""
    entries = "packet=stream_index,pts_time,dts_time:packet_side_data=side_data_type"
    return run_ffprobe(media, "-read_intervals", f"%+#{SAMPLE_PACKETS}", "-show_entries", entries)


def read_pixel_formats(path: Path = PIXEL_FORMATS_FILE) -> Mapping[str, int]:
    """Bits per sample of every pixel format that the image's ffprobe knows, by name."""
    formats = _PixelFormats.model_validate_json(path.read_bytes()).pixel_formats
    return {f.name: max(component.bit_depth for component in f.components) for f in formats if f.components}
