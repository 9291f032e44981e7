"""Makes the clips of the vision tests: `python make_clips.py OUTDIR`, inside the image that vision is compared with.

The photographs are those that come with ultralytics: a street with four people and a bus, and two men
beside a football pitch. Beside each clip goes `<clip>.probe.json`, what media.probe says of it.
"""

import hashlib
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import ultralytics
from PIL import Image, ImageDraw, ImageFont

from stage_contract.outputs import AudioStream, ProbeOutput, VideoStream

ASSETS = Path(ultralytics.__file__).parent / "assets"
RATE_HZ = 25
TIME_BASE = Fraction(1, 1000)
WIDTH_PX, HEIGHT_PX = 640, 480
WORDS = "NIGHTREEL 2026"
MP4, MKV = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"
H264 = {"preset": "veryfast", "crf": "20"}
MOVING = {
    "moving.mp4": (MP4, "libx264", "yuv420p", {**H264, "bf": "3"}),
    "moving on.mp4": (MP4, "libx264", "yuv420p", {**H264, "bf": "3", "sc_threshold": "0"}),
    "moving open.mkv": (MKV, "libx264", "yuv420p", {**H264, "bf": "3", "g": "12", "x264-params": "open-gop=1"}),
    "moving.mkv": (MKV, "mpeg2video", "yuv420p", {"g": "12", "bf": "2", "b": "6M"}),
    "moving.avi": ("avi", "mjpeg", "yuvj420p", {"qmin": "3", "qmax": "5"}),
    "moving.mov": (MP4, "prores_ks", "yuv422p10le", {"profile": "0"}),
}
"""Long groups with frames that none refers to, one of them on over all cuts; short groups; key frames only."""

Frames = Iterator[tuple[float, np.ndarray]]


def photograph(name: str) -> np.ndarray:
    """A photograph on a grey ground of the clips' size."""
    picture = Image.open(ASSETS / name).convert("RGB")
    picture.thumbnail((WIDTH_PX, HEIGHT_PX))
    ground = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), (128, 128, 128))
    ground.paste(picture, ((WIDTH_PX - picture.width) // 2, (HEIGHT_PX - picture.height) // 2))
    return np.asarray(ground)


def page(words: str = WORDS) -> np.ndarray:
    """A white page with a line of text."""
    ground = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), "white")
    ImageDraw.Draw(ground).text((90, 200), words, fill="black", font=ImageFont.load_default(60))
    return np.asarray(ground)


def still(picture: np.ndarray, start_s: float, end_s: float, rate_hz: float = RATE_HZ) -> Frames:
    """A picture that sways a little, as a hand-held camera does."""
    for number in range(round((end_s - start_s) * rate_hz)):
        yield start_s + number / rate_hz, np.roll(picture, round(3 * np.sin(number / 5)), axis=1)


def scenes() -> Frames:
    """Three shots of two seconds."""
    yield from still(photograph("bus.jpg"), 0, 2)
    yield from still(photograph("zidane.jpg"), 2, 4)
    yield from still(page(), 4, 6)


def slides() -> Frames:
    """Pictures that stand for unequal times, the second one for four seconds."""
    yield from still(photograph("bus.jpg"), 0, 1)
    yield 1.0, photograph("zidane.jpg")
    yield from still(page(), 5, 6)


def plain() -> Frames:
    """One colour, in 10 bits a sample."""
    yield from still(np.full((HEIGHT_PX, WIDTH_PX, 3), (200, 100, 50), dtype=np.uint8), 0, 1)


def standing() -> Frames:
    """A page that stands for four seconds, then has another line for two."""
    for number in range(6 * RATE_HZ):
        yield number / RATE_HZ, page() if number < 4 * RATE_HZ else page("NIGHTREEL 2027")


def moving() -> Frames:
    """Five shots over photographs, one of them as short as a shot can be; and a flash of two frames in the first."""
    for shot, (start_s, end_s) in enumerate(pairwise((0.0, 1.8, 3.48, 4.12, 5.64, 8.0))):
        name = "zidane.jpg" if shot % 2 else "bus.jpg"
        picture = photograph(name) if shot % 2 else photograph(name)[:, ::-1]
        for number in range(round((end_s - start_s) * RATE_HZ)):
            time_s = start_s + number / RATE_HZ
            flashes = 1.0 <= time_s < 1.0 + 2 / RATE_HZ - 1e-6
            yield time_s, np.full_like(picture, 250) if flashes else np.roll(picture, number, axis=1)


