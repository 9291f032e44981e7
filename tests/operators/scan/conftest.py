"""Roots with files in them, and what the catalog says of these."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.catalog import Sighting, look_at
from operators.media_files import Location, Progress
from operators.scan.scan import HashOrder, ScanReport, ScanRules, scan_archive

OLD_S = 1_700_000_000


@dataclass(frozen=True)
class Archive:
    """Two roots, `archive` and `tapes`, below one folder."""

    database: Engine
    folder: Path

    @property
    def roots(self) -> Mapping[str, Path]:
        return {root: self.folder / root for root in ("archive", "tapes")}

    def write(self, name: str, content: bytes = b"", mtime_s: float = OLD_S) -> Path:
        """A file `root/path`, written long ago; its content is its name unless told otherwise."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or os.fsencode(name))
        os.utime(path, (mtime_s, mtime_s))
        return path

    def scan(self, *folders: str, rules: ScanRules | None = None, deadline_at: datetime | None = None) -> ScanReport:
        return scan_archive(self.database, self.roots, folders or ["archive"], rules or ScanRules(), deadline_at)

    def hashed_in(self, order: HashOrder, monkeypatch: pytest.MonkeyPatch, *folders: str) -> list[str]:
        """Scan, and tell which files were hashed, in the order in which that was done."""
        hashed: list[str] = []

        def look(roots: Mapping[str, Path], location: Location, progress: Progress) -> Sighting:
            hashed.append(f"{location.root}/{location.path}")
            return look_at(roots, location, progress)

        monkeypatch.setattr("operators.scan.hashing.look_at", look)
        scan_archive(self.database, self.roots, folders or ["archive"], ScanRules(), order=order)
        return hashed

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with self.database.begin() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def there(self) -> list[str]:
        """Files with an asset that have not vanished."""
        told = "select root || '/' || path from media_location where asset_id is not null and vanished_at is null"
        return sorted(str(name) for (name,) in self.rows(told))

    def vanished(self) -> list[str]:
        told = "select root || '/' || path from media_location where vanished_at is not null"
        return sorted(str(name) for (name,) in self.rows(told))

    def assets(self) -> set[object]:
        return {asset_id for (asset_id,) in self.rows("select asset_id from media_asset")}

    def catalog(self) -> list[tuple[object, ...]]:
        """All that a scan decides, without the times at which it did."""
        return self.rows(
            "select root, path, asset_id, size_bytes, mtime_ns, rejection_reason, vanished_at is null "
            "from media_location order by root, path"
        )


@pytest.fixture
def archive(media_database: Engine, tmp_path: Path) -> Archive:
    made = Archive(media_database, tmp_path)
    for folder in made.roots.values():
        folder.mkdir()
    return made


def counts(report: ScanReport) -> dict[str, int]:
    """What is not 0, without the bytes."""
    names = [name for name in vars(report) if name.startswith("files_")]
    return {name.removeprefix("files_"): getattr(report, name) for name in names if getattr(report, name)}


def names(numbers: Sequence[int]) -> list[str]:
    return [f"archive/{number // 10:02}/{number:04}.mp4" for number in numbers]
