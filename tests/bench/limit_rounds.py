"""How near audio.transcribe and vision.analyze are to what this machine can do at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from operators.routing import image_for
from stage_contract.vocabulary import Stage, Variant
from tests.bench.bench_media import BenchMedia
from tests.bench.rounds import Table, heading, number, row
from tests.bench.stage_shard import StageShard, frames, item_seconds, run_plain, transcript
from tests.stage_container import read_only

PEAKS = Path(__file__).with_name("machine_peaks.py")
FILMS = ("photos_720p_h264.mp4", "photos_1080p_h264.mp4")

CLIP_GFLOP = 8.8
"""One picture through CLIP ViT-B/32: 12 layers of 0.36 G multiplications and the patches' 0.1, additions too."""
DETECTOR_GFLOP = 5.2
"""One 16:9 picture through YOLOv8n at 640 x 384: ultralytics states 8.7 for 640 x 640."""

WINDOW_S = 30
ENCODER_GFLOP = 87.0
"""One window of 30 s through Whisper base's encoder: 1500 places, 6 layers of width 512, two convolutions."""
CROSS_GFLOP = 9.4
"""The keys and values that the decoder's layers take from it."""
TOKEN_GFLOP = 0.097
"""One token of one beam through the decoder: 22 M weights and 26.6 M of the vocabulary."""
DECODER_GB = 0.0486
"""The same weights in int8: read once for each token, by all beams and windows of a batch together."""
BEAMS = 5
TOKENS_PER_WORD = 1.35
"""Of English text under Whisper's vocabulary, punctuation included; counted over the narration."""


@dataclass(frozen=True)
class Peaks:
    """What the machine does at most: GFLOP/s by compute type, GB/s of a copy; s for decoding what others refer to, by
    film.
    """

    gflops: Mapping[str, float]
    copy_gb_s: float
    decode_s: Mapping[str, float]


@dataclass(frozen=True)
class Least:
    """The least time for some work, s, by what it is spent on."""

    parts_s: Mapping[str, float]

    @property
    def total_s(self) -> float:
        """All of it, one after the other: both cores take part in each."""
        return sum(self.parts_s.values())


def least_for_pictures(peaks: Peaks, film: str, pictures: int) -> Least:
    """Decoding a film, and CLIP and the detector over some pictures of 16:9."""
    return Least(
        {
            "decode": peaks.decode_s[film],
            "CLIP in int8": pictures * CLIP_GFLOP / peaks.gflops["int8"],
            "detector in bfloat16": pictures * DETECTOR_GFLOP / peaks.gflops["bfloat16"],
        }
    )


def least_for_speech(peaks: Peaks, speech_s: float, words: int, batch_size: int) -> Least:
    """Whisper base in int8 over speech, windows in batches."""
    windows, tokens = speech_s / WINDOW_S, words * TOKENS_PER_WORD
    steps = tokens / min(batch_size, max(1.0, windows))
    return Least(
        {
            "encoder": windows * (ENCODER_GFLOP + CROSS_GFLOP) / peaks.gflops["int8"],
            "decoder's products": tokens * BEAMS * TOKEN_GFLOP / peaks.gflops["int8"],
            "decoder's weights out of memory": steps * DECODER_GB / (peaks.copy_gb_s / 2),
        }
    )


def reckon(folder: Path, media: BenchMedia, rounds: int) -> Table:
    """The machine's peaks, then what each piece of work takes at least and takes: the shortest of the rounds, as the
    peaks are the best of several tries.

    Raises:
        BenchFailed: a stage failed.
    """
    command = ["python", "/bench/machine_peaks.py", *(f"/films/{film}" for film in FILMS)]
    volumes = read_only(PEAKS.parent, "/bench"), read_only(media.archive, "/films")
    peaks = Peaks(**run_plain(image_for(Stage.ANALYZE, Variant.CPU), command, *volumes))
    rows = [(name, *pair) for name, pair in _pictures(folder / "pictures", media, peaks, rounds).items()]
    rows.append(("`speech.flac`", *_speech(folder / "speech", media, peaks, rounds)))
    lines = [_peaks_line(peaks), "", *heading("work", "at least, s", "of it", "taken, s", "share of the limit")]
    for name, least, taken_s in rows:
        parts = ", ".join(f"{part} {number(seconds)}" for part, seconds in least.parts_s.items())
        lines.append(row(name, number(least.total_s), parts, number(taken_s), f"**{least.total_s / taken_s:.0%}**"))
    return Table(lines)


def _pictures(folder: Path, media: BenchMedia, peaks: Peaks, rounds: int) -> dict[str, tuple[Least, float]]:
    shard = StageShard(folder, media.archive, FILMS)
    shard.run(Stage.PROBE)
    done = [shard.run(Stage.ANALYZE, ocr=False) for _ in range(rounds)]
    return {
        f"`{film}`, no text": (
            least_for_pictures(peaks, film, len(frames(done[0], film))),
            min(item_seconds(one, film) for one in done),
        )
        for film in FILMS
    }


def _speech(folder: Path, media: BenchMedia, peaks: Peaks, rounds: int) -> tuple[Least, float]:
    name = media.recordings[0].name
    shard = StageShard(folder, media.archive, [name])
    shard.run_all((Stage.PROBE, Stage.EXTRACT))
    done = [shard.run(Stage.TRANSCRIBE) for _ in range(rounds)]
    heard = transcript(done[0], name)
    words = sum(len(segment.text.split()) for segment in heard.segments)
    least = least_for_speech(peaks, heard.speech_duration_s, words, done[0].request.batch_size)
    return least, min(item_seconds(one, name) for one in done)


def _peaks_line(peaks: Peaks) -> str:
    products = ", ".join(f"{gflops:.0f} in {kind}" for kind, gflops in peaks.gflops.items())
    decoded = ", ".join(f"`{film}` in {number(seconds)} s" for film, seconds in peaks.decode_s.items())
    return (
        f"Peaks: {products} GFLOP/s in products of large matrices; {peaks.copy_gb_s:.0f} GB/s read and written by "
        f"copies; decoded, but for frames that no other refers to: {decoded}."
    )
