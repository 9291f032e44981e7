"""Hashing what is new or changed, and writing it to the catalog every few files or seconds."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from operators.catalog import RejectedLocation, Sighting, look_at
from operators.clean_text import printable
from operators.media_files import Location
from operators.scan.pulse import Pulse
from operators.scan.report import Tally
from operators.scan.rules import ScanRules
from operators.scan.store import Change, ScanStore
from operators.scan.walk import is_gone
from stage_contract.vocabulary import Reason

WRITE_EVERY_FILES = 200

log = logging.getLogger(__name__)


class Hashing:
    """Takes the files that the comparison found. What was hashed is in the catalog at the next save, or earlier."""

    def __init__(
        self, store: ScanStore, roots: Mapping[str, Path], rules: ScanRules, tally: Tally, pulse: Pulse
    ) -> None:
        self._store, self._roots, self._rules, self._tally, self._pulse = store, roots, rules, tally, pulse
        self._unwritten: list[tuple[Change, Sighting]] = []
        self._read_bytes = 0

    def run(self) -> None:
        """Hash all of it.

        Raises:
            DeadlinePassed: the time is over; what was hashed is written.
        """
        try:
            for change in self._store.changes():
                self._pulse.beat()
                self._take(change)
                if len(self._unwritten) >= WRITE_EVERY_FILES:
                    self.write()
        finally:
            self.write()

    def write(self) -> None:
        """Put in the catalog what was hashed and is not there yet."""
        taken, self._unwritten = self._unwritten, []
        if not taken:
            return
        self._tally.files_known_content += self._store.write(taken)
        for _, sighting in taken:
            if sighting.state:
                self._tally.files_hashed += 1
                self._tally.bytes_hashed += sighting.state.size_bytes
            else:
                self._tally.files_rejected += 1

    def _take(self, change: Change) -> None:
        if self._is_being_written(change.mtime_ns):
            self._tally.files_being_written += 1
            return
        self._read_bytes = 0
        sighting = look_at(self._roots, change.location, self._progress)
        found, state = sighting.registered, sighting.state
        reason = found.rejection.reason if isinstance(found, RejectedLocation) else None
        if reason is Reason.CHANGED or (state and self._is_being_written(state.mtime_ns)):
            self._tally.files_being_written += 1
        elif reason is Reason.VANISHED and is_gone(self._roots[change.location.root] / change.location.path):
            log.info("gone since it was seen: %s", printable(f"{change.location.root}/{change.location.path}"))
        else:
            self._unwritten.append((change, sighting))

    def _is_being_written(self, mtime_ns: int | None) -> bool:
        return mtime_ns is not None and self._rules.is_settling(mtime_ns, time.time_ns())

    def _progress(self, _location: Location, done_bytes: int, _size_bytes: int) -> None:
        self._pulse.beat(done_bytes - self._read_bytes)
        self._read_bytes = done_bytes
