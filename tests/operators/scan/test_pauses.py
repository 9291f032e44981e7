"""Scans while backfills are paused: nothing is read, and then it goes on."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from operators.media_files import BLOCK_BYTES
from operators.scan.scan import ScanReport, ScanRules, scan_archive
from tests.operators.scan.conftest import Archive, counts, names


@pytest.fixture(autouse=True)
def _asked_at_every_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.scan.pulse.ASK_PAUSE_EVERY_S", 0.0)


def scan(archive: Archive, is_paused: Callable[[], bool], deadline_at: datetime | None = None) -> ScanReport:
    return scan_archive(
        archive.database, archive.roots, ["archive"], ScanRules(), deadline_at=deadline_at, is_paused=is_paused
    )


def test_a_pause_holds_the_scan_up_between_files_and_keeps_what_was_hashed(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    for name in names(range(9)):
        archive.write(name)
    seen: list[tuple[int, object]] = []

    def told() -> Iterator[bool]:
        # Asked before and after the walk, then before each file.
        yield from [False] * 6
        for _ in range(5):
            yield True
            (counted,) = archive.rows("select files_hashed from archive_scan")
            seen.append((len(archive.there()), counted[0]))
        while True:
            yield False

    answers = told()
    with caplog.at_level(logging.INFO):
        report = scan(archive, lambda: next(answers))

    assert len(set(seen[1:])) == 1
    there, counted = seen[1]
    assert there == counted
    assert 0 < there < 9
    assert counts(report) == {"found": 9, "hashed": 9}
    assert report.is_complete
    assert [record.message for record in caplog.records if "pause" in record.message or "go on" in record.message] == [
        "backfills are paused: the scan waits, and reads nothing",
        "backfills go on, and so does the scan",
    ]


def test_a_scan_that_begins_in_a_pause_walks_nothing(archive: Archive) -> None:
    archive.write("archive/a.mp4")
    answers = iter([True, True, False])

    def is_paused() -> bool:
        paused = next(answers, False)
        if paused:
            # Found only when the walk begins after the pause.
            archive.write("archive/late.mp4")
        return paused

    assert counts(scan(archive, is_paused)) == {"found": 2, "hashed": 2}


def test_a_pause_holds_the_scan_up_between_the_blocks_of_a_file(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.write("archive/long.mp4", b"x" * (3 * BLOCK_BYTES))
    waits: list[float] = []
    monkeypatch.setattr("operators.scan.pulse.time.sleep", waits.append)
    # Before and after the walk, before the file, after its first block.
    answers = iter([False, False, False, True, True, True, False])

    assert counts(scan(archive, lambda: next(answers, False))) == {"found": 1, "hashed": 1}
    assert len(waits) == 2


def test_a_deadline_ends_a_scan_that_waits(archive: Archive) -> None:
    archive.write("archive/a.mp4")

    report = scan(archive, lambda: True, datetime.now(UTC) + timedelta(seconds=0.3))

    assert not report.is_complete
    assert "time was over" in report.message
    assert archive.there() == []
