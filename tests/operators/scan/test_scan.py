"""The scan, on real files and a real Postgres: what is new, the same, moved, gone and back."""

import hashlib
import os
import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from operators.catalog import Location, register, resolve
from operators.errors import ChoiceInvalid
from operators.scan.scan import ScanRules, scan_archive
from tests.operators.scan.conftest import OLD_S, Archive, counts, names


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_new_files_are_hashed_and_unchanged_ones_are_not_read_again(archive: Archive) -> None:
    for name in names(range(25)):
        archive.write(name)

    first, second = archive.scan(), archive.scan()

    assert counts(first) == {"found": 25, "hashed": 25}
    assert first.bytes_hashed == sum(len(name) for name in names(range(25)))
    assert counts(second) == {"found": 25, "unchanged": 25}
    assert first.is_complete
    assert second.is_complete
    assert archive.there() == names(range(25))
    assert archive.assets() == {sha256(name.encode()) for name in names(range(25))}


def test_an_unchanged_file_is_not_written_to(archive: Archive) -> None:
    archive.write("archive/a.mp4")
    archive.scan()
    before = archive.rows("select xmin::text, seen_at from media_location")

    archive.scan()

    assert archive.rows("select xmin::text, seen_at from media_location") == before


def test_several_roots_are_scanned_in_one_go(archive: Archive) -> None:
    archive.write("archive/a.mp4", b"same")
    archive.write("tapes/b.mp4", b"same")

    report = archive.scan("archive", "tapes")

    assert counts(report) == {"found": 2, "hashed": 2, "known_content": 1}
    assert archive.there() == ["archive/a.mp4", "tapes/b.mp4"]
    assert archive.assets() == {sha256(b"same")}


def test_a_renamed_file_is_the_same_asset_and_its_old_place_is_marked(archive: Archive) -> None:
    old = archive.write("archive/a.mp4", b"tape")
    archive.scan()
    old.rename(archive.folder / "archive/b.mp4")

    report = archive.scan()

    assert counts(report) == {"found": 1, "hashed": 1, "known_content": 1, "vanished": 1}
    assert (archive.there(), archive.vanished()) == (["archive/b.mp4"], ["archive/a.mp4"])
    assert archive.assets() == {sha256(b"tape")}


def test_a_copy_is_the_same_asset_at_two_places(archive: Archive) -> None:
    archive.write("archive/a.mp4", b"tape")
    archive.scan()
    archive.write("archive/copy/a.mp4", b"tape")

    assert counts(archive.scan()) == {"found": 2, "unchanged": 1, "hashed": 1, "known_content": 1}
    assert archive.assets() == {sha256(b"tape")}


@pytest.mark.parametrize("change", ["content", "time stamp", "another file in its place"])
def test_a_changed_file_is_hashed_again_at_its_place(archive: Archive, change: str) -> None:
    archive.write("archive/a.mp4", b"one")
    archive.scan()
    if change == "another file in its place":
        archive.write("archive/new", b"two").rename(archive.folder / "archive/a.mp4")
    else:
        archive.write("archive/a.mp4", b"two", OLD_S + (change == "time stamp"))
        os.utime(archive.folder / "archive/a.mp4", (OLD_S + 1, OLD_S + 1))

    assert counts(archive.scan()) == {"found": 1, "hashed": 1}
    assert archive.rows("select asset_id from media_location") == [(sha256(b"two"),)]


def test_a_file_that_is_back_unchanged_is_not_hashed(archive: Archive) -> None:
    file = archive.write("archive/a.mp4")
    archive.write("archive/b.mp4")
    archive.scan()
    file.rename(archive.folder / "kept")
    gone = archive.scan()
    (archive.folder / "kept").rename(file)

    report = archive.scan()

    assert counts(gone) == {"found": 1, "unchanged": 1, "vanished": 1}
    assert counts(report) == {"found": 2, "unchanged": 1, "returned": 1}
    assert archive.vanished() == []


