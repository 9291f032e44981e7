"""One process at a time where two would tread on each other's files."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.terminal import BUILD, progress

BUILD_LOCK = BUILD / "in-use.lock"


@contextmanager
def exclusive(what: str, lock: Path = BUILD_LOCK) -> Iterator[None]:
    """Hold `lock` while the block runs, after waiting for whoever holds it. The system frees a dead holder's."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress(f"another console is at work in {lock.parent}; {what} waits for it", lambda: ""):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
