"""`stage_contract.workspace`: which files are let in, and when a result is complete."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from stage_contract.errors import ItemRejected
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.result import OutputFile, Rejection
from stage_contract.vocabulary import Reason, ResultStatus, Stage, Variant
from stage_contract.workspace import ItemWorkspace, write_durably

ASSET = "ab" * 32
EARLIER = "1" * 24


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A media mount with one film in it, and a secret beside it."""
    folder = tmp_path / "media"
    (folder / "archive").mkdir(parents=True)
    (folder / "archive" / "film.mp4").write_text("a film")
    (tmp_path / "secret.txt").write_text("a secret")
    return folder


def workspace(media: Path, source: str, seen: Path | None = None, run_id: str = "test") -> ItemWorkspace:
    """A workspace for `source`, with the size and time of `seen` (the file itself, unless told)."""
    stat = (seen or media / source).stat()
    item = RequestItem(
        asset_id=ASSET,
        source=source,
        size_bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        fingerprint="0" * 24,
        inputs={Stage.PROBE: EARLIER},
    )
    request = StageRequest(
        stage=Stage.EXTRACT,
        task=TaskKey(dag_id="test", run_id=run_id, task_id="extract", try_number=1),
        variant=Variant.CPU,
        compute_type="none",
        parameters={},
        submitted_at=datetime.now(UTC),
        items=(item,),
    )
    return ItemWorkspace(request, item, media, media.parent / "results")


def reason_for(item: ItemWorkspace) -> Reason:
    with pytest.raises(ItemRejected) as caught:
        item.source()
    assert caught.value.message
    return caught.value.reason


def test_the_file_that_the_catalog_saw_is_let_in(media: Path) -> None:
    assert workspace(media, "archive/film.mp4").source().read_text() == "a film"


def test_a_link_within_the_media_is_followed(media: Path) -> None:
    (media / "archive" / "link.mp4").symlink_to("film.mp4")
    assert workspace(media, "archive/link.mp4").source() == (media / "archive" / "film.mp4").resolve()


def test_a_file_that_is_gone_has_vanished(media: Path) -> None:
    item = workspace(media, "archive/film.mp4")
    (media / "archive" / "film.mp4").unlink()
    assert reason_for(item) is Reason.VANISHED


@pytest.mark.parametrize("target", ["nowhere.mp4", "loop.mp4"])
def test_a_link_to_nothing_has_vanished(media: Path, target: str) -> None:
    (media / "archive" / "loop.mp4").symlink_to(target)
    assert reason_for(workspace(media, "archive/loop.mp4", seen=media / "archive" / "film.mp4")) is Reason.VANISHED


