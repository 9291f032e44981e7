"""Make what comes next in a thread of its own while the caller works on what came before."""

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

STOP_POLL_S = 0.1

T = TypeVar("T")


@dataclass(frozen=True)
class Made(Generic[T]):
    """What was made, or why no more comes: the error, or none at the end."""

    item: T | None = None
    error: BaseException | None = None


class Ahead(Generic[T]):
    """Iterates over `items` in a thread, one item ahead. Use as a context manager: the thread ends with it.

    What `items` raises is raised where the items are taken. `items` is closed in its own thread.
    """

    def __init__(self, items: Generator[T, None, None]) -> None:
        self._items = items
        self._made: queue.Queue[Made[T]] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._make, name="ahead", daemon=True)

    def __enter__(self) -> "Ahead[T]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while (made := self._made.get()).item is not None:
            yield made.item
        if made.error:
            raise made.error

    def _make(self) -> None:
        end: Made[T] = Made()
        try:
            for item in self._items:
                if not self._put(Made(item)):
                    break
        except BaseException as error:  # raised again where the items are taken
            end = Made(error=error)
        finally:
            self._items.close()
            self._put(end)

    def _put(self, made: Made[T]) -> bool:
        while not self._stopped.is_set():
            try:
                self._made.put(made, timeout=STOP_POLL_S)
            except queue.Full:
                continue
            return True
        return False