def test_a_file_that_is_back_with_other_content_is_hashed(archive: Archive) -> None:
    archive.write("archive/a.mp4", b"one")
    archive.write("archive/b.mp4")
    archive.scan()
    (archive.folder / "archive/a.mp4").unlink()
    archive.scan()
    archive.write("archive/a.mp4", b"two", OLD_S + 5)

    assert counts(archive.scan()) == {"found": 2, "unchanged": 1, "hashed": 1}
    assert archive.there() == ["archive/a.mp4", "archive/b.mp4"]


def test_registering_by_hand_takes_the_mark_away(archive: Archive) -> None:
    file = archive.write("archive/a.mp4")
    archive.write("archive/b.mp4")
    archive.scan()
    file.unlink()
    archive.scan()
    archive.write("archive/a.mp4")

    register(archive.database, archive.roots, [Location("archive", "a.mp4")])

    assert archive.vanished() == []


def test_an_asset_is_resolved_to_a_place_where_it_still_is(archive: Archive) -> None:
    archive.write("archive/a.mp4", b"tape")
    archive.scan()
    archive.write("archive/b.mp4", b"tape")
    archive.scan()
    (archive.folder / "archive/b.mp4").unlink()
    archive.scan()

    found = resolve(archive.database, archive.roots, [sha256(b"tape")])
    assert found == {sha256(b"tape"): Location("archive", "a.mp4")}


def test_a_time_stamp_far_in_the_future_does_not_make_a_file_new_each_night(archive: Archive) -> None:
    archive.write("archive/a.mp4", mtime_s=time.time() + 10 * 365 * 86_400)

    assert [counts(archive.scan()) for _ in range(2)] == [{"found": 1, "hashed": 1}, {"found": 1, "unchanged": 1}]


@pytest.mark.parametrize("ahead_s", [-20, 20])
def test_a_file_being_written_is_left_for_the_next_scan(archive: Archive, ahead_s: int) -> None:
    archive.write("archive/a.mp4", mtime_s=time.time() + ahead_s)

    assert counts(archive.scan()) == {"found": 1, "being_written": 1}
    assert archive.catalog() == []
    assert counts(archive.scan(rules=ScanRules(settle_s=5))) == {"found": 1, "hashed": 1}


def test_a_file_that_is_being_written_anew_keeps_what_was_known_of_it(archive: Archive) -> None:
    archive.write("archive/a.mp4", b"one")
    archive.scan()
    before = archive.catalog()
    archive.write("archive/a.mp4", b"longer", time.time())

    assert counts(archive.scan()) == {"found": 1, "being_written": 1}
    assert archive.catalog() == before


