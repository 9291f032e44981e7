"""Archives of any number of media files: a few clips, copied under many names, each copy with bytes of its own."""

import os
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from operators.routing import image_for
from stage_contract.vocabulary import Stage, Variant
from tests.stage_container import read_only, run_program, writable

MEDIA_IMAGE = image_for(Stage.PROBE, Variant.CPU)
OLD_S = 1_600_000_000
FILES_A_FOLDER = 100
# Length in seconds, width and height in pixels, quality: 100 to 400 KB each.
CLIPS = ((3, 640, 360, 34), (5, 640, 360, 30), (5, 854, 480, 34), (4, 1280, 720, 34), (8, 480, 270, 28))


def make_clips(folder: Path) -> list[Path]:
    """Films with sound, MP4, made by the ffmpeg of the media image.

    Raises:
        RuntimeError: ffmpeg failed; the message holds its complaint.
    """
    common = ("ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y")
    lines = []
    for number, (duration_s, width_px, height_px, quality) in enumerate(CLIPS):
        picture = f"testsrc2=duration={duration_s}:rate=25:size={width_px}x{height_px}"
        sound = f"sine=frequency={300 + 50 * number}:duration={duration_s}"
        options = ("-c:v", "libx264", "-preset", "veryfast", "-crf", str(quality), "-pix_fmt", "yuv420p", "-c:a", "aac")
        command = (*common, "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *options, f"clip_{number}.mp4")
        lines.append(shlex.join(command))
    with tempfile.TemporaryDirectory(prefix="clips-") as scratch:
        script = Path(scratch) / "clips.sh"
        script.write_text("\n".join(["cd /made", *lines]))
        ended = run_program(
            MEDIA_IMAGE,
            ["bash", "-e", "/script/clips.sh"],
            writable(folder, "/made"),
            read_only(script.parent, "/script"),
        )
    if ended.exit_code:
        raise RuntimeError(f"ffmpeg must make the clips in {MEDIA_IMAGE}: {ended.stderr}")
    return sorted(folder.glob("clip_*.mp4"))


def distinct(clip: bytes, number: int) -> bytes:
    """The MP4 with a box at its end that players skip (`free`, ISO/IEC 14496-12, 8.1.2) and that holds a number."""
    told = f"nightreel copy {number}".encode()
    return clip + (8 + len(told)).to_bytes(4, "big") + b"free" + told


def file_name(number: int) -> str:
    """A hundred files to a folder."""
    return f"{number // FILES_A_FOLDER:04}/film {number:06}.mp4"


def fill(folder: Path, files: int, clips: Sequence[bytes]) -> int:
    """Write that many files, each a distinct copy of one of the clips, as if long ago. Returns their bytes."""
    written = 0
    for number in range(files):
        path = folder / file_name(number)
        if number % FILES_A_FOLDER == 0:
            path.parent.mkdir(parents=True)
        written += path.write_bytes(distinct(clips[number % len(clips)], number))
        os.utime(path, (OLD_S + number, OLD_S + number))
    return written


def unprobed(files: Sequence[Path]) -> list[str]:
    """What ffprobe of the media image does not take as a film with one picture and one sound track."""
    told = []
    for file in files:
        command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", f"/in/{file.name}"]
        ended = run_program(MEDIA_IMAGE, command, read_only(file.parent, "/in"))
        if ended.exit_code or sorted(ended.stdout.split()) != ["audio", "video"] or ended.stderr:
            told.append(f"{file.name}: {ended.stdout} {ended.stderr}")
    return told
