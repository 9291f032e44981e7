"""The catalog: which media assets there are, by content, and where they lie."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from operators.clean_text import storable
from operators.database import Database, transaction
from operators.media_files import FileState, Location, Progress, file_state, find_media, hash_file, locate
from operators.queries import query
from stage_contract.errors import ItemRejected
from stage_contract.result import Rejection

__all__ = [
    "Location",
    "Registered",
    "RegisteredAsset",
    "RejectedLocation",
    "Sighting",
    "find_media",
    "known_assets",
    "look_at",
    "register",
    "resolve",
    "write",
]

LOOK_UP_BATCH = 1_000


@dataclass(frozen=True)
class RegisteredAsset:
    """A file in the catalog.

    `real_path` is its path below the root with links resolved: a container sees the root at another
    place, where an absolute link would lead nowhere.
    """

    location: Location
    real_path: str
    asset_id: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class RejectedLocation:
    """A file that cannot be in the catalog as it is, and why."""

    location: Location
    rejection: Rejection


Registered = RegisteredAsset | RejectedLocation


@dataclass(frozen=True)
class KnownFile:
    """What the catalog saw at a location before."""

    asset_id: str
    state: FileState
    seen_at: datetime


@dataclass(frozen=True)
class Sighting:
    """What there is to write about one location."""

    registered: Registered
    state: FileState | None
    seen_at: datetime
    was_hashed: bool = False


def register(
    database: Database,
    roots: Mapping[str, Path],
    locations: Sequence[Location],
    progress: Progress | None = None,
) -> list[Registered]:
    """Put files in the catalog, in the order given. Files seen before and not changed are not read again.

    What was hashed is written at once, so that a scan that is stopped loses at most one file's work.

    Raises:
        ChoiceInvalid: a location names a root that is not in `roots`.
    """
    known = _find_known(database, locations)
    registered: list[Registered] = []
    unwritten: list[Sighting] = []
    for location in locations:
        sighting = look_at(roots, location, progress, known.get(location))
        registered.append(sighting.registered)
        unwritten.append(sighting)
        if sighting.was_hashed:
            write(database, unwritten)
            unwritten.clear()
    write(database, unwritten)
    return registered


def resolve(database: Database, roots: Collection[str], asset_ids: Sequence[str]) -> dict[str, Location]:
    """Where below these roots each of these assets is, or was seen last. One that has no place there is left out."""
    with transaction(database) as connection:
        rows = connection.execute(query("find_asset_locations"), {"asset_ids": list(asset_ids)})
        latest: dict[str, Location] = {}
        for row in rows:
            if row.root in roots:
                latest.setdefault(row.asset_id, Location(row.root, row.path))
    return {asset_id: latest[asset_id] for asset_id in asset_ids if asset_id in latest}


def known_assets(database: Database, asset_ids: Sequence[str]) -> frozenset[str]:
    """Those of these assets that the catalog has, wherever they lie."""
    with transaction(database) as connection:
        return frozenset(connection.execute(query("find_known_assets"), {"asset_ids": list(asset_ids)}).scalars())


def _find_known(database: Database, locations: Sequence[Location]) -> dict[Location, KnownFile]:
    known = {}
    storable_ones = [location for location in locations if _is_storable(location)]
    with transaction(database) as connection:
        for batch in _batches(storable_ones):
            asked = {"roots": [location.root for location in batch], "paths": [location.path for location in batch]}
            for row in connection.execute(query("find_known_locations"), asked):
                state = FileState(row.size_bytes, int(row.mtime_ns), int(row.inode))
                known[Location(row.root, row.path)] = KnownFile(row.asset_id, state, row.seen_at)
    return known


def look_at(
    roots: Mapping[str, Path], location: Location, progress: Progress | None = None, known: KnownFile | None = None
) -> Sighting:
    """Hash a file, unless it is still the `known` one. What `progress` raises passes.

    Raises:
        ChoiceInvalid: the location names a root that is not in `roots`.
    """
    seen_at = datetime.now(UTC)
    try:
        path = locate(roots, location)
        state = file_state(path, location)
        still_known = known if known and state.hash_holds(known.state, known.seen_at) else None
        asset_id, state = (still_known.asset_id, state) if still_known else hash_file(path, location, progress)
    except ItemRejected as error:
        rejection = Rejection(reason=error.reason, message=storable(error.message))
        return Sighting(RejectedLocation(location, rejection), None, seen_at)
    real_path = path.relative_to(roots[location.root].resolve()).as_posix()
    asset = RegisteredAsset(location, real_path, asset_id, state.size_bytes, state.mtime_ns)
    return Sighting(asset, state, seen_at, was_hashed=still_known is None)


def write(database: Database, sightings: Sequence[Sighting]) -> None:
    """Put sightings in the catalog, all or none. A name that no index or text takes is left out."""
    # In order of their keys, so that two scans at once do not wait for each other in a circle.
    by_location = {s.registered.location: s for s in sightings if _is_storable(s.registered.location)}
    locations = [_location_row(by_location[location]) for location in sorted(by_location)]
    assets = {row["asset_id"]: row for row in locations if row["asset_id"] is not None}
    with transaction(database) as connection:
        if assets:
            connection.execute(query("add_asset"), [assets[asset_id] for asset_id in sorted(assets)])
        if locations:
            connection.execute(query("save_location"), locations)


def _location_row(sighting: Sighting) -> dict[str, str | int | datetime | None]:
    found, state = sighting.registered, sighting.state
    rejection = found.rejection if isinstance(found, RejectedLocation) else None
    return {
        "root": found.location.root,
        "path": found.location.path,
        "asset_id": found.asset_id if isinstance(found, RegisteredAsset) else None,
        "size_bytes": state.size_bytes if state else None,
        "mtime_ns": state.mtime_ns if state else None,
        "inode": state.inode if state else None,
        "seen_at": sighting.seen_at,
        "rejection_reason": rejection.reason if rejection else None,
        "rejection_message": rejection.message if rejection else None,
    }


def _is_storable(location: Location) -> bool:
    return location.path != "" and location.shown == location.path


def _batches(locations: Sequence[Location]) -> Iterator[Sequence[Location]]:
    for start in range(0, len(locations), LOOK_UP_BATCH):
        yield locations[start : start + LOOK_UP_BATCH]
