"""The catalog, on real files and a real Postgres."""

import hashlib
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.catalog import Location, RegisteredAsset, RejectedLocation, register, resolve
from stage_contract.vocabulary import Reason

Roots = Mapping[str, Path]
OLD_S = 1_700_000_000


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


@pytest.fixture
def roots(archive: Path) -> Roots:
    return {"archive": archive}


def write_old(path: Path, content: bytes) -> None:
    """A file that was written long before it is registered, as in an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (OLD_S, OLD_S))


def sha256_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def at(path: str) -> Location:
    return Location("archive", path)


def register_one(database: Engine, roots: Roots, path: str) -> RegisteredAsset:
    (found,) = register(database, roots, [at(path)])
    assert isinstance(found, RegisteredAsset), found
    return found


def reject_one(database: Engine, roots: Roots, path: str) -> RejectedLocation:
    (found,) = register(database, roots, [at(path)])
    assert isinstance(found, RejectedLocation), found
    assert found.rejection.message
    return found


def rows(database: Engine, sql: str) -> list[tuple[object, ...]]:
    with database.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def test_an_asset_is_named_by_its_content(media_database: Engine, roots: Roots, archive: Path) -> None:
    write_old(archive / "a.mp4", b"same")
    write_old(archive / "copy/b.mp4", b"same")

    found = register(media_database, roots, [at("copy/b.mp4"), at("a.mp4")])

    assert [f.asset_id for f in found if isinstance(f, RegisteredAsset)] == [hashlib.sha256(b"same").hexdigest()] * 2
    assert [f.location.path for f in found] == ["copy/b.mp4", "a.mp4"]
    assert rows(media_database, "select size_bytes from media_asset") == [(4,)]
    assert rows(media_database, "select count(*) from media_location") == [(2,)]


def test_a_file_larger_than_a_block_is_hashed_whole_with_progress(
    media_database: Engine, roots: Roots, archive: Path
) -> None:
    content = os.urandom(1024) * (20 * 1024)
    write_old(archive / "big.mxf", content)
    told: list[tuple[int, int]] = []

    (found,) = register(media_database, roots, [at("big.mxf")], lambda _location, done, size: told.append((done, size)))

    assert isinstance(found, RegisteredAsset)
    assert found.asset_id == hashlib.sha256(content).hexdigest()
    assert [done for done, _ in told] == [8 * 2**20, 16 * 2**20, 20 * 2**20]
    assert {size for _, size in told} == {len(content)}


def test_an_unchanged_file_is_not_read_again(media_database: Engine, roots: Roots, archive: Path) -> None:
    write_old(archive / "a.mp4", b"one")
    first = register_one(media_database, roots, "a.mp4")
    read: list[str] = []

    again = register(media_database, roots, [at("a.mp4")], lambda location, *_: read.append(location.path))

    assert (again, read) == ([first], [])


@pytest.mark.parametrize("change", ["content of the same size", "time stamp", "replaced by a copy"])
def test_a_file_that_looks_different_is_read_again(
    media_database: Engine, roots: Roots, archive: Path, change: str
) -> None:
    path = archive / "a.mp4"
    write_old(path, b"one")
    register_one(media_database, roots, "a.mp4")
    content = b"two" if change == "content of the same size" else b"one"
    if change == "replaced by a copy":
        write_old(archive / "b.mp4", content)
        (archive / "b.mp4").rename(path)
    else:
        path.write_bytes(content)
        os.utime(path, (OLD_S + 1, OLD_S + 1))
    read: list[str] = []

    (found,) = register(media_database, roots, [at("a.mp4")], lambda location, *_: read.append(location.path))

    assert isinstance(found, RegisteredAsset)
    assert (found.asset_id, read) == (hashlib.sha256(content).hexdigest(), ["a.mp4"])
    assert rows(media_database, "select asset_id from media_location") == [(found.asset_id,)]


def test_a_file_written_just_before_it_was_hashed_is_not_trusted(
    media_database: Engine, roots: Roots, archive: Path
) -> None:
    (archive / "a.mp4").write_bytes(b"one")
    stamp = (archive / "a.mp4").stat()
    register_one(media_database, roots, "a.mp4")
    (archive / "a.mp4").write_bytes(b"two")
    os.utime(archive / "a.mp4", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    assert register_one(media_database, roots, "a.mp4").asset_id == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize(
    "name",
    ["two\nlines.mp4", "it's \"quoted\".mp4", "\N{PILE OF POO} ünïcode.mp4", " %s :name \\x00 .mp4", "-rf"],
)  # fmt: skip
def test_unusual_names_are_registered_as_they_are(
    media_database: Engine, roots: Roots, archive: Path, name: str
) -> None:
    write_old(archive / name, b"x")
    register_one(media_database, roots, name)

    assert rows(media_database, "select path from media_location") == [(name,)]


def test_a_name_that_is_not_utf8_is_rejected_in_words(media_database: Engine, roots: Roots, archive: Path) -> None:
    name = b"caf\xe9.mp4"
    write_old(archive / os.fsdecode(name), b"x")
    write_old(archive / "good.mp4", b"y")

    bad, good = register(media_database, roots, [at(os.fsdecode(name)), at("good.mp4")])

    assert isinstance(bad, RejectedLocation)
    assert isinstance(good, RegisteredAsset)
    assert bad.rejection.reason is Reason.UNREADABLE
    assert r"caf\xe9.mp4" in bad.rejection.message.replace("\\\\", "\\")
    assert rows(media_database, "select path from media_location") == [("good.mp4",)]


@pytest.mark.parametrize("path", ["a\0b", "x" * 2_001, "d/" * 1_000 + "f"])
def test_names_that_no_index_or_text_takes_are_rejected(media_database: Engine, roots: Roots, path: str) -> None:
    assert reject_one(media_database, roots, path).rejection.reason is Reason.UNREADABLE


def test_a_file_that_is_gone_is_rejected_and_keeps_no_asset(
    media_database: Engine, roots: Roots, archive: Path
) -> None:
    write_old(archive / "a.mp4", b"one")
    register_one(media_database, roots, "a.mp4")
    (archive / "a.mp4").unlink()

    assert reject_one(media_database, roots, "a.mp4").rejection.reason is Reason.VANISHED
    assert rows(media_database, "select asset_id, rejection_reason from media_location") == [(None, "vanished")]


@pytest.mark.parametrize("path", ["../outside.mp4", "link.mp4", "folder/outside.mp4", "/etc/passwd", ""])
def test_what_lies_outside_the_root_is_rejected(media_database: Engine, roots: Roots, archive: Path, path: str) -> None:
    write_old(archive.parent / "outside.mp4", b"secret")
    (archive / "link.mp4").symlink_to(archive.parent / "outside.mp4")
    (archive / "folder").symlink_to(archive.parent)

    assert reject_one(media_database, roots, path).rejection.reason is Reason.OUTSIDE_ARCHIVE
    assert rows(media_database, "select count(*) from media_asset") == [(0,)]


def test_a_link_inside_the_root_is_followed_and_told(media_database: Engine, roots: Roots, archive: Path) -> None:
    write_old(archive / "2024/tape.mp4", b"tape")
    (archive / "latest.mp4").symlink_to(archive / "2024/tape.mp4")

    found = register_one(media_database, roots, "latest.mp4")

    assert (found.location.path, found.real_path) == ("latest.mp4", "2024/tape.mp4")


def test_only_regular_files_are_media(media_database: Engine, roots: Roots, archive: Path) -> None:
    (archive / "folder").mkdir()
    os.mkfifo(archive / "pipe.mp4")

    assert reject_one(media_database, roots, "folder").rejection.reason is Reason.NOT_A_FILE
    assert reject_one(media_database, roots, "pipe.mp4").rejection.reason is Reason.NOT_A_FILE


def test_links_in_a_circle_are_rejected(media_database: Engine, roots: Roots, archive: Path) -> None:
    (archive / "a").symlink_to(archive / "b")
    (archive / "b").symlink_to(archive / "a")

    assert reject_one(media_database, roots, "a").rejection.reason is Reason.UNREADABLE


def test_a_file_that_grows_while_it_is_read_is_rejected(media_database: Engine, roots: Roots, archive: Path) -> None:
    path = archive / "growing.mp4"
    path.write_bytes(b"x" * (9 * 2**20))

    def grow(_location: Location, done_bytes: int, _size_bytes: int) -> None:
        if done_bytes < 9 * 2**20:
            with path.open("ab") as file:
                file.write(b"more")

    (found,) = register(media_database, roots, [at("growing.mp4")], grow)

    assert isinstance(found, RejectedLocation)
    assert found.rejection.reason is Reason.CHANGED


def test_a_file_that_is_replaced_while_it_is_read_is_rejected(
    media_database: Engine, roots: Roots, archive: Path
) -> None:
    write_old(archive / "a.mp4", b"one")

    def replace(*_: object) -> None:
        write_old(archive / "new", b"two")
        (archive / "new").rename(archive / "a.mp4")

    (found,) = register(media_database, roots, [at("a.mp4")], replace)

    assert isinstance(found, RejectedLocation)
    assert found.rejection.reason is Reason.CHANGED


def test_what_was_hashed_is_kept_when_the_scan_is_stopped(media_database: Engine, roots: Roots, archive: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_old(archive / name, name.encode())

    def stop(location: Location, *_: int) -> None:
        if location.path == "b.mp4":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        register(media_database, roots, [at("a.mp4"), at("b.mp4")], stop)

    assert rows(media_database, "select path from media_location") == [("a.mp4",)]


def test_scans_at_once_agree_and_do_not_wait_in_a_circle(media_database: Engine, roots: Roots, archive: Path) -> None:
    locations = [at(f"{number:03}.mp4") for number in range(400)]
    for location in locations:
        write_old(archive / location.path, location.path.encode())
    barrier = threading.Barrier(3)

    def scan(order: list[Location]) -> set[str]:
        barrier.wait()
        return {f.asset_id for f in register(media_database, roots, order) if isinstance(f, RegisteredAsset)}

    with ThreadPoolExecutor(3) as pool:
        found: list[set[frozenset[str]]] = [
            set(pool.map(frozenset, pool.map(scan, [locations, locations[::-1], locations]))) for _ in range(3)
        ]

    assert found == [{frozenset(sha256_of(location.path) for location in locations)}] * 3
    assert rows(media_database, "select count(*) from media_location where asset_id is not null") == [(400,)]


def test_assets_are_resolved_to_where_they_were_seen_last(media_database: Engine, roots: Roots, archive: Path) -> None:
    write_old(archive / "first.mp4", b"tape")
    asset_id = register_one(media_database, roots, "first.mp4").asset_id
    write_old(archive / "moved.mp4", b"tape")
    register_one(media_database, roots, "moved.mp4")

    assert resolve(media_database, roots, ["0" * 64, asset_id]) == {asset_id: at("moved.mp4")}
    assert resolve(media_database, ["tapes"], [asset_id]) == {}
