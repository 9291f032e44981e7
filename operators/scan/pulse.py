"""What a scan does every few seconds, wherever it is: it minds its deadline and pauses, and says how far it is."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from operators.scan.report import Tally

SAVE_EVERY_S = 3.0
ASK_PAUSE_EVERY_S = 3.0
LOG_EVERY_S = 10.0
MIB = 1 << 20

log = logging.getLogger(__name__)


class DeadlinePassed(Exception):
    """The scan's time is over."""


class Pulse:
    """`beat` is called between files and between the blocks of a file. `save` keeps the counts and what is hashed.

    While `is_paused` says so, a beat lasts: nothing is read meanwhile.
    """

    def __init__(self, deadline_at: datetime | None, is_paused: Callable[[], bool]) -> None:
        self.tally = Tally()
        self.save: Callable[[], None] = lambda: None
        self._deadline_at, self._is_paused = deadline_at, is_paused
        self._files, self._size_bytes = 0, 0
        self._begun_s = self._saved_s = self._logged_s = time.monotonic()
        self._asked_pause_s: float | None = None
        self._read_bytes = 0

    def expect(self, files: int, size_bytes: int) -> None:
        """How much there is to hash."""
        self._files, self._size_bytes = files, size_bytes
        self._begun_s = time.monotonic()
        log.info("%s files found; %s are to be hashed, %d MiB", self.tally.files_found, files, size_bytes // MIB)

    def beat(self, read_bytes: int = 0) -> None:
        """Do what is due. `read_bytes` were read since the last beat.

        Raises:
            DeadlinePassed: the time is over.
        """
        self._read_bytes += read_bytes
        now_s = time.monotonic()
        if now_s - self._saved_s >= SAVE_EVERY_S:
            self._saved_s = now_s
            self.save()
        if now_s - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now_s
            log.info("%s", self._words(now_s))
        self._mind_deadline()
        if self._asked_pause_s is None or now_s - self._asked_pause_s >= ASK_PAUSE_EVERY_S:
            self._wait_while_paused()
            self._asked_pause_s = time.monotonic()

    def _mind_deadline(self) -> None:
        if self._deadline_at and datetime.now(UTC) >= self._deadline_at:
            raise DeadlinePassed

    def _wait_while_paused(self) -> None:
        if not self._is_paused():
            return
        log.info("backfills are paused: the scan waits, and reads nothing")
        self.save()
        paused_s = time.monotonic()
        while self._is_paused():
            time.sleep(ASK_PAUSE_EVERY_S)
            self._mind_deadline()
        log.info("backfills go on, and so does the scan")
        self._begun_s += time.monotonic() - paused_s

    def _words(self, now_s: float) -> str:
        tally, elapsed_s = self.tally, max(now_s - self._begun_s, 0.001)
        if not self._files:
            return f"{tally.files_found} files found"
        return (
            f"{tally.files_hashed} of {self._files} files hashed, {tally.files_hashed / elapsed_s:.1f}/s; "
            f"{self._read_bytes // MIB} of {self._size_bytes // MIB} MiB read, "
            f"{self._read_bytes / MIB / elapsed_s:.0f} MiB/s"
        )
