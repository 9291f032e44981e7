"""What earlier stages leave of media, made with PyAV alone: `python prepare_media.py FILE FLAC PROBE`.

Runs in the environment of the audio stage. `FLAC` gets the sound, mono at 16 kHz; `PROBE` the little of media.probe's
output that vision.analyze reads. A file without sound or picture leaves out the one or the other. Pictures are taken
as they are stored, not turned.
"""

import hashlib
import sys
from pathlib import Path

import av

from stage_contract.outputs import ProbeOutput, VideoStream

SAMPLE_RATE_HZ = 16_000
MICROSECONDS = 1_000_000


def write_sound(media: Path, flac: Path) -> None:
    """Decode the first sound track."""
    with av.open(str(media)) as source:
        if not source.streams.audio:
            return
        with av.open(str(flac), "w", format="flac") as sink:
            stream = sink.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
            for frame in source.decode(audio=0):
                for resampled in resampler.resample(frame):
                    sink.mux(stream.encode(resampled))
            for resampled in resampler.resample(None):
                sink.mux(stream.encode(resampled))
            sink.mux(stream.encode(None))


def write_probe(media: Path, probe: Path) -> None:
    """Describe the first picture track."""
    with av.open(str(media)) as source:
        if not source.streams.video:
            return
        video = source.streams.video[0]
        output = ProbeOutput(
            sha256=hashlib.sha256(media.read_bytes()).hexdigest(),
            size_bytes=media.stat().st_size,
            container=source.format.name,
            duration_s=(source.duration or 0) / MICROSECONDS,
            video=(
                VideoStream(
                    index=video.index, codec=video.codec_context.name, width_px=video.width, height_px=video.height
                ),
            ),
        )
    probe.write_text(output.model_dump_json())


if __name__ == "__main__":
    write_sound(Path(sys.argv[1]), Path(sys.argv[2]))
    write_probe(Path(sys.argv[1]), Path(sys.argv[3]))
