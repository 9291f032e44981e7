import subprocess

import pytest

from console.airflow_api import AirflowApi, RunState
from console.backfill import _arguments, choices, location, read_list, require_report
from console.night import machine_time_zone
from console.terminal import REPOSITORY, ConsoleError


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
    assert choices(_arguments(["--language", "de", "archive"]), roots)["language"] == "de"


def test_a_backfill_by_hand_names_what_it_is_about(roots):
    with pytest.raises(ConsoleError, match="FOLDER=archive/2024 or LIST"):
        choices(_arguments([]), roots)


class AnsweringApi(AirflowApi):
    """Airflow with one run: its report and its note."""

    def __init__(self, report, note):
        self.base_url, self.report, self.note = "http://airflow", report, note

    def returned_text(self, dag_id, run_id, task_id):
        return self.report

    def run_note(self, dag_id, run_id):
        return self.note


RUN = RunState("archive_backfill", "by_hand__1", "success", None, None, None)


def test_a_run_that_could_not_begin_is_an_error_with_its_reason():
    api = AnsweringApi(None, "Anna was here\nbackfill: nothing is done outside the night's hours")
    with pytest.raises(ConsoleError, match="nothing was done: nothing is done outside the night's hours\nhttp"):
        require_report(api, RUN)
    with pytest.raises(ConsoleError, match="its tasks say why"):
        require_report(AnsweringApi(None, ""), RUN)


def test_a_report_is_handed_on():
    assert require_report(AnsweringApi("3 done", "backfill: nothing"), RUN) == "3 done"


@pytest.mark.parametrize(
    ("target", "setting", "flag"),
    [
        (["backfill", "FOLDER=archive"], "DRY_RUN", "--dry-run"),
        (["progress"], "WATCH", "--watch"),
        (["process", "FILE=a.mp4"], "URGENT", "--urgent"),
    ],
)
def test_a_flag_of_make_is_set_by_one_and_not_by_zero(target, setting, flag):
    def printed(*given):
        command = ["make", "--dry-run", "--no-print-directory", *target, *given]
        return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout

    assert f" {flag}" in printed(f"{setting}=1")
    assert f" {flag}" not in printed(f"{setting}=0")
    assert f" {flag}" not in printed()


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
