"""What each stage writes, file by file. Times are seconds from the start of the media, intervals half-open."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PROBE_FILE = "probe.json"
AUDIO_FILE = "audio.flac"
EXTRACT_FILE = "extract.json"
TRANSCRIPT_FILE = "transcript.json"
SRT_FILE = "transcript.srt"
VTT_FILE = "transcript.vtt"
VISION_FILE = "vision.json"
FRAMES_FILE = "frames.jsonl"
CONTACT_SHEET_FILE = "contact_sheet.jpg"
ENRICHMENT_FILE = "enrichment.json"


class Output(BaseModel):
    """Base of every output: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# media.probe -> probe.json


class VideoStream(Output):
    """`width_px` and `height_px` are as displayed, after `rotation_deg` (0, 90, 180, 270, clockwise).

    `is_cover` marks a still picture attached to an audio file.
    """

    index: int
    codec: str
    profile: str | None = None
    pixel_format: str | None = None
    bit_depth: int | None = None
    width_px: int
    height_px: int
    rotation_deg: int = 0
    frame_rate_hz: float | None = None
    variable_frame_rate: bool = False
    duration_s: float | None = None
    bit_rate_bps: int | None = None
    language: str | None = None
    is_cover: bool = False


class AudioStream(Output):
    """One sound track."""

    index: int
    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float | None = None
    bit_rate_bps: int | None = None
    language: str | None = None


class ProbeOutput(Output):
    """`container` is the demuxer's name (`mov,mp4,m4a,3gp,3g2,mj2`); later stages open the file with it.

    `video` and `audio` list the main track first; covers come last.
    """

    sha256: str
    size_bytes: int
    container: str
    duration_s: float
    bit_rate_bps: int | None = None
    video: tuple[VideoStream, ...] = ()
    audio: tuple[AudioStream, ...] = ()
    subtitle_streams: int = 0
    tags: dict[str, str] = {}


# media.extract -> extract.json, audio.flac


class ExtractOutput(Output):
    """`stream_index` is the sound track taken. Loudness after EBU R128, null when it is all silence."""

    audio_file: str
    stream_index: int
    sample_rate_hz: int
    duration_s: float
    integrated_lufs: float | None
    loudness_range_lu: float | None
    true_peak_dbtp: float | None


# audio.transcribe -> transcript.json, transcript.srt, transcript.vtt


class Word(Output):
    """One word; `text` keeps its leading space. `probability` is 0..1."""

    start_s: float
    end_s: float
    text: str
    probability: float


class Segment(Output):
    """One utterance. `mean_log_probability` and `no_speech_probability` are Whisper's."""

    index: int
    start_s: float
    end_s: float
    text: str
    mean_log_probability: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()


class Transcript(Output):
    """No segments: nobody speaks. `language` is null when there is nothing to tell it by."""

    language: str | None
    language_probability: float | None
    duration_s: float
    speech_duration_s: float
    segments: tuple[Segment, ...]


# vision.analyze -> vision.json, frames.jsonl (one Frame a line), contact_sheet.jpg


class Shot(Output):
    """A run of frames between two cuts."""

    index: int
    start_s: float
    end_s: float


class Color(Output):
    """A dominant colour, `#rrggbb`, and the share of the frame it stands for, 0..1."""

    hex: str = Field(pattern=r"^#[0-9a-f]{6}$")
    share: float


class Box(Output):
    """Pixels of the displayed frame, origin top left."""

    x_px: float
    y_px: float
    width_px: float
    height_px: float


class Detection(Output):
    """An object found in a frame. `confidence` is 0..1."""

    label: str
    confidence: float
    box: Box


class TextLine(Output):
    """A line of text read in a frame. `confidence` is 0..1."""

    text: str
    confidence: float
    box: Box


class Tag(Output):
    """A zero-shot label of a frame; `score` is the softmax over the labels asked, 0..1."""

    label: str
    score: float


class Frame(Output):
    """One sampled frame.

    `brightness` is mean luma 0..255, `contrast` the standard deviation of luma, `sharpness` the
    variance of its Laplacian. `embedding` is the L2-normalized CLIP vector.
    """

    index: int
    time_s: float
    shot_index: int
    brightness: float
    contrast: float
    sharpness: float
    colors: tuple[Color, ...]
    detections: tuple[Detection, ...] = ()
    tags: tuple[Tag, ...] = ()
    text: tuple[TextLine, ...] = ()
    embedding: tuple[float, ...] = ()


class VisionOutput(Output):
    """The whole asset. `embedding_trained` is false when CLIP had no weights: then no tags, no search."""

    stream_index: int
    width_px: int
    height_px: int
    interval_s: float
    frame_count: int
    shots: tuple[Shot, ...]
    embedding_model: str
    embedding_dimensions: int
    embedding_trained: bool
    detector_model: str


# nlp.enrich -> enrichment.json


class Entity(Output):
    """A named thing in a segment; `start` and `end` are character offsets in the segment's text."""

    segment_index: int
    start: int
    end: int
    text: str
    label: str


class KeyPhrase(Output):
    """A phrase that says what the asset is about; `score` is higher for more telling ones."""

    text: str
    score: float
    count: int


class Sentiment(Output):
    """`segment_index` is null for the whole. `score` runs from -1 (negative) to 1 (positive)."""

    segment_index: int | None
    label: Literal["negative", "neutral", "positive"]
    score: float


class Enrichment(Output):
    """Engines are named, since a lexicon and a network do not mean the same by a score."""

    language: str | None
    entities: tuple[Entity, ...]
    entity_engine: str
    key_phrases: tuple[KeyPhrase, ...]
    sentiments: tuple[Sentiment, ...]
    sentiment_engine: str
