"""How a media file is opened, so that neither its name nor what it asks for can lead ffmpeg elsewhere."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from stage_contract.errors import ItemRejected
from stage_contract.vocabulary import Reason
from stage_contract.workspace import ItemWorkspace

HEAD_BYTES = 65_536

DEMUXERS = (
    "mov", "matroska", "mpegts", "mpeg", "mxf", "avi", "asf", "flv", "ogg", "rm", "gxf", "lxf", "dv", "nut", "ivf",
    "wtv", "dhav", "mp3", "aac", "ac3", "eac3", "dts", "truehd", "flac", "wav", "w64", "aiff", "au", "caf", "amr",
    "ape", "wv", "tta", "dsf", "voc",
)  # fmt: skip
"""Formats that hold pictures or sound with a clock. None of them opens another file or address."""

INPUT_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(DEMUXERS),
    # Transport streams from tape may begin a second sound track late: look 20 s or 20 MB far for tracks.
    "probesize": "20000000",
    "analyzeduration": "20000000",
}
"""Given to every ffprobe and ffmpeg, so that both number a file's streams alike."""


@dataclass(frozen=True)
class MediaFile:
    """An open file. `url` is what ffmpeg opens: no part of it comes from the file's own name."""

    descriptor: int

    @property
    def url(self) -> str:
        """The file as the child process that inherits the descriptor sees it."""
        return f"file:/proc/self/fd/{self.descriptor}"

    def head(self) -> bytes:
        """The first 64 KiB."""
        return os.pread(self.descriptor, HEAD_BYTES, 0)

    def check_readable(self) -> None:
        """Read all of it.

        Raises:
            OSError: the storage fails; then what a tool made of the file says nothing about the file.
        """
        offset = 0
        while chunk := os.pread(self.descriptor, 1 << 20, offset):
            offset += len(chunk)


@contextlib.contextmanager
def open_media(workspace: ItemWorkspace) -> Iterator[MediaFile]:
    """Open the item's source for reading.

    Raises:
        ItemRejected: it is not what the catalog saw, or may not be read.
    """
    path = workspace.source()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError as error:
        raise ItemRejected(
            Reason.UNREADABLE,
            f"the stage's user must be allowed to read the file: {workspace.item.source!r} is refused; "
            "give everyone read permission on it",
        ) from error
    except FileNotFoundError as error:
        raise ItemRejected(
            Reason.VANISHED, f"the file must stay until it is processed: {workspace.item.source!r} is gone"
        ) from error
    try:
        yield MediaFile(descriptor)
    finally:
        os.close(descriptor)
