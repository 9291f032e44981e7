"""What browsers play."""

import pytest

from operators.views.playback import playback
from stage_contract.outputs import AudioStream, ProbeOutput, VideoStream

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"


def probe(container: str, picture: str = "", sound: str = "", pixels: str | None = "yuv420p", is_cover: bool = False):
    video = VideoStream(index=0, codec=picture, pixel_format=pixels, width_px=1, height_px=1, is_cover=is_cover)
    audio = AudioStream(index=1, codec=sound, sample_rate_hz=48_000, channels=2)
    return ProbeOutput(
        sha256="0" * 64,
        size_bytes=1,
        container=container,
        duration_s=1,
        video=(video,) if picture else (),
        audio=(audio,) if sound else (),
    )


@pytest.mark.parametrize(
    ("probed", "played"),
    [
        (probe(MP4, "h264", "aac"), ("video", "video/mp4")),
        (probe(MP4, "h264"), ("video", "video/mp4")),
        (probe(MP4, "mjpeg", "aac", is_cover=True), ("audio", "audio/mp4")),
        (probe("matroska,webm", "vp9", "opus"), ("video", "video/webm")),
        (probe("mp3", "", "mp3"), ("audio", "audio/mpeg")),
        (probe("mp3", "mjpeg", "mp3", is_cover=True), ("audio", "audio/mpeg")),
        (probe("wav", "", "pcm_s16le"), ("audio", "audio/wav")),
        (probe("flac", "", "flac"), ("audio", "audio/flac")),
        (probe("ogg", "", "vorbis"), ("audio", "audio/ogg")),
    ],
)
def test_what_browsers_play_is_played(probed: ProbeOutput, played: tuple[str, str]) -> None:
    how = playback(probed)

    assert (how.element, how.content_type) == played


@pytest.mark.parametrize(
    ("probed", "why"),
    [
        (probe(MP4, "prores", "pcm_s24le", "yuv422p10le"), "pcm_s24le"),
        (probe(MP4, "prores"), "prores"),
        (probe(MP4, "h264", "aac", "yuv422p10le"), "8 bits"),
        (probe("mxf", "mpeg2video", "pcm_s24le"), "format mxf"),
        (probe("matroska,webm", "h264", "ac3"), "ac3"),
        (probe("avi", "h264", "mp3"), "format avi"),
        (probe("ogg", "theora", "vorbis"), "format ogg"),
        (probe("wav", "", "adpcm_ms"), "adpcm_ms"),
        (probe(MP4), "neither"),
        (None, "not known"),
    ],
)
def test_what_they_do_not_play_is_said_with_the_reason(probed: ProbeOutput | None, why: str) -> None:
    how = playback(probed)

    assert how.element == ""
    assert why in how.why_not
