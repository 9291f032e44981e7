"""Media files on disk: finding them below a root, and telling one from another by content."""

import errno
import fnmatch
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from operators.clean_text import MAX_PATH_BYTES, storable_path
from operators.errors import ChoiceInvalid
from stage_contract.errors import ItemRejected
from stage_contract.vocabulary import Reason

BLOCK_BYTES = 8 * 1024 * 1024
RECENT_NS = 2_000_000_000
FAR_AHEAD_NS = 3_600_000_000_000
TEMPORARY_SUFFIXES = (
    "~", ".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".swp", ".lock",
)  # fmt: skip
SYSTEM_FOLDERS = {"lost+found", "@eadir", "#recycle", "$recycle.bin", "system volume information", "__macosx"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Location:
    """A file's name: `root` is the name of a folder of media, `path` is relative to it, with `/`."""

    root: str
    path: str

    @property
    def shown(self) -> str:
        """The path as Postgres takes it and a person can read it."""
        return storable_path(self.path)


@dataclass(frozen=True)
class FileState:
    """What tells without reading whether a file is still the one that was hashed."""

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> "FileState":
        """What the file system said of a file."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)

    def hash_holds(self, hashed: "FileState", hashed_at: datetime) -> bool:
        """Whether a hash taken of `hashed` then is still this file's.

        A file written within two seconds of being hashed may have changed without a new time stamp. The same goes for
        a time a little ahead, where a server's clock is fast; one that is more than an hour ahead was set on purpose.
        """
        age_ns = int(hashed_at.timestamp()) * 1_000_000_000 - self.mtime_ns
        return self == hashed and (age_ns > RECENT_NS or age_ns < -FAR_AHEAD_NS)


Progress = Callable[[Location, int, int], None]
"""Called after each block with the location, the bytes hashed and the file's size."""


def find_media(roots: Mapping[str, Path], root: str, path: str = "", pattern: str = "*") -> list[Location]:
    """All files at and below `path` of a root, sorted, whose path below `path` matches `pattern`.

    `path` may name one file. The pattern is a shell's (`*.mp4`, `2024/*`), where `*` matches `/` too
    and case does not count. Left out: names that begin with a dot or `~$`, names that say temporary
    (`.part`, `.tmp`, `~`, …), and folders that systems make (`lost+found`, `@eaDir`, …). Links to
    folders are not followed; links to files are listed, and `register` judges where they lead.

    Raises:
        ChoiceInvalid: there is no such root, or the path leads out of it or to nothing.
    """
    folder = _folder_of(roots, root)
    start = _start_of(folder, root, path)
    if start.is_file():
        return [Location(root, start.relative_to(folder).as_posix())]
    found = []
    for parent, folders, files in os.walk(start, onerror=_warn):
        folders[:] = [name for name in folders if not is_passed_over(name)]
        for name in files:
            below = (Path(parent) / name).relative_to(start).as_posix()
            if not is_passed_over(name) and fnmatch.fnmatchcase(below.lower(), pattern.lower()):
                found.append(Location(root, (start.relative_to(folder) / below).as_posix()))
    return sorted(found)


def locate(roots: Mapping[str, Path], location: Location) -> Path:
    """The file at `location`, links resolved.

    Raises:
        ItemRejected: it is gone, leads out of its root, is no regular file, or has an unusable name.
        ChoiceInvalid: there is no such root.
    """
    folder = _folder_of(roots, location.root)
    _check_name(location.path)
    shown = location.shown
    try:
        resolved = (folder / location.path).resolve(strict=True)
        mode = resolved.stat().st_mode
    except FileNotFoundError as error:
        raise ItemRejected(Reason.VANISHED, f"the file must be there: {shown!r} is not") from error
    except (OSError, RuntimeError) as error:
        raise _unreadable(shown, error) from error
    if not resolved.is_relative_to(folder.resolve()):
        raise ItemRejected(
            Reason.OUTSIDE_ARCHIVE, f"a file must lie inside its root: {shown!r} leads out of {location.root!r}"
        )
    if not stat.S_ISREG(mode):
        raise ItemRejected(Reason.NOT_A_FILE, f"media must be a regular file: {shown!r} is {_kind(mode)}")
    return resolved


def file_state(path: Path, location: Location) -> FileState:
    """What the file system says of `path`.

    Raises:
        ItemRejected: it is gone.
    """
    try:
        return FileState.of(path.stat())
    except OSError as error:
        raise ItemRejected(Reason.VANISHED, f"the file must be there: {location.shown!r} is gone") from error


def hash_file(path: Path, location: Location, progress: Progress | None = None) -> tuple[str, FileState]:
    """SHA-256 of a file that nobody writes to meanwhile, and its state.

    Raises:
        ItemRejected: it cannot be read, or changed while it was read.
    """
    digest, done_bytes = hashlib.sha256(), 0
    try:
        # Not blocking, lest a pipe that took the file's place holds us up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb", buffering=0) as file:
            before = FileState.of(os.fstat(file.fileno()))
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                done_bytes += len(block)
                if progress:
                    progress(location, done_bytes, before.size_bytes)
            after = FileState.of(os.fstat(file.fileno()))
        by_name = FileState.of(path.stat())
    except FileNotFoundError as error:
        raise ItemRejected(Reason.VANISHED, f"the file must be there: {location.shown!r} is gone") from error
    except OSError as error:
        raise _unreadable(location.shown, error) from error
    if not before == after == by_name or done_bytes != before.size_bytes:
        raise ItemRejected(
            Reason.CHANGED,
            f"a file must be complete before it is registered: {location.shown!r} changed while it was read "
            f"({before.size_bytes} bytes before, {by_name.size_bytes} after); ask again when it is written",
        )
    return digest.hexdigest(), before


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is no media: hidden, temporary, or made by a system."""
    lower = name.lower()
    return lower.startswith((".", "~$")) or lower.endswith(TEMPORARY_SUFFIXES) or lower in SYSTEM_FOLDERS


def _folder_of(roots: Mapping[str, Path], root: str) -> Path:
    if root not in roots:
        raise ChoiceInvalid(f"a root must be one of {', '.join(sorted(roots))}: {root!r} is not")
    return roots[root]


def _start_of(folder: Path, root: str, path: str) -> Path:
    start = folder / path
    try:
        inside = start.resolve(strict=True).is_relative_to(folder.resolve()) and start.is_relative_to(folder)
        usable = start.is_file() or start.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise ChoiceInvalid(
            f"a path must name a file or a folder of the root: {root!r} has no {path!r} ({error})"
        ) from error
    if not inside or ".." in start.parts:
        raise ChoiceInvalid(f"a path must stay inside its root: {path!r} leads out of {root!r}")
    if not usable:
        raise ChoiceInvalid(f"a path must name a file or a folder: {path!r} in {root!r} is neither")
    return start


def _check_name(path: str) -> None:
    if not path or Path(path).is_absolute():
        raise ItemRejected(Reason.OUTSIDE_ARCHIVE, f"a path must be relative to its root: {storable_path(path)!r}")
    try:
        length = len(path.encode())
    except UnicodeEncodeError as error:
        raise ItemRejected(
            Reason.UNREADABLE, f"a name must be valid UTF-8: {storable_path(path)!r} is not; rename the file"
        ) from error
    if "\0" in path:
        raise ItemRejected(Reason.UNREADABLE, f"a name must not hold a NUL character: {storable_path(path)!r} does")
    if length > MAX_PATH_BYTES:
        raise ItemRejected(
            Reason.UNREADABLE, f"a path must have at most {MAX_PATH_BYTES} bytes: {storable_path(path)!r} has {length}"
        )


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _unreadable(shown: str, error: OSError | RuntimeError) -> ItemRejected:
    if isinstance(error, PermissionError):
        why = "this account may not read it; grant it read access"
    elif isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
        why = "its links lead in a circle"
    else:
        why = error.strerror or str(error)
    return ItemRejected(Reason.UNREADABLE, f"a file must be readable: {shown!r} is not: {why}")


def _warn(error: OSError) -> None:
    log.warning("a folder is left out, as it cannot be read: %s", error)
