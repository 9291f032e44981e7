"""The ffmpeg command lines, built with ffmpeg-python, which quotes what its filters need quoted."""

from collections.abc import Iterable
from pathlib import Path

from media_stage.media_file import INPUT_OPTIONS, MediaFile
from stage_contract.resources import cpu_threads

GLOBAL_OPTIONS = ("-nostdin", "-hide_banner", "-v", "error", "-y")


def measure_duration(media: MediaFile, stream_indexes: Iterable[int], max_duration_s: float) -> list[str]:
    """Reads the streams' packets, decoding nothing, and tells its progress on standard output."""
    import ffmpeg

    source = ffmpeg.input(media.url, **INPUT_OPTIONS)
    streams = [source[str(index)] for index in stream_indexes]
    output = ffmpeg.output(*streams, "pipe:", format="null", c="copy", t=max_duration_s + 1)
    command: list[str] = output.global_args(*GLOBAL_OPTIONS, "-progress", "pipe:1").compile()
    return command


def extract_sound(
    media: MediaFile, container: str, stream_index: int, sample_rate_hz: int, max_duration_s: float, to: Path
) -> list[str]:
    """One decode: loudness of the original channels, told on standard output, then mono FLAC at `sample_rate_hz`.

    A track that starts late or has gaps is filled with silence, so that a second of FLAC is a second of the media.
    """
    import ffmpeg

    demuxer, threads = container.split(",")[0], cpu_threads()
    source = ffmpeg.input(media.url, format=demuxer, threads=threads, **INPUT_OPTIONS)
    sound = (
        source[str(stream_index)]
        .filter("ebur128", peak="true", metadata=1)
        .filter("ametadata", mode="print", file="pipe:1")
        .filter("aformat", sample_rates=sample_rate_hz, sample_fmts="s16", channel_layouts="mono")
        # Fills gaps. It holds a gap's silence in memory (200 MB an hour), so the sound is made small before.
        .filter("aresample", **{"async": 1, "first_pts": 0})
    )
    output = sound.output(
        f"file:{to}",
        format="flac",
        acodec="flac",
        t=max_duration_s,
        map_metadata=-1,
        fflags="+bitexact",
        threads=threads,
    )
    command: list[str] = output.global_args(*GLOBAL_OPTIONS).compile()
    return command
