"""The scan of the archive: what is new is hashed, what is gone is marked, the rest is not read.

A scan may be stopped at any moment. What it hashed is kept, and the next one goes on with the rest.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection

from operators.clean_text import printable
from operators.database import Database
from operators.errors import ChoiceInvalid, NightreelError
from operators.media_files import Location
from operators.scan.hashing import Hashing
from operators.scan.order import NEWEST_FIRST, HashOrder
from operators.scan.pulse import DeadlinePassed, Pulse
from operators.scan.report import ScanReport
from operators.scan.rules import ScanRules
from operators.scan.store import ScanStore
from operators.scan.walk import Start, Walk, below, is_empty, is_gone, read_starts

__all__ = ["HashOrder", "RootMissing", "ScanReport", "ScanRules", "scan_archive"]

BATCH = 2_000
TOLD_NAMES = 100

log = logging.getLogger(__name__)


class RootMissing(NightreelError):
    """A root is not there as it was: a disk is not mounted, perhaps. The other roots were scanned."""


def scan_archive(
    database: Database,
    roots: Mapping[str, Path],
    folders: Sequence[str],
    rules: ScanRules,
    deadline_at: datetime | None = None,
    on_begin: Callable[[int], None] | None = None,
    order: HashOrder = NEWEST_FIRST,
    is_paused: Callable[[], bool] = lambda: False,
) -> ScanReport:
    """Bring the catalog up to date with `folders`, each `root` or `root/path`, where a path may name a file.

    `on_begin` is given the number of the scan's row in `archive_scan`, which tells how far it is. At `deadline_at` it
    ends in order: it is not complete then, and nothing is marked as vanished. `is_paused` is asked every few seconds;
    while it says so, the scan waits.

    Raises:
        ChoiceInvalid: there is no such root, or nothing of that name on disk or in the catalog. The other folders are
            scanned first.
        RootMissing: a root is not there, cannot be read, or is empty while the catalog has files in it. What it held is
            left as it was, and the other roots are scanned first.
    """
    starts = read_starts(roots, folders)
    with _own_connection(database) as connection:
        store = ScanStore(connection)
        unknown = [start for start in starts if _is_unknown(store, roots, start)]
        if unknown == starts:
            raise ChoiceInvalid(_about_unknown(unknown))
        scan = _Scan(store, roots, rules, order, Pulse(deadline_at, is_paused))
        report = scan.run(starts, unknown, on_begin)
    log.info("%s", report.summary)
    if scan.missing_roots:
        raise RootMissing("; ".join(filter(None, [*scan.missing_roots, _about_unknown(unknown)])))
    if unknown:
        raise ChoiceInvalid(f"{_about_unknown(unknown)}; the others were scanned")
    return report


@contextmanager
def _own_connection(database: Database) -> Iterator[Connection]:
    if isinstance(database, Connection):
        yield database
        return
    with database.connect() as connection:
        try:
            yield connection
        finally:
            # Not to be handed to another: the scan's tables live as long as its session.
            connection.invalidate()


def _is_unknown(store: ScanStore, roots: Mapping[str, Path], start: Start) -> bool:
    """Whether there is nothing of this name, and never was."""
    root = roots[start.root]
    is_missing = start.path and not is_gone(root) and is_gone(root / start.path)
    return bool(is_missing) and not store.knows(start, vanished_too=True)


def _about_unknown(unknown: Sequence[Start]) -> str:
    """Empty where there is none."""
    if not unknown:
        return ""
    more = len(unknown) - TOLD_NAMES
    names = [repr(start.name) for start in unknown[:TOLD_NAMES]] + ([f"{more} more"] if more > 0 else [])
    return f"a folder or file must be there: nothing is, or ever was, at {', '.join(names)}; correct the name"


class _Scan:
    def __init__(
        self, store: ScanStore, roots: Mapping[str, Path], rules: ScanRules, order: HashOrder, pulse: Pulse
    ) -> None:
        self.missing_roots: list[str] = []
        self._store, self._roots, self._rules, self._order = store, roots, rules, order
        self._pulse, self._tally = pulse, pulse.tally
        self._unreadable: dict[str, set[str]] = {}
        self._roots_before: dict[str, tuple[int, int]] = {}
        self._hashing = Hashing(store, roots, rules, self._tally, self._pulse)

    def run(
        self, starts: Sequence[Start], unknown: Sequence[Start], on_begin: Callable[[int], None] | None
    ) -> ScanReport:
        """Scan `starts`, but for those that are `unknown`."""
        started_at = datetime.now(UTC)
        names = tuple(start.name for start in starts)
        scan_id = self._store.begin(names, started_at)

        def save() -> None:
            self._hashing.write()
            self._store.save(scan_id, self._tally)

        self._pulse.save = save
        message, is_complete = "it was stopped; the next scan goes on with what it left", False
        try:
            if on_begin:
                on_begin(scan_id)
            message = self._go([start for start in starts if start not in unknown])
            is_complete = not (message or self.missing_roots or unknown)
            told = [message, *self.missing_roots, _about_unknown(unknown), self._about_unreadable()]
            message = "; ".join(filter(None, told))
        finally:
            finished_at = datetime.now(UTC)
            self._store.save(scan_id, self._tally, finished_at, is_complete, message)
        return ScanReport(
            scan_id, names, started_at, finished_at, **asdict(self._tally), is_complete=is_complete, message=message
        )

    def _go(self, starts: Sequence[Start]) -> str:
        """Returns why it did not come to the end; empty when it did."""
        try:
            self._pulse.beat()
            there = [start for start in starts if self._is_there(start.root)]
            for start in there:
                self._walk(start)
            self._compare()
            self._hashing.run()
        except DeadlinePassed:
            return "its time was over; the next scan goes on with what it left"
        self._mark_vanished([start for start in there if self._is_there(start.root)])
        return ""

    def _is_there(self, root: str) -> bool:
        """Whether a root is mounted, and is the same as when the scan began. Told once where it is not."""
        complaint = self._complaint(root)
        if not complaint:
            return True
        told = f"{complaint}; what the catalog has there is left as it was"
        if told not in self.missing_roots:
            log.error("%s", told)
            self.missing_roots.append(told)
        return False

    def _complaint(self, root: str) -> str:
        folder = self._roots[root]
        try:
            found = folder.stat()
            is_lost = is_empty(folder) and self._store.knows(Start(root, ""))
        except OSError as error:
            return f"the root {root!r} must be a folder that can be read: {error.strerror or error}; mount its disk"
        if is_lost:
            return (
                f"the root {root!r} must hold files: it is empty, and the catalog has files there; mount its disk or, "
                "if all were deleted on purpose, put a file of any name there, such as .keep"
            )
        identity = (found.st_dev, found.st_ino)
        if self._roots_before.setdefault(root, identity) != identity:
            return f"the root {root!r} must stay while it is scanned: another file system took its place; scan again"
        return ""

    def _walk(self, start: Start) -> None:
        walk = Walk(self._roots[start.root], start, self._rules, self._unreadable.setdefault(start.root, set()))
        batch = []
        for seen in walk.files():
            self._tally.files_found += 1
            if seen.location.shown != seen.location.path:
                self._refuse_name(seen.location.shown)
                continue
            batch.append(seen)
            if len(batch) == BATCH:
                self._store.add(batch)
                batch.clear()
                self._pulse.beat()
        self._store.add(batch)
        self._pulse.beat()

    def _refuse_name(self, shown: str) -> None:
        self._tally.files_rejected += 1
        if self._tally.files_rejected <= TOLD_NAMES:
            log.warning("left out, as no index or text takes its name: %s; rename it", printable(shown))

    def _compare(self) -> None:
        files, size_bytes = self._store.compare(self._order)
        self._tally.files_returned = self._store.mark_returned(datetime.now(UTC))
        rejected = self._tally.files_rejected
        self._tally.files_unchanged = self._tally.files_found - rejected - files - self._tally.files_returned
        self._pulse.expect(files, size_bytes)

    def _mark_vanished(self, starts: Sequence[Start]) -> None:
        for batch in _batches(self._store.missing(starts)):
            gone = [location for location in batch if self._is_gone(location.root, location.path)]
            # Asked after looking: had its disk gone meanwhile, all of it would seem to be.
            there = {root for root in {location.root for location in gone} if self._is_there(root)}
            told = [location for location in gone if location.root in there]
            self._tally.files_vanished += self._store.mark_vanished(told, datetime.now(UTC))

    def _is_gone(self, root: str, path: str) -> bool:
        # The walk may have been there before the file was; what a pattern leaves out it never sees.
        is_known = self._rules.takes(f"{root}/{path}") and not below(self._unreadable.get(root, set()), path)
        return is_known and is_gone(self._roots[root] / path)

    def _about_unreadable(self) -> str:
        folders = sorted(f"{root}/{path}" for root, paths in self._unreadable.items() for path in paths)
        if not folders:
            return ""
        return (
            f"every folder must be readable: {len(folders)} are not, such as {printable(folders[0])}; let user 10001 "
            "read them. What the catalog has there is left as it was"
        )


def _batches(locations: Iterator[Location]) -> Iterator[list[Location]]:
    while batch := list(islice(locations, BATCH)):
        yield batch
