import shutil
import stat

import pytest

from console.process import Job, stage_in
from console.terminal import ConsoleError


@pytest.fixture
def places(tmp_path):
    archive, inbox = tmp_path / "archive", tmp_path / "data" / "inbox"
    archive.mkdir()
    inbox.mkdir(parents=True)
    return archive, inbox


def test_a_file_of_the_archive_stays_where_it_is(places):
    archive, inbox = places
    (archive / "2024").mkdir()
    (archive / "2024" / "-tape 7.mp4").write_text("media")
    assert stage_in(archive / "2024" / "-tape 7.mp4", archive, inbox) == "archive/2024/-tape 7.mp4"
    assert stage_in(archive / "2024", archive, inbox) == "archive/2024"
    assert list(inbox.iterdir()) == []


def test_a_file_of_another_archive_stays_where_it_is(places, tmp_path):
    (tmp_path / "tapes").mkdir()
    (tmp_path / "tapes" / "7.mp4").write_text("media")
    archive, inbox = places
    assert stage_in(tmp_path / "tapes" / "7.mp4", archive, inbox, {"tapes": tmp_path / "tapes"}) == "tapes/7.mp4"
    assert list(inbox.iterdir()) == []


def test_a_missing_file_of_the_archive_is_left_to_the_run_to_reject(places):
    archive, inbox = places
    assert stage_in(archive / "gone.mp4", archive, inbox) == "archive/gone.mp4"


def test_a_link_in_the_archive_is_named_not_followed(places, tmp_path):
    archive, inbox = places
    (tmp_path / "secret").write_text("x")
    (archive / "link.mp4").symlink_to(tmp_path / "secret")
    assert stage_in(archive / "link.mp4", archive, inbox) == "archive/link.mp4"


def test_a_file_from_elsewhere_is_copied_to_the_inbox_once(places, tmp_path):
    archive, inbox = places
    tape = tmp_path / "tape.mp4"
    tape.write_text("media")
    assert stage_in(tape, archive, inbox) == "inbox/tape.mp4"
    assert stage_in(tape, archive, inbox) == "inbox/tape.mp4"
    assert (inbox / "tape.mp4").read_text() == "media"


def test_a_private_file_is_readable_by_the_stages_user_once_copied(places, tmp_path):
    archive, inbox = places
    tape = tmp_path / "tape.mp4"
    tape.write_text("media")
    tape.chmod(0o600)
    stage_in(tape, archive, inbox)
    assert stat.S_IMODE((inbox / "tape.mp4").stat().st_mode) == 0o644


def test_a_copy_that_breaks_off_leaves_nothing_behind(places, tmp_path, monkeypatch):
    archive, inbox = places
    tape = tmp_path / "tape.mp4"
    tape.write_text("media")

    def run_full(_source, target):
        target.write_text("me")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", run_full)
    with pytest.raises(OSError, match="No space left"):
        stage_in(tape, archive, inbox)
    assert list(inbox.iterdir()) == []


def test_another_file_of_the_same_name_is_never_overwritten(places, tmp_path):
    archive, inbox = places
    (inbox / "tape.mp4").write_text("first")
    (tmp_path / "tape.mp4").write_text("second")
    with pytest.raises(ConsoleError, match="another file of that name"):
        stage_in(tmp_path / "tape.mp4", archive, inbox)
    assert (inbox / "tape.mp4").read_text() == "first"


def test_a_folder_from_elsewhere_is_refused_with_the_remedy(places, tmp_path):
    archive, inbox = places
    with pytest.raises(ConsoleError, match="lie in the archive"):
        stage_in(tmp_path / "data", archive, inbox)


def test_urgent_work_has_a_dag_of_its_own():
    assert Job(("archive/a.mp4",), urgent=True).dag_id == "process_media_urgent"
    assert Job(("archive/a.mp4",)).dag_id == "process_media"
