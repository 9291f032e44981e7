"""What a scan reads from and writes to Postgres: the comparison is made there, in batches, in little memory."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping

from operators.catalog import RegisteredAsset, Sighting, write
from operators.database import transaction
from operators.media_files import FAR_AHEAD_NS, RECENT_NS, Location
from operators.queries import query, query_text
from operators.scan.order import HashOrder
from operators.scan.report import Tally
from operators.scan.walk import Seen, Start

READ_BATCH = 1_000
# No path goes beyond the last code point.
LAST = "\U0010ffff"


@dataclass(frozen=True)
class Change:
    """A file that the catalog does not have as it is now. `is_new_place`: it has nothing of that name."""

    location: Location
    mtime_ns: int | None
    is_new_place: bool


class ScanStore:
    """One scan's tables and its row. The connection is the scan's own until its end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        with transaction(connection):
            for name in ("create_scan_sighting", "create_scan_change", "create_scan_missing", "empty_scan_tables"):
                connection.execute(query(name))

    def begin(self, folders: Sequence[str], started_at: datetime) -> int:
        """Make the scan's row; returns its number."""
        with transaction(self._connection) as connection:
            asked = {"folders": list(folders), "started_at": started_at}
            return int(connection.execute(query("begin_scan"), asked).scalar_one())

    def save(
        self,
        scan_id: int,
        tally: Tally,
        finished_at: datetime | None = None,
        is_complete: bool = False,
        message: str = "",
    ) -> None:
        """Bring the scan's row up to date, for others to read."""
        end = {"finished_at": finished_at, "is_complete": is_complete, "message": message}
        with transaction(self._connection) as connection:
            connection.execute(query("save_scan"), {"scan_id": scan_id, **asdict(tally), **end})

    def knows(self, start: Start, vanished_too: bool = False) -> bool:
        """Whether the catalog has a file there."""
        asked = {**_range(start), "vanished_too": vanished_too}
        with transaction(self._connection) as connection:
            return bool(connection.execute(query("knows_location_below"), asked).scalar_one())

    def add(self, seen: Sequence[Seen]) -> None:
        """Keep what the walk saw until it is compared."""
        with transaction(self._connection) as connection:
            driver_connection = connection.connection.driver_connection
            if driver_connection is None:
                raise ConnectionError("a connection must be open to copy rows, and this one was closed")
            with driver_connection.cursor() as cursor, cursor.copy(query_text("copy_scan_sightings")) as copy:
                for one in seen:
                    state = (one.state.size_bytes, one.state.mtime_ns, one.state.inode) if one.state else (None,) * 3
                    copy.write_row((one.location.root, one.location.path, *state))

    def compare(self, order: HashOrder) -> tuple[int, int]:
        """Hold what was seen against the catalog; returns how many files are to be hashed, and their bytes."""
        asked = {
            "recent_ns": RECENT_NS,
            "far_ahead_ns": FAR_AHEAD_NS,
            "order": order.order,
            "first_root": order.first_root,
            "first_path": order.first_path,
        }
        with transaction(self._connection) as connection:
            connection.execute(query("index_scan_sightings"))
            connection.execute(query("find_scan_changes"), asked)
            connection.execute(query("index_scan_changes"))
            row = connection.execute(query("count_scan_changes")).one()
            return int(row.files), int(row.bytes)

    def mark_returned(self, seen_at: datetime) -> int:
        """Files that had vanished and are there again, unchanged; returns how many."""
        with transaction(self._connection) as connection:
            return connection.execute(query("mark_returned"), {"seen_at": seen_at}).rowcount

    def changes(self) -> Iterator[Change]:
        """What is to be hashed, in the order in which that is done."""
        for row in self._read("list_scan_changes", "change_id"):
            mtime_ns = None if row["mtime_ns"] is None else int(row["mtime_ns"])
            yield Change(Location(row["root"], row["path"]), mtime_ns, row["is_new_place"])

    def write(self, sightings: Sequence[tuple[Change, Sighting]]) -> int:
        """Put hashed files in the catalog; returns how many new places hold content that it had."""
        registered = [(change, sighting.registered) for change, sighting in sightings]
        assets = {found.asset_id for _, found in registered if isinstance(found, RegisteredAsset)}
        with transaction(self._connection) as connection:
            rows = connection.execute(query("find_known_assets"), {"asset_ids": sorted(assets)})
            new = assets - {row.asset_id for row in rows}
            write(connection, [sighting for _, sighting in sightings])
        known = 0
        for change, found in registered:
            if isinstance(found, RegisteredAsset):
                known += change.is_new_place and found.asset_id not in new
                new.discard(found.asset_id)
        return known

    def missing(self, starts: Sequence[Start]) -> Iterator[Location]:
        """What the catalog has below `starts`, and the walk did not see."""
        with transaction(self._connection) as connection:
            for start in starts:
                connection.execute(query("find_scan_missing"), _range(start))
        for row in self._read("list_scan_missing", "missing_id"):
            yield Location(row["root"], row["path"])

    def mark_vanished(self, locations: Sequence[Location], vanished_at: datetime) -> int:
        """Returns how many had not been marked before."""
        asked = {
            "roots": [location.root for location in locations],
            "paths": [location.path for location in locations],
            "vanished_at": vanished_at,
        }
        with transaction(self._connection) as connection:
            return connection.execute(query("mark_vanished"), asked).rowcount

    def _read(self, name: str, key: str) -> Iterator[RowMapping]:
        # By key, not by a cursor: that would hold one transaction open while files are hashed for hours.
        after = 0
        while True:
            with transaction(self._connection) as connection:
                rows = connection.execute(query(name), {"after": after, "most": READ_BATCH}).mappings().all()
            if not rows:
                return
            yield from rows
            after = rows[-1][key]


def _range(start: Start) -> dict[str, str]:
    beyond = f"{start.path}0" if start.path else LAST  # "0" is the character after "/"
    return {"root": start.root, "path": start.path, "below": start.below, "beyond": beyond}
