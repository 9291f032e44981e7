"""How a run finds what it is asked for, on real files and a real Postgres."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.catalog import Location, RegisteredAsset, register
from operators.errors import ChoiceInvalid
from operators.run import RootAway, RunRequest, begin_shard
from operators.settings import Folders
from operators.shard import RunFolder, Shard
from operators.timings import RunStart
from stage_contract.vocabulary import Stage

START = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
ITEMS = "select root, path, asset_id, outcome, reason from run_item order by root, path"
UNKNOWN = "f" * 64


@pytest.fixture
def places(tmp_path: Path) -> Folders:
    for name in ("archive", "results", "work"):
        (tmp_path / name).mkdir()
    roots = {"archive": tmp_path / "archive"}
    return Folders(roots, tmp_path / "results", tmp_path / "work", roots, tmp_path / "results", tmp_path / "work")


def known(database: Engine, places: Folders, name: str) -> str:
    """The asset of a new file with this name, which the catalog has seen."""
    (places.media_roots["archive"] / name).write_text(name)
    (found,) = register(database, places.media_roots, [Location("archive", name)])
    assert isinstance(found, RegisteredAsset)
    return found.asset_id


def start(database: Engine, places: Folders, asset_ids: Sequence[str]) -> Shard:
    run = RunStart("process_media", "run", {}, START, START)
    folder = RunFolder(places.work, run.dag_id, run.run_id)
    return begin_shard(database, places, folder, run, RunRequest((), tuple(asset_ids), (Stage.PROBE,)))


def rows(database: Engine, sql: str) -> list[tuple[object, ...]]:
    with database.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def test_a_file_that_vanished_since_it_was_planned_is_rejected_as_its_asset(
    media_database: Engine, places: Folders
) -> None:
    there, gone = known(media_database, places, "a.mp4"), known(media_database, places, "b.mp4")
    (places.media_roots["archive"] / "b.mp4").unlink()

    assert [item.asset_id for item in start(media_database, places, [gone, there]).items] == [there]
    assert rows(media_database, ITEMS) == [
        ("archive", "a.mp4", there, "pending", None),
        ("archive", "b.mp4", gone, "rejected", "vanished"),
    ]


def test_an_asset_without_a_place_is_rejected_and_the_others_are_processed(
    media_database: Engine, places: Folders
) -> None:
    there, gone = known(media_database, places, "a.mp4"), known(media_database, places, "b.mp4")
    with media_database.begin() as connection:
        connection.execute(text("delete from media_location where path = 'b.mp4'"))

    assert [item.asset_id for item in start(media_database, places, [gone, UNKNOWN, there]).items] == [there]
    assert set(rows(media_database, ITEMS)) == {
        ("archive", "a.mp4", there, "pending", None),
        ("asset", gone, gone, "rejected", "vanished"),
        ("asset", UNKNOWN, None, "rejected", "vanished"),
    }


def test_a_file_with_other_content_by_now_is_not_taken_for_the_asset_that_was_asked_for(
    media_database: Engine, places: Folders
) -> None:
    before = known(media_database, places, "a.mp4")
    (places.media_roots["archive"] / "a.mp4").write_text("another tape")

    assert start(media_database, places, [before]).items == ()
    assert rows(media_database, ITEMS) == [("archive", "a.mp4", before, "rejected", "changed")]


def test_a_run_of_which_no_asset_is_known_is_refused(media_database: Engine, places: Folders) -> None:
    known(media_database, places, "a.mp4")

    with pytest.raises(ChoiceInvalid, match="asset ids must be known"):
        start(media_database, places, [UNKNOWN, "e" * 64])


def test_a_disk_that_is_not_mounted_makes_no_asset_vanish(media_database: Engine, places: Folders) -> None:
    asset_id = known(media_database, places, "a.mp4")
    (places.media_roots["archive"] / "a.mp4").unlink()

    with pytest.raises(RootAway, match="'archive' must hold files"):
        start(media_database, places, [asset_id])
    assert rows(media_database, ITEMS) == []
    assert rows(media_database, "select asset_id from media_location") == [(asset_id,)]
