"""Many small, real, distinct clips, cut from the demo's films."""

import hashlib
import os
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from console.demo_media import MEDIA_IMAGE, make_demo_media
from operators.errors import NightreelError
from operators.shard import ShardItem
from tests.stage_container import Ended, read_only, run_program, writable

SHORTEST_S, LONGEST_S = 1.5, 2.5
LENGTHS = 11
"""Clips come in so many lengths, from the shortest to the longest."""

WIDTH_PX, HEIGHT_PX = 320, 240
CUT_AT_ONCE = 10
# A scan leaves alone what was written a moment ago.
WRITTEN_AGO_S = 24 * 3600

FITTED = f"scale={WIDTH_PX}:{HEIGHT_PX}:force_original_aspect_ratio=decrease,pad={WIDTH_PX}:{HEIGHT_PX}:-1:-1"
ENCODED = ("-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-c:a", "aac", "-b:a", "64k")
QUIET = ("-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-fflags", "+bitexact")


class ClipsFailed(NightreelError):
    """The clips could not be cut."""


@dataclass(frozen=True)
class Cut:
    """Where a clip lies in a film: [start_s, start_s + duration_s). `film` counts from 0."""

    film: int
    start_s: float
    duration_s: float


@dataclass(frozen=True)
class Clips:
    """The clips of a folder of the archive. `media_s` is their length together."""

    items: tuple[ShardItem, ...]
    media_s: float


def plan_cuts(lengths_s: Sequence[float], count: int) -> list[Cut]:
    """So many clips, from the films in turn, spread evenly over each.

    Args:
        lengths_s: Of the films, each longer than the longest clip.
        count: How many clips.
    """
    steps = -(-count // len(lengths_s))
    cuts = []
    for number in range(count):
        step, film = divmod(number, len(lengths_s))
        start_s = (lengths_s[film] - LONGEST_S) * step / steps
        duration_s = SHORTEST_S + (LONGEST_S - SHORTEST_S) * (number % LENGTHS) / (LENGTHS - 1)
        cuts.append(Cut(film, round(start_s, 3), round(duration_s, 3)))
    return cuts


def make_clips(archive: Path, folder: str, count: int, scratch: Path) -> Clips:
    """Put `count` clips into a new folder of the archive.

    Raises:
        ClipsFailed: ffmpeg did not cut them.
        console.terminal.ConsoleError: the demo's films are not to be had.
    """
    films = [file.path for file in make_demo_media(scratch) if "uploads" not in file.path.parts]
    target = archive / folder
    target.mkdir(parents=True)
    cuts = plan_cuts([_length_s(film) for film in films], count)
    for first in range(0, count, CUT_AT_ONCE):
        _cut(films, cuts[first : first + CUT_AT_ONCE], first, target)
    written_s = time.time() - WRITTEN_AGO_S
    items = []
    for number in range(count):
        clip = target / _name(number)
        # Two places of a still picture with silence would give the same file.
        with clip.open("ab") as file:
            file.write(free_box(f"clip {number}".encode()))
        os.utime(clip, (written_s, written_s))
        clip.chmod(0o644)
        items.append(_item(archive, clip))
    return Clips(tuple(items), sum(cut.duration_s for cut in cuts))


def free_box(content: bytes) -> bytes:
    """A box of an MP4 file that players pass over: its length, big-endian, its kind, its content."""
    return struct.pack(">I4s", 8 + len(content), b"free") + content


def _name(number: int) -> str:
    return f"{number:04}.mp4"


def _item(archive: Path, clip: Path) -> ShardItem:
    content, status = clip.read_bytes(), clip.stat()
    return ShardItem(
        asset_id=hashlib.sha256(content).hexdigest(),
        root="archive",
        path=str(clip.relative_to(archive)),
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def _length_s(film: Path) -> float:
    asked = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", f"/films/{film.name}"]
    return float(_checked(run_program(MEDIA_IMAGE, asked, read_only(film.parent, "/films"))).stdout)


def _cut(films: Sequence[Path], cuts: Sequence[Cut], first: int, target: Path) -> None:
    inputs, outputs = [], []
    for number, cut in enumerate(cuts):
        place = ("-ss", str(cut.start_s), "-t", str(cut.duration_s))
        inputs += ["-threads", "1", *place, "-i", f"/films/{cut.film}/{films[cut.film].name}"]
        tracks = ("-map", f"{number}:v:0", "-map", f"{number}:a:0", "-map_metadata", "-1")
        outputs += [*tracks, "-vf", FITTED, *ENCODED, f"/clips/{_name(first + number)}"]
    volumes = [read_only(film.parent, f"/films/{number}") for number, film in enumerate(films)]
    _checked(run_program(MEDIA_IMAGE, ["ffmpeg", *QUIET, *inputs, *outputs], *volumes, writable(target, "/clips")))


def _checked(ended: Ended) -> Ended:
    if ended.exit_code:
        raise ClipsFailed(f"ffmpeg must end with exit 0: it ended with {ended.exit_code}: {ended.stderr.strip()}")
    return ended
