"""A walk over folders of the archive: every file's name and state, in no order, in little memory."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from operators.clean_text import MAX_PATH_BYTES, storable_path
from operators.errors import ChoiceInvalid
from operators.media_files import FileState, Location, is_passed_over
from operators.scan.rules import ScanRules

# Folders that are read while they are open, one in the other; below that, each is read at once.
MOST_OPEN = 100


@dataclass(frozen=True, order=True)
class Start:
    """Where a walk begins: a root, or a file or folder in it. `path` is empty for the root."""

    root: str
    path: str

    @property
    def name(self) -> str:
        """As a person writes it: `root/path`."""
        return f"{self.root}/{self.path}" if self.path else self.root

    @property
    def below(self) -> str:
        """What the paths in it begin with."""
        return f"{self.path}/" if self.path else ""

    def covers(self, other: "Start") -> bool:
        """Whether `other` is in it, or is the same."""
        return self.root == other.root and f"{other.path}/".startswith(self.below)


@dataclass(frozen=True)
class Seen:
    """A file that the walk came by. Without a state it is to be judged by looking at it."""

    location: Location
    state: FileState | None


@dataclass
class Walk:
    """Walks one start. What the rules, or `is_passed_over`, leave out is not seen; links to folders are not followed.

    `unreadable` are the folders that could not be read, as paths below the root: what is in them is not known.
    """

    folder: Path
    start: Start
    rules: ScanRules
    unreadable: set[str] = field(default_factory=set)

    def files(self) -> Iterator[Seen]:
        """Every file once. One that is named by the start itself is seen whatever the patterns say.

        Only one folder's part that is being read is held at a time, so that a folder of a million files, or of a
        million folders, takes no more memory than a small one.
        """
        start = self.folder / self.start.path
        if os.path.isdir(start):  # noqa: PTH112 - Path.is_dir raises for a folder that may not be looked into
            if self.rules.enters(self.start.name):
                yield from self._walk()
        elif os.path.lexists(start):
            yield from self._see(start, self.start.path)

    def _walk(self) -> Iterator[Seen]:
        open_folders = [(self.start.path, self._entries(self.start.path, 0))]
        while open_folders:
            path, entries = open_folders[-1]
            entry = next(entries, None)
            if entry is None:
                open_folders.pop()
                continue
            inner = f"{path}/{entry.name}" if path else entry.name
            name = f"{self.start.root}/{inner}"
            if is_passed_over(entry.name) or self.rules.excludes(name):
                continue
            if not _is_folder(entry):
                if self.rules.includes(name):
                    yield from self._see(entry, inner)
            elif len(os.fsencode(inner)) > MAX_PATH_BYTES:
                # Every name in it is too long as well; this one says so.
                yield Seen(Location(self.start.root, inner), None)
            else:
                open_folders.append((inner, self._entries(inner, len(open_folders))))

    def _entries(self, path: str, depth: int) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder / path) as entries:
                if depth < MOST_OPEN:
                    yield from entries
                    return
                held = list(entries)
        except FileNotFoundError:
            return
        except OSError:
            self.unreadable.add(path)
            return
        yield from held

    def _see(self, entry: os.DirEntry[str] | Path, path: str) -> Iterator[Seen]:
        location = Location(self.start.root, path)
        try:
            if entry.is_symlink():
                yield from self._see_link(entry, location)
            else:
                state = FileState.of(entry.stat()) if entry.is_file() else None
                yield Seen(location, state)
        except FileNotFoundError:
            return
        except OSError:
            yield Seen(location, None)

    def _see_link(self, link: os.DirEntry[str] | Path, location: Location) -> Iterator[Seen]:
        if link.is_dir():
            return
        is_inside = link.is_file() and Path(os.path.realpath(link)).is_relative_to(self.folder.resolve())
        yield Seen(location, FileState.of(link.stat()) if is_inside else None)


def read_starts(roots: Mapping[str, Path], folders: Sequence[str]) -> list[Start]:
    """Where to walk for `root` or `root/path` each; what lies in another of them is left out.

    Raises:
        ChoiceInvalid: nothing is named, there is no such root, or a path leads out of it.
    """
    starts = sorted({_read_start(roots, folder) for folder in folders})
    if not starts:
        raise ChoiceInvalid(f"a scan needs at least one folder: name one of {', '.join(sorted(roots))}, or one in it")
    return [start for start in starts if not any(other != start and other.covers(start) for other in starts)]


def is_empty(folder: Path) -> bool:
    """Whether a folder has no entry of any kind.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    with os.scandir(folder) as entries:
        return next(entries, None) is None


def is_gone(path: Path) -> bool:
    """Whether there is nothing of this name; what cannot be told counts as there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def below(folders: set[str], path: str) -> bool:
    """Whether a path lies in one of the folders; an empty name among them is the root."""
    if not folders:
        return False
    parts = path.split("/")
    return any(folder in folders for folder in chain([""], ("/".join(parts[:n]) for n in range(1, len(parts)))))


def _read_start(roots: Mapping[str, Path], folder: str) -> Start:
    root, _, path = folder.partition("/")
    if root not in roots:
        raise ChoiceInvalid(f"a folder must begin with a root, one of {', '.join(sorted(roots))}: {folder!r} does not")
    start = Start(root, "/".join(part for part in path.split("/") if part not in ("", ".")))
    if start.path and (storable_path(start.path) != start.path or ".." in start.path.split("/")):
        raise ChoiceInvalid(f"a path must be a name that can be stored, without '..': {folder!r} is not")
    top = Path(os.path.realpath(roots[root]))
    place = top / start.path
    own = place if os.path.isdir(place) else place.parent  # noqa: PTH112 - as above
    if start.path and Path(os.path.realpath(own)) != own:
        raise ChoiceInvalid(f"a path must not pass through a link: {folder!r} does; name what the link leads to")
    return start


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
