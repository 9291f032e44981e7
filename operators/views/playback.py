"""What browsers play of a file, told from what probe found. As of 2026, of Chromium, Firefox and Safari alike."""

from dataclasses import dataclass

from stage_contract.outputs import ProbeOutput, VideoStream

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
MATROSKA = "matroska,webm"
PICTURES = {MP4: {"h264", "av1", "vp9"}, MATROSKA: {"vp8", "vp9", "av1"}}
SOUNDS = {MP4: {"aac", "mp3", "opus", "flac"}, MATROSKA: {"opus", "vorbis"}}
TYPES = {MP4: "mp4", MATROSKA: "webm"}
SOUND_FILES = {
    "mp3": ("audio/mpeg", {"mp3"}),
    "wav": ("audio/wav", {"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"}),
    "flac": ("audio/flac", {"flac"}),
    "ogg": ("audio/ogg", {"vorbis", "opus", "flac"}),
    "aac": ("audio/aac", {"aac"}),
}
"""By demuxer: the content type, and the codecs that are played."""
EIGHT_BIT = {None, "yuv420p", "yuvj420p"}


@dataclass(frozen=True)
class Playback:
    """How a page plays a file. `element` is `video` or `audio`, or empty: then `why_not` says why."""

    element: str
    content_type: str
    why_not: str = ""


def playback(probe: ProbeOutput | None) -> Playback:
    """How a browser plays what was probed."""
    if probe is None:
        return _none("it is not known what it holds")
    picture = next((stream for stream in probe.video if not stream.is_cover), None)
    sound = probe.audio[0].codec if probe.audio else None
    if probe.container in TYPES:
        return _film(probe.container, picture, sound)
    if picture is None and sound and probe.container in SOUND_FILES:
        content_type, codecs = SOUND_FILES[probe.container]
        return Playback("audio", content_type) if sound in codecs else _none(f"browsers do not play {sound} sound")
    return _none(f"browsers do not play files of the format {probe.container}")


def _film(container: str, picture: VideoStream | None, sound: str | None) -> Playback:
    if sound and sound not in SOUNDS[container]:
        return _none(f"browsers do not play {sound} sound in such a file")
    if picture is None:
        return Playback("audio", f"audio/{TYPES[container]}") if sound else _none("it has neither picture nor sound")
    if picture.codec not in PICTURES[container]:
        return _none(f"browsers do not play {picture.codec} pictures in such a file")
    if picture.codec == "h264" and picture.pixel_format not in EIGHT_BIT:
        return _none(f"browsers play H.264 with 8 bits and 4:2:0 alone, and this is {picture.pixel_format}")
    return Playback("video", f"video/{TYPES[container]}")


def _none(why: str) -> Playback:
    return Playback("", "", why)
