"""Files by their content: SHA-256, remembered while a file stays as it is, and hard links."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from console.terminal import BUILD, ConsoleError

REMEMBERED = BUILD / "content-hashes.json"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Accept a fetched file, or put it aside under a name that nothing reads.

    Raises:
        ConsoleError: its content is not the pinned one; it is kept as `<name>.rejected`.
    """
    found = sha256_of(path)
    if found == expected:
        return
    rejected = path.with_name(f"{path.name}.rejected")
    path.replace(rejected)
    raise ConsoleError(
        f"{what} must have SHA-256 {expected}, has {found}; it is not used and kept as {rejected}. "
        "Run again to fetch it anew; if it differs again, its source has changed: check it and change the pin"
    )


class ContentHashes:
    """SHA-256 of files, taken again only when inode, size or modification time differ.

    What was learnt is kept in `remembered` by `save()`.
    """

    def __init__(self, remembered: Path = REMEMBERED) -> None:
        self._remembered = remembered
        self._known: dict[str, str] = {}
        if remembered.exists():
            self._known = json.loads(remembered.read_text())

    def sha256(self, path: Path) -> str:
        """The SHA-256 of a file's bytes, 64 hex digits."""
        stat = path.stat()
        key = f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"
        if key not in self._known:
            self._known[key] = sha256_of(path)
        return self._known[key]

    def save(self) -> None:
        """Keep what was learnt for the next run."""
        self._remembered.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._remembered, json.dumps(self._known))


def link_file(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, by a hard link where the file system allows, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name and rename, so that a reader sees all of the file or none."""
    # Two processes may write the same file: images are built while the next one's parts are fetched.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.write_text(text)
    temporary.replace(path)