def test_a_file_that_grew_has_changed(media: Path) -> None:
    item = workspace(media, "archive/film.mp4")
    stat = (media / "archive" / "film.mp4").stat()
    (media / "archive" / "film.mp4").write_text("a film, and more")
    os.utime(media / "archive" / "film.mp4", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert reason_for(item) is Reason.CHANGED


def test_a_file_written_over_at_the_same_size_has_changed(media: Path) -> None:
    item = workspace(media, "archive/film.mp4")
    (media / "archive" / "film.mp4").write_text("A FILM")
    os.utime(media / "archive" / "film.mp4", ns=(0, 0))
    assert reason_for(item) is Reason.CHANGED


def test_a_link_out_of_the_media_is_refused(media: Path) -> None:
    (media / "archive" / "link.mp4").symlink_to(media.parent / "secret.txt")
    assert reason_for(workspace(media, "archive/link.mp4")) is Reason.OUTSIDE_ARCHIVE


@pytest.mark.parametrize("source", ["archive/../../secret.txt", "../secret.txt", "/etc/passwd"])
def test_a_path_out_of_the_media_is_refused(media: Path, source: str) -> None:
    assert reason_for(workspace(media, source)) is Reason.OUTSIDE_ARCHIVE


def test_a_folder_is_no_media(media: Path) -> None:
    (media / "archive" / "folder.mp4").mkdir()
    assert reason_for(workspace(media, "archive/folder.mp4")) is Reason.NOT_A_FILE


def test_a_named_pipe_is_no_media_and_is_not_waited_for(media: Path) -> None:
    os.mkfifo(media / "archive" / "pipe.mp4")
    assert reason_for(workspace(media, "archive/pipe.mp4")) is Reason.NOT_A_FILE


def test_earlier_results_are_found_by_their_fingerprint(media: Path) -> None:
    item = workspace(media, "archive/film.mp4")
    expected = media.parent / "results" / "assets" / ASSET / "media.probe" / EARLIER / "probe.json"
    assert item.input_file(Stage.PROBE, "probe.json") == expected


def test_a_result_that_was_not_asked_for_cannot_be_read(media: Path) -> None:
    with pytest.raises(KeyError):
        workspace(media, "archive/film.mp4").input_file(Stage.TRANSCRIBE, "transcript.json")


def test_a_result_is_complete_only_when_finished(media: Path) -> None:
    item = workspace(media, "archive/film.mp4")
    item.begin()
    item.write_text("a.txt", "content")
    assert item.complete_result() is None
    item.finish("1", ())
    result = item.complete_result()
    assert result is not None
    assert result.status is ResultStatus.DONE
    (file,) = result.files
    assert (file.name, file.size_bytes, file.sha256) == ("a.txt", 7, hashlib.sha256(b"content").hexdigest())
    assert result.inputs == {Stage.PROBE: EARLIER}


def test_nothing_shows_under_the_results_name_before_it_is_finished(media: Path) -> None:
    item = workspace(media, "archive/film.mp4")
    item.begin()
    item.new_file("sound.flac").write_bytes(b"sound")
    item.keep("sound.flac")
    assert not item.directory.exists()
    item.finish("1", ())
    assert sorted(file.name for file in item.directory.iterdir()) == ["result.json", "sound.flac"]


def test_a_listed_file_that_became_a_link_makes_the_result_incomplete(media: Path, tmp_path: Path) -> None:
    item = workspace(media, "archive/film.mp4")
    item.begin()
    item.write_text("out.txt", "text")
    item.finish("1", ())
    (tmp_path / "secret").write_text("look")
    (item.directory / "out.txt").unlink()
    (item.directory / "out.txt").symlink_to(tmp_path / "secret")
    assert item.complete_result() is None


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", ".hidden", "a/b", ""])
def test_a_result_cannot_name_a_file_elsewhere(name: str) -> None:
    with pytest.raises(ValidationError):
        OutputFile(name=name, size_bytes=1, sha256="0" * 64)


def test_a_file_that_was_not_kept_is_not_listed(media: Path) -> None:
    item = workspace(media, "archive/film.mp4")
    item.begin()
    item.new_file("half.flac").write_bytes(b"half")
    item.finish("1", ())
    result = item.complete_result()
    assert result is not None
    assert result.files == ()


def test_beginning_again_removes_what_an_earlier_attempt_left(media: Path) -> None:
    earlier, retry = workspace(media, "archive/film.mp4"), workspace(media, "archive/film.mp4")
    earlier.begin()
    earlier.write_text("old.txt", "old")
    retry.begin()
    retry.finish("1", ())
    assert [file.name for file in retry.directory.iterdir()] == ["result.json"]
    assert list(retry.directory.parent.iterdir()) == [retry.directory]


def test_two_runs_at_once_do_not_meet_and_the_first_result_stays(media: Path) -> None:
    first = workspace(media, "archive/film.mp4", run_id="first")
    second = workspace(media, "archive/film.mp4", run_id="second")
    for item, text in ((first, "1"), (second, "2")):
        item.begin()
        item.write_text("a.txt", text)
    first.finish("1", ())
    second.finish("1", ())
    assert (first.directory / "a.txt").read_text() == "1"
    assert list(first.directory.parent.iterdir()) == [first.directory]


def test_a_rejection_is_a_complete_result_without_files(media: Path) -> None:
    item = workspace(media, "archive/film.mp4")
    item.begin()
    item.write_text("a.txt", "content")
    item.finish("1", (), Rejection(reason=Reason.CORRUPT, message="it is broken"))
    result = item.complete_result()
    assert result is not None
    assert result.rejection == Rejection(reason=Reason.CORRUPT, message="it is broken")
    assert [file.name for file in item.directory.iterdir()] == ["result.json"]


def test_a_durable_write_replaces_the_whole_file(tmp_path: Path) -> None:
    write_durably(tmp_path / "a.json", "a long first text")
    write_durably(tmp_path / "a.json", "short")
    assert (tmp_path / "a.json").read_text() == "short"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
