"""Files served from the mounts: opened below their folder or not at all, and given out from what was opened."""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from operators.views.assets import Place

# Whoever opens one by its address gets a page of its own that can run nothing and reach nothing.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FOR_GOOD = "private, max-age=86400, immutable"
"""Of a file that is named by its fingerprint."""

CHECKED_EACH_TIME = "private, no-cache"


@dataclass(frozen=True)
class OpenFile:
    """A regular file that is open for reading. Whoever has it closes it."""

    descriptor: int
    status: os.stat_result


class OpenFileResponse(FileResponse):
    """Gives an open file out, in ranges where they are asked for, and closes it.

    By its name it could be another file by then.
    """

    def __init__(self, file: OpenFile, media_type: str, cache: str, filename: str | None = None) -> None:
        self._descriptor = file.descriptor
        headers = {**HEADERS, "Cache-Control": cache}
        path = f"/proc/self/fd/{file.descriptor}"
        super().__init__(path, headers=headers, media_type=media_type, filename=filename, stat_result=file.status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


def open_below(folder: Path, path: str) -> OpenFile | None:
    """The regular file at `path` below `folder`; none where there is none, or links lead out of the folder."""
    try:
        # Not blocking, lest a pipe that took the file's place holds us up.
        descriptor = os.open(folder / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    status = os.fstat(descriptor)
    # What was opened is asked, not the path: that may have changed since.
    opened = Path(f"/proc/self/fd/{descriptor}").readlink()
    if stat.S_ISREG(status.st_mode) and opened.is_relative_to(folder.resolve()):
        return OpenFile(descriptor, status)
    os.close(descriptor)
    return None


def open_media(roots: Mapping[str, Path], places: Iterable[Place]) -> OpenFile | None:
    """An asset's file at the first of its places where it still is as it was hashed; none where there is none."""
    for place in places:
        folder = roots.get(place.root)
        file = open_below(folder, place.path) if folder else None
        if file and (file.status.st_size, file.status.st_mtime_ns) == (place.size_bytes, place.mtime_ns):
            return file
        if file:
            os.close(file.descriptor)
    return None


def has_media(roots: Mapping[str, Path], places: Iterable[Place]) -> bool:
    """Whether `open_media` finds a file."""
    file = open_media(roots, places)
    if file:
        os.close(file.descriptor)
    return file is not None
