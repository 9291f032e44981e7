"""What an archive should not have and does: links that lead out, names that cannot be stored, disks that are away."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from operators.catalog import Sighting, look_at
from operators.media_files import Location, Progress
from operators.scan.scan import RootMissing
from tests.operators.scan.conftest import Archive, counts


def test_a_link_out_of_the_root_is_rejected_and_its_content_is_not_read(archive: Archive) -> None:
    archive.write("secret.mp4", b"secret")
    (archive.folder / "archive/link.mp4").symlink_to(archive.folder / "secret.mp4")
    (archive.folder / "archive/folder").symlink_to(archive.folder)

    report = archive.scan()

    assert counts(report) == {"found": 1, "rejected": 1}
    assert archive.rows("select path, rejection_reason from media_location") == [("link.mp4", "outside_archive")]
    assert archive.assets() == set()


def test_a_link_to_a_file_of_the_root_is_that_file_and_costs_one_hash(archive: Archive) -> None:
    archive.write("archive/2024/tape.mp4", b"tape")
    (archive.folder / "archive/newest.mp4").symlink_to("2024/tape.mp4")

    assert counts(archive.scan()) == {"found": 2, "hashed": 2, "known_content": 1}
    assert counts(archive.scan()) == {"found": 2, "unchanged": 2}


def test_a_link_that_is_bent_out_of_the_root_loses_its_asset(archive: Archive) -> None:
    archive.write("archive/tape.mp4", b"tape")
    link = archive.folder / "archive/link.mp4"
    link.symlink_to("tape.mp4")
    archive.scan()
    link.unlink()
    link.symlink_to(archive.write("secret.mp4", b"secret"))

    assert counts(archive.scan()) == {"found": 2, "unchanged": 1, "rejected": 1}
    assert archive.there() == ["archive/tape.mp4"]


def test_a_root_that_is_itself_a_link_is_walked(archive: Archive) -> None:
    archive.write("archive/a.mp4")
    (archive.folder / "archive").rename(archive.folder / "disk")
    (archive.folder / "archive").symlink_to(archive.folder / "disk")

    assert counts(archive.scan()) == {"found": 1, "hashed": 1}


def test_pipes_sockets_and_dangling_links_are_rejected_without_hanging(archive: Archive) -> None:
    os.mkfifo(archive.folder / "archive/pipe.mp4")
    (archive.folder / "archive/nothing.mp4").symlink_to("gone.mp4")
    here = Path.cwd()
    os.chdir(archive.folder / "archive")  # a socket's whole path may not be long
    try:
        with socket.socket(socket.AF_UNIX) as plug:
            plug.bind("plug.mp4")
    finally:
        os.chdir(here)

    assert counts(archive.scan()) == {"found": 3, "rejected": 3}
    assert archive.rows("select path, rejection_reason from media_location order by path") == [
        ("nothing.mp4", "vanished"),
        ("pipe.mp4", "not_a_file"),
        ("plug.mp4", "not_a_file"),
    ]


@pytest.mark.parametrize("name", ["two\nlines\t.mp4", 'it\'s "q".mp4', "\N{PILE OF POO} ünï.mp4", " %s :n \\x .mp4"])
def test_odd_names_are_catalogued_as_they_are(archive: Archive, name: str) -> None:
    archive.write(f"archive/{name}")

    assert counts(archive.scan()) == {"found": 1, "hashed": 1}
    assert counts(archive.scan()) == {"found": 1, "unchanged": 1}
    assert archive.there() == [f"archive/{name}"]


def test_the_name_of_a_file_that_goes_away_cannot_write_to_the_terminal(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gone = archive.write("archive/a\n\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}.mp4")
    archive.write("archive/b.mp4")

    def look(roots: Mapping[str, Path], location: Location, progress: Progress) -> Sighting:
        gone.unlink(missing_ok=True)
        return look_at(roots, location, progress)

    monkeypatch.setattr("operators.scan.hashing.look_at", look)
    with caplog.at_level(logging.INFO):
        archive.scan()

    assert "gone since it was seen: archive/a\\n\\x1b[2J\\u202e.mp4" in [record.message for record in caplog.records]


def test_a_root_that_is_not_mounted_and_a_folder_that_is_not_there_are_told_together(archive: Archive) -> None:
    archive.write("archive/a.mp4")
    archive.scan()
    (archive.folder / "tapes").rmdir()

    with pytest.raises(RootMissing, match=r"'tapes' must .*; a folder or file must be there: .* at 'archive/2025'"):
        archive.scan("archive/a.mp4", "archive/2025", "tapes")


def test_names_that_are_not_utf8_are_rejected_and_the_others_go_on(archive: Archive) -> None:
    archive.write("archive/" + os.fsdecode(b"caf\xe9/a.mp4"), b"a")
    archive.write("archive/" + os.fsdecode(b"b\xff.mp4"), b"b")
    archive.write("archive/good.mp4")

    assert counts(archive.scan()) == {"found": 3, "hashed": 1, "rejected": 2}
    assert archive.there() == ["archive/good.mp4"]


@pytest.fixture
def deep(archive: Archive) -> Iterator[Archive]:
    """With folders in each other until no path holds their names, and a file in the middle."""
    with inside(archive.folder / "archive"):
        for level in range(250):
            Path("deep-name!").mkdir()
            os.chdir("deep-name!")
            if level in (120, 249):
                Path("a.mp4").write_bytes(b"%d" % level)
                os.utime("a.mp4", (1, 1))
    yield archive
    with inside(archive.folder / "archive"):
        for _ in range(250):
            os.chdir("deep-name!")
        for _ in range(250):
            Path("a.mp4").unlink(missing_ok=True)
            os.chdir("..")
            Path("deep-name!").rmdir()


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


def test_folders_too_deep_to_name_are_rejected_where_that_begins(deep: Archive) -> None:
    report = deep.scan()

    assert counts(report) == {"found": 2, "hashed": 1, "rejected": 1}
    assert [name.count("/") for name in deep.there()] == [122]


def test_a_folder_that_cannot_be_read_is_told_and_its_files_stay(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("archive/a.mp4", "archive/locked/b.mp4", "archive/locked/deep/c.mp4", "archive/z.mp4"):
        archive.write(name)
    archive.scan()
    (archive.folder / "archive/locked/b.mp4").unlink()
    (archive.folder / "archive/z.mp4").unlink()
    scandir = os.scandir

    # Permissions do not keep root out, which tests may run as.
    def refuse(path: Path) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    report = archive.scan()

    assert counts(report) == {"found": 1, "unchanged": 1, "vanished": 1}
    assert "1 are not, such as archive/locked; let user 10001 read them" in report.message
    assert archive.vanished() == ["archive/z.mp4"]


@pytest.mark.parametrize("loss", ["not there", "empty", "no folder"])
def test_a_root_that_is_not_mounted_loses_no_file_and_the_others_are_scanned(archive: Archive, loss: str) -> None:
    archive.write("archive/a.mp4")
    archive.write("tapes/b.mp4")
    archive.scan("archive", "tapes")
    archive.write("archive/new.mp4")
    (archive.folder / "tapes").rename(archive.folder / "unmounted")
    if loss == "empty":
        (archive.folder / "tapes").mkdir()
    elif loss == "no folder":
        (archive.folder / "tapes").write_bytes(b"")

    with pytest.raises(RootMissing, match=r"'tapes' must .*mount its disk.*left as it was"):
        archive.scan("archive", "tapes")

    assert archive.vanished() == []
    assert archive.there() == ["archive/a.mp4", "archive/new.mp4", "tapes/b.mp4"]
    (row,) = archive.rows("select is_complete, message from archive_scan order by scan_id desc limit 1")
    assert row[0] is False
    assert "'tapes' must" in str(row[1])


def test_a_root_emptied_on_purpose_is_believed_once_a_file_says_so(archive: Archive) -> None:
    file = archive.write("archive/a.mp4")
    archive.scan()
    file.unlink()
    (archive.folder / "archive/.keep").touch()

    assert counts(archive.scan()) == {"vanished": 1}


def test_an_empty_root_that_held_nothing_is_fine(archive: Archive) -> None:
    assert counts(archive.scan("archive", "tapes")) == {}


@pytest.mark.parametrize(("other", "told"), [([], "must hold files"), (["other.mp4"], "another file system took")])
def test_a_disk_that_goes_while_it_is_scanned_loses_no_file(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, other: list[str], told: str
) -> None:
    for name in ("archive/1/a.mp4", "archive/2/b.mp4"):
        archive.write(name)
    archive.scan()
    scandir = os.scandir
    root = archive.folder / "archive"

    def go(path: Path) -> object:
        if Path(path).name in ("1", "2") and not (archive.folder / "gone").exists():
            root.rename(archive.folder / "gone")
            root.mkdir()
            for name in other:
                (root / name).touch()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", go)

    with pytest.raises(RootMissing, match=f"'archive' .*{told}"):
        archive.scan()
    assert archive.vanished() == []