def noise() -> Frames:
    """What does not compress, so that damage in the middle hits frames."""
    numbers = np.random.default_rng(1)
    for time_s, picture in still(photograph("bus.jpg"), 0, 4):
        grain = numbers.integers(-40, 40, picture.shape)
        yield time_s, np.clip(picture + grain, 0, 255).astype(np.uint8)


def write_video(
    path: Path,
    frames: Frames,
    pixel_format: str = "yuv420p",
    rotation_deg: int = 0,
    codec: str = "libx264",
    options: dict[str, str] = H264,
) -> None:
    """Encode a clip. `rotation_deg`: the picture is stored turned, with a note to turn it clockwise to show it."""
    turned = rotation_deg // 90
    width_px, height_px = (HEIGHT_PX, WIDTH_PX) if turned % 2 else (WIDTH_PX, HEIGHT_PX)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ, options=options)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, pixel_format
        stream.codec_context.time_base = TIME_BASE if codec == "libx264" else Fraction(1, RATE_HZ)
        if rotation_deg:
            stream.set_display_rotation(-rotation_deg)
        for time_s, picture in frames:
            stored = np.ascontiguousarray(np.rot90(picture, turned))
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            time_base = stream.codec_context.time_base
            frame.pts, frame.time_base = round(time_s / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_sound(path: Path) -> None:
    """A second of a tone, without a picture."""
    samples = (np.sin(np.arange(16_000) * 0.1) * 8_000).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_probe(path: Path, container: str, video: tuple[VideoStream, ...], duration_s: float) -> None:
    """What media.probe says of a clip."""
    content = path.read_bytes()
    probe = ProbeOutput(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        container=container,
        duration_s=duration_s,
        video=video,
        audio=() if video else (AudioStream(index=0, codec="flac", sample_rate_hz=16_000, channels=1),),
    )
    path.with_name(path.name + ".probe.json").write_text(probe.model_dump_json())


def picture_stream(rotation_deg: int = 0, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> VideoStream:
    """The description of the only stream of a clip."""
    return VideoStream(
        index=0, codec="h264", width_px=width_px, height_px=height_px, rotation_deg=rotation_deg, frame_rate_hz=RATE_HZ
    )


def make_clips(folder: Path) -> None:
    """Write every clip."""
    write_video(folder / "scenes.mp4", scenes())
    write_probe(folder / "scenes.mp4", MP4, (picture_stream(),), 6.0)
    write_video(folder / "rotated.mp4", still(photograph("bus.jpg"), 0, 1), rotation_deg=90)
    write_probe(folder / "rotated.mp4", MP4, (picture_stream(rotation_deg=90),), 1.0)
    write_video(folder / "slides.mkv", slides())
    write_probe(folder / "slides.mkv", MKV, (picture_stream(),), 6.0)
    write_video(folder / "-ten bit,'ü'.mkv", plain(), pixel_format="yuv420p10le")
    write_probe(folder / "-ten bit,'ü'.mkv", MKV, (picture_stream(),), 1.0)
    write_video(folder / "standing.mp4", standing(), options={"preset": "veryfast", "qp": "0"})
    write_probe(folder / "standing.mp4", MP4, (picture_stream(),), 6.0)
    for name, (container, codec, pixel_format, options) in MOVING.items():
        write_video(folder / name, moving(), pixel_format, codec=codec, options=options)
        write_probe(folder / name, container, (picture_stream(),), 8.0)
    write_sound(folder / "sound.flac")
    write_probe(folder / "sound.flac", "flac", (), 1.0)
    write_video(folder / "damaged.mkv", noise())
    content = bytearray((folder / "damaged.mkv").read_bytes())
    third = len(content) // 3
    content[third : third + 20_000] = bytes(20_000)
    (folder / "damaged.mkv").write_bytes(content)
    write_probe(folder / "damaged.mkv", MKV, (picture_stream(),), 4.0)
    (folder / "hollow.mkv").write_bytes((folder / "scenes.mp4").read_bytes()[:200])
    write_probe(folder / "hollow.mkv", MKV, (picture_stream(),), 4.0)
    enlarged = cv2.resize(photograph("bus.jpg"), (3840, 2880))
    Image.fromarray(enlarged).save(folder / "large.png")
    write_probe(folder / "large.png", "png_pipe", (picture_stream(width_px=3840, height_px=2880),), 0.04)


if __name__ == "__main__":
    make_clips(Path(sys.argv[1]))
