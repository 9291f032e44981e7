"""Scans that are stopped, killed, or two at once: the end is the same as without."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.catalog import KnownFile, Sighting, look_at
from operators.media_files import BLOCK_BYTES, Location, Progress
from operators.scan.scan import ScanRules, scan_archive
from tests.operators.scan.conftest import Archive, counts, names

REPOSITORY = Path(__file__).resolve().parents[3]
# Scans until so many rows are written, and waits there to be killed.
STALLING_SCAN = """
import sys, time
from pathlib import Path
from sqlalchemy import text
from operators import catalog, media_files
from operators.database import open_engine
from operators.scan import hashing
from operators.scan.scan import ScanRules, scan_archive

database = open_engine(sys.argv[1])

def stalling(*arguments):
    with database.connect() as connection:
        written = connection.scalar(text("select count(*) from media_location"))
    if written >= int(sys.argv[3]):
        time.sleep(60)
    return media_files.hash_file(*arguments)

catalog.hash_file = stalling
hashing.WRITE_EVERY_FILES = 7
scan_archive(database, {"archive": Path(sys.argv[2])}, ["archive"], ScanRules())
"""


def fill(archive: Archive) -> None:
    """An archive in which everything happens: new, changed, moved, copied, gone and rejected files."""
    for name in names(range(100)):
        archive.write(name)
    archive.scan()
    for number, name in enumerate(names(range(100))):
        if number % 4 == 1:
            archive.write(name, b"changed %d" % number, 1_600_000_000)
        elif number % 4 == 2:
            (archive.folder / name).rename(archive.folder / f"{name}.moved.mp4")
        elif number % 4 == 3:
            (archive.folder / name).unlink()
    for name in names(range(100, 250)):
        archive.write(name, b"copied" if name.endswith("0.mp4") else b"")
    os.mkfifo(archive.folder / "archive/pipe.mp4")


def url_of(database: Engine) -> str:
    return database.url.render_as_string(hide_password=False)


def wait_for_rows(archive: Archive, least: int) -> None:
    deadline_s = time.monotonic() + 60
    while archive.rows("select count(*) from media_location") < [(least,)]:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGINT])
def test_a_scan_that_is_killed_is_finished_by_the_next(archive: Archive, fatal: signal.Signals) -> None:
    fill(archive)
    archive.rows("delete from archive_scan returning 1")
    for kill in range(2):
        least = 115 + 35 * kill
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                STALLING_SCAN,
                url_of(archive.database),
                str(archive.folder / "archive"),
                str(least),
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stderr=subprocess.DEVNULL,
        )
        wait_for_rows(archive, least)
        process.send_signal(fatal)
        assert process.wait() != 0
    assert archive.vanished() == []
    assert archive.rows("select is_complete from archive_scan") == [(False,), (False,)]

    last = archive.scan()
    resumed = archive.catalog()
    with archive.database.begin() as connection:
        connection.execute(text("delete from media_location"))
    archive.scan()

    assert last.is_complete
    assert last.files_unchanged > 60
    there = [row for row in resumed if row[-1]]
    assert there == archive.catalog()
    assert len([row for row in resumed if not row[-1]]) == 50


def test_a_deadline_between_files_keeps_what_was_hashed(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names(range(30)):
        archive.write(name)
    gone = archive.write("archive/gone.mp4")
    archive.scan("archive/gone.mp4")
    gone.unlink()
    now = datetime.now(UTC)
    beats = iter(range(1_000))

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Clock":
            return cls.fromtimestamp(now.timestamp() + next(beats), UTC)

    monkeypatch.setattr("operators.scan.pulse.datetime", Clock)

    report = archive.scan(deadline_at=now + timedelta(seconds=20))

    assert not report.is_complete
    assert 0 < report.files_hashed < 20
    assert len(archive.there()) == report.files_hashed + 1
    assert archive.vanished() == []
    assert counts(archive.scan()) == {
        "found": 30,
        "unchanged": report.files_hashed,
        "hashed": 30 - report.files_hashed,
        "vanished": 1,
    }


def test_a_deadline_ends_the_hash_of_a_long_file(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.write("archive/a.mp4")
    archive.write("archive/long.mp4", b"x" * (3 * BLOCK_BYTES))
    monkeypatch.setattr("operators.media_files.os.fstat", _after_a_while(os.fstat, 3))

    report = archive.scan(deadline_at=datetime.now(UTC) + timedelta(seconds=1))

    assert (report.is_complete, report.files_hashed) == (False, 1)
    assert archive.there() == ["archive/a.mp4"]


def _after_a_while(function: object, call: int) -> object:
    """`function`, and the third time it is called, late."""
    calls = iter(range(1, 100))

    def late(*arguments: object) -> object:
        if next(calls) == call:
            time.sleep(1.2)
        return function(*arguments)  # type: ignore[operator]

    return late


def test_two_scans_at_once_end_as_one_does(archive: Archive) -> None:
    fill(archive)

    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: archive.scan(), range(3)))

    assert all(report.is_complete for report in reports)
    assert sum(report.files_vanished for report in reports) == 50
    after = archive.catalog()
    assert counts(archive.scan()) == {"found": 226, "unchanged": 225, "rejected": 1}
    assert archive.catalog() == after


def test_progress_can_be_read_while_it_goes_on(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.scan.pulse.SAVE_EVERY_S", 0.0)
    for name in names(range(5)):
        archive.write(name)
    seen: list[object] = []

    def look(
        roots: Mapping[str, Path], location: Location, progress: Progress, known: KnownFile | None = None
    ) -> Sighting:
        seen.append(archive.rows("select files_found, files_hashed, finished_at from archive_scan")[0])
        return look_at(roots, location, progress, known)

    monkeypatch.setattr("operators.scan.hashing.look_at", look)
    archive.scan()

    assert seen == [(5, number, None) for number in range(5)]


def test_a_scan_in_a_transaction_that_is_given_up_leaves_nothing(archive: Archive) -> None:
    archive.write("archive/a.mp4")
    with archive.database.connect() as connection, connection.begin() as given_up:
        for expected in ("hashed", "unchanged"):
            report = scan_archive(connection, archive.roots, ["archive"], ScanRules())
            assert counts(report)[expected] == 1
        given_up.rollback()
    assert archive.rows("select count(*) from archive_scan") == [(0,)]