def test_a_file_that_changes_while_it_is_hashed_is_left(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = archive.write("archive/a.mp4")
    archive.write("archive/b.mp4")
    fstat = os.fstat
    inode = growing.stat().st_ino
    looks: list[int] = []

    def grow(descriptor: int) -> os.stat_result:
        looks.append(fstat(descriptor).st_ino)
        if looks.count(inode) == 2:
            growing.write_bytes(b"more")
        return fstat(descriptor)

    monkeypatch.setattr("operators.media_files.os.fstat", grow)

    assert counts(archive.scan()) == {"found": 2, "hashed": 1, "being_written": 1}
    assert archive.there() == ["archive/b.mp4"]


def test_patterns_choose_files_and_leave_the_rows_of_others_as_they_are(archive: Archive) -> None:
    for name in ("archive/a.mp4", "archive/notes.txt", "archive/tmp/b.mp4", "archive/TMP/deep/c.mp4"):
        archive.write(name)
    archive.scan()
    before = archive.catalog()
    (archive.folder / "archive/notes.txt").unlink()
    archive.write("archive/tmp/b.mp4", b"changed", OLD_S + 9)
    shutil.rmtree(archive.folder / "archive/TMP")

    report = archive.scan(rules=ScanRules(include=("*.mp4",), exclude=("archive/tmp",)))

    assert counts(report) == {"found": 1, "unchanged": 1}
    assert archive.catalog() == before


def test_hidden_temporary_and_system_names_are_not_media(archive: Archive) -> None:
    for name in ("archive/.x.mp4", "archive/up.mp4.part", "archive/lost+found/y.mp4", "archive/good.mp4"):
        archive.write(name)

    assert counts(archive.scan()) == {"found": 1, "hashed": 1}


def test_a_folder_or_a_file_of_the_archive_is_scanned_alone(archive: Archive) -> None:
    for name in ("archive/2023/a.mp4", "archive/2024/b.mp4", "archive/2024/sub/c.mp4", "archive/20240/d.mp4"):
        archive.write(name)
    archive.scan()
    for name in ("archive/2023/a.mp4", "archive/2024/b.mp4", "archive/20240/d.mp4"):
        (archive.folder / name).unlink()
    archive.write("archive/2024/new.mp4")

    assert counts(archive.scan("archive/2024/", "archive/2024/sub/c.mp4")) == {
        "found": 2,
        "unchanged": 1,
        "hashed": 1,
        "vanished": 1,
    }
    assert archive.vanished() == ["archive/2024/b.mp4"]
    assert counts(archive.scan("archive/2023/a.mp4")) == {"vanished": 1}


def test_a_folder_that_was_deleted_takes_its_files_with_it(archive: Archive) -> None:
    archive.write("archive/2024/a.mp4")
    archive.write("archive/b.mp4")
    archive.scan()
    shutil.rmtree(archive.folder / "archive/2024")

    assert counts(archive.scan("archive/2024")) == {"vanished": 1}
    assert counts(archive.scan("archive/2024")) == {}


@pytest.mark.parametrize(
    "folder",
    ["archive/nothing", "nowhere", "archive/..", "archive/../tapes", "archive/out/x.mp4", "archive/out", "a\0"],
)
def test_folders_that_are_not_there_or_lead_out_are_refused(archive: Archive, folder: str) -> None:
    archive.write("archive/a.mp4")
    archive.write("elsewhere/x.mp4")
    (archive.folder / "archive/out").symlink_to(archive.folder / "elsewhere")

    with pytest.raises(ChoiceInvalid, match="must"):
        archive.scan(folder)
    assert archive.rows("select count(*) from archive_scan") == [(0,)]


def test_a_scan_of_nothing_is_refused(archive: Archive) -> None:
    with pytest.raises(ChoiceInvalid, match="at least one folder"):
        scan_archive(archive.database, archive.roots, [], ScanRules())


def test_the_scans_row_tells_what_the_report_tells(archive: Archive) -> None:
    archive.write("archive/a.mp4")
    begun: list[int] = []

    report = scan_archive(archive.database, archive.roots, ["archive"], ScanRules(), None, begun.append)

    assert begun == [report.scan_id]
    with archive.database.connect() as connection:
        row = connection.execute(text("select * from archive_scan")).mappings().one()
    assert {**row, "folders": tuple(row["folders"])} == vars(report)
    assert report.summary == "1 found, 1 hashed"


def test_a_deadline_that_has_passed_ends_the_scan_at_once(archive: Archive) -> None:
    file = archive.write("archive/a.mp4")
    archive.write("archive/b.mp4")
    archive.scan()
    file.unlink()
    archive.write("archive/c.mp4")

    report = archive.scan(deadline_at=datetime.now(UTC) - timedelta(seconds=1))

    assert not report.is_complete
    assert "time was over" in report.message
    assert (report.files_hashed, report.files_vanished, archive.vanished()) == (0, 0, [])


def test_folders_that_are_not_there_are_named_after_the_others_were_scanned(archive: Archive) -> None:
    archive.write("archive/2024/a.mp4")

    with pytest.raises(ChoiceInvalid, match=r"at 'archive/2025', 'tapes/x.mp4'; correct the name; the others were"):
        archive.scan("archive/2025", "archive/2024", "tapes/x.mp4")

    assert archive.there() == ["archive/2024/a.mp4"]
    (row,) = archive.rows("select folders, is_complete, message from archive_scan")
    assert row[:2] == (["archive/2024", "archive/2025", "tapes/x.mp4"], False)
    assert "'archive/2025'" in str(row[2])


def test_when_none_of_several_folders_is_there_nothing_is_scanned(archive: Archive) -> None:
    archive.write("archive/a.mp4")

    with pytest.raises(ChoiceInvalid, match=r"at 'archive/2024', 'archive/2025'; correct the name$"):
        archive.scan("archive/2024", "archive/2025")
    assert archive.rows("select count(*) from archive_scan") == [(0,)]
