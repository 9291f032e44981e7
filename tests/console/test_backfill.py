import pytest

from console.backfill import _arguments, choices, location, read_list
from console.night import machine_time_zone
from console.terminal import ConsoleError


@pytest.fixture
def roots(tmp_path):
    folders = {"archive": tmp_path / "media", "tapes": tmp_path / "tapes"}
    for folder in folders.values():
        (folder / "2024").mkdir(parents=True)
    return folders


def test_a_path_on_this_machine_becomes_the_archives_name_for_it(roots, monkeypatch):
    assert location(str(roots["tapes"] / "2024"), roots) == "tapes/2024"
    assert location(str(roots["archive"]), roots) == "archive"
    monkeypatch.chdir(roots["archive"])
    assert location("2024/it's a $tape.mp4", roots) == "archive/2024/it's a $tape.mp4"


def test_a_name_of_the_archive_is_taken_as_it_is(roots):
    assert location("archive/2024/", roots) == "archive/2024"


def test_a_folder_elsewhere_is_refused_with_the_roots_there_are(roots, tmp_path):
    with pytest.raises(ConsoleError, match=r"must lie below archive/ .*tapes/ .*elsewhere"):
        location(str(tmp_path / "elsewhere"), roots)


def test_a_list_names_a_location_on_each_line(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("# for Anna\narchive/tape 7.mp4\n\n  archive/2024  \n")
    assert read_list(listed) == ["archive/tape 7.mp4", "archive/2024"]


@pytest.mark.parametrize("content", ["", "# nothing\n"])
def test_an_empty_list_is_refused(tmp_path, content):
    listed = tmp_path / "list.txt"
    listed.write_text(content)
    with pytest.raises(ConsoleError, match="must name at least one"):
        read_list(listed)


def test_what_is_not_said_is_left_to_the_form(roots):
    assert choices(_arguments(["archive"]), roots) == {"folders": ["archive"]}
    given = choices(_arguments(["--dry-run", "--order", "oldest", "--until", "06:00", "--", "archive"]), roots)
    assert given == {"folders": ["archive"], "order": "oldest", "until": "06:00", "dry_run": True}


def test_a_backfill_by_hand_names_what_it_is_about(roots):
    with pytest.raises(ConsoleError, match="FOLDER=archive/2024 or LIST"):
        choices(_arguments([]), roots)


def test_the_machines_time_zone_is_found_where_it_tells_one(tmp_path, monkeypatch):
    monkeypatch.delenv("TZ", raising=False)
    told, zone = tmp_path / "timezone", tmp_path / "zoneinfo" / "Europe" / "Berlin"
    zone.parent.mkdir(parents=True)
    zone.touch()
    link = tmp_path / "localtime"
    assert machine_time_zone(told, link) == "UTC"
    link.symlink_to(zone)
    assert machine_time_zone(told, link) == "Europe/Berlin"
    told.write_text("Europe/Paris\n")
    assert machine_time_zone(told, link) == "Europe/Paris"
