"""Makes the corpus: `python -m tests.corpus.make_corpus OUTDIR`.

ffmpeg runs in the media image, so the machine needs Docker and that image, and no ffmpeg of its own.
"""

import argparse
import os
import random
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from operators.routing import image_for
from stage_contract.vocabulary import Stage, Variant
from tests.corpus.cases import CORPUS, MARKER, MARKER_PATH
from tests.corpus.recipes import NAMED_CLIPS, RECIPES
from tests.stage_container import run_program, writable

MEDIA_IMAGE = image_for(Stage.PROBE, Variant.CPU)
TS_PACKET_BYTES = 188
WORDS = "1\n00:00:00,500 --> 00:00:02,000\nThe reels of the night.\n"
SENTENCE = "This is no film. It only bears the name of one, as a renamed note does.\n"
PLAYLISTS = {
    "playlists/local.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nmarker.txt\n#EXTINF:9,\n"
    "file:///etc/passwd\n#EXT-X-ENDLIST\n",
    "playlists/network.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n"
    "http://203.0.113.7/secret.ts\n#EXT-X-ENDLIST\n",
    "playlists/concat.mp4": "ffconcat version 1.0\nfile marker.txt\nfile /etc/passwd\n",
    "playlists/session.sdp": "v=0\no=- 0 0 IN IP4 203.0.113.7\ns=none\nc=IN IP4 203.0.113.7\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "playlists/dash.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
    'bandwidth="1"><BaseURL>marker.txt</BaseURL></Representation></AdaptationSet></Period></MPD>\n',
}


def make_corpus(folder: Path, image: str = MEDIA_IMAGE) -> None:
    """Write all of `CORPUS` into `folder`, which is made, and must be empty when it exists.

    Raises:
        FileExistsError: the folder holds something.
        RuntimeError: ffmpeg failed; the message holds its complaint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"the corpus needs an empty folder: {folder} holds files; name another one")
    for name in ("good", "bad", "playlists", "names", "links"):
        (folder / name).mkdir()
    with tempfile.TemporaryDirectory(prefix="corpus-") as scratch:
        made = Path(scratch)
        (made / "words.srt").write_text(WORDS)
        _run_recipes(made, image)
        _place_good(folder, made)
        _place_bad(folder, made)
    _write_playlists(folder)
    _make_links(folder)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o644)


def _run_recipes(made: Path, image: str) -> None:
    common = ("ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y")
    script = "".join(shlex.join((*common, *recipe.inputs, *recipe.options, recipe.output)) + "\n" for recipe in RECIPES)
    (made / "recipes.sh").write_text(f"cd /made\n{script}")
    ended = run_program(image, ["bash", "-e", "/made/recipes.sh"], writable(made, "/made"))
    if ended.exit_code:
        raise RuntimeError(f"ffmpeg must make the corpus in {image}: {ended.stderr}")


def _place_good(folder: Path, made: Path) -> None:
    good = [Path(case.path).name for case in CORPUS if case.path.startswith("good/")]
    for name in good:
        shutil.copyfile(made / name, folder / "good" / name)
    hostile = [case.path for case in CORPUS if case.path.startswith(("names/", "-"))]
    for clip, path in zip(NAMED_CLIPS, hostile, strict=True):
        shutil.copyfile(made / clip, folder / path)


def _place_bad(folder: Path, made: Path) -> None:
    bad = folder / "bad"
    for name in ("photo.jpg", "zero_duration.mp4", "too_long.mp4", "encrypted.mp4"):
        shutil.copyfile(made / name, bad / name)
    shutil.copyfile(made / "still.png", bad / "still.mp4")
    (bad / "empty.mp4").touch()
    (bad / "text.mp4").write_text(SENTENCE * 40)
    (bad / "random.mp4").write_bytes(random.Random(7).randbytes(300_000))
    half, no_index = (made / "half.mkv").read_bytes(), (made / "no_index.mp4").read_bytes()
    (bad / "half.mkv").write_bytes(half[: len(half) // 2])
    (bad / "no_index.mp4").write_bytes(no_index[: no_index.rindex(b"moov") - 4])
    header_only = (made / "header_only.mp4").read_bytes()
    (bad / "header_only.mp4").write_bytes(header_only[: header_only.index(b"mdat") + 4])
    (bad / "garbled_sound.mkv").write_bytes(_without_flac_frames((made / "garbled_sound.mkv").read_bytes()))
    (bad / "scrambled.ts").write_bytes(_scrambled((made / "tape.ts").read_bytes()))


def _without_flac_frames(matroska: bytes) -> bytes:
    """Every FLAC frame's sync code (`fff8` or `fff9`) zeroed, the rest left as it is."""
    return matroska.replace(b"\xff\xf8", b"\0\0").replace(b"\xff\xf9", b"\0\0")


def _scrambled(stream: bytes) -> bytes:
    """Every packet with a payload marked as scrambled with the even key, its payload turned over."""
    packets = [bytearray(stream[i : i + TS_PACKET_BYTES]) for i in range(0, len(stream), TS_PACKET_BYTES)]
    for packet in packets:
        packet_id = (packet[1] & 0x1F) << 8 | packet[2]
        if packet_id >= 0x100 and packet[3] & 0x10:  # the tables before 0x100 are never scrambled
            packet[3] |= 0x80
            start = 5 + packet[4] if packet[3] & 0x20 else 4
            packet[start:] = bytes(byte ^ 0xA5 for byte in packet[start:])
    return b"".join(packets)


def _write_playlists(folder: Path) -> None:
    for path, text in PLAYLISTS.items():
        (folder / path).write_text(text)
    (folder / MARKER_PATH).write_text(MARKER + "\n")


def _make_links(folder: Path) -> None:
    links = folder / "links"
    (links / "outside.mp4").symlink_to("/etc/hostname")
    (links / "dangling.mp4").symlink_to("nowhere.mp4")
    (links / "folder.mp4").mkdir()
    os.mkfifo(links / "pipe.mp4")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a folder of media files, most of them bad in one way each.")
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--image", default=MEDIA_IMAGE, help="media image whose ffmpeg makes the files")
    arguments = parser.parse_args()
    make_corpus(arguments.folder, arguments.image)
    print(f"{len(CORPUS)} cases in {arguments.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
