"""The media image by itself: what a request can ask, what changes under a stage's hands, what ffmpeg may open."""

import shutil
import subprocess
from pathlib import Path

import pytest

from media_stage.extract import ExtractWorker
from media_stage.probe import ProbeWorker
from stage_contract.models import STAGES_LABEL
from stage_contract.vocabulary import ExitCode, ItemOutcome, Reason, Stage
from tests.corpus.cases import MARKER
from tests.corpus.make_corpus import MEDIA_IMAGE
from tests.images.media.containers import (
    EXTRACT_PARAMETERS,
    PROBE_PARAMETERS,
    RESTRICTIONS,
    Shard,
    image_label,
    make_items,
    run_container,
)


@pytest.fixture
def archive(corpus: Path, tmp_path: Path) -> Path:
    """A small archive that a test may change."""
    folder = tmp_path / "archive"
    folder.mkdir(mode=0o755)
    for path in ("good/speech.mp4", "good/tone.mp3"):
        shutil.copyfile(corpus / path, folder / Path(path).name)
    return folder


def probe(archive: Path, folder: Path, *paths: str) -> Shard:
    items = make_items(archive, list(paths), Stage.PROBE, PROBE_PARAMETERS)
    return run_container(archive, items, Stage.PROBE, PROBE_PARAMETERS, folder)


def reason(shard: Shard, path: str) -> Reason | None:
    result = shard.results[path]
    assert result is not None
    return result.rejection.reason if result.rejection else None


def test_the_label_names_the_stages_versions() -> None:
    workers = (ProbeWorker, ExtractWorker)
    assert image_label(STAGES_LABEL) == {worker.stage.value: worker.version for worker in workers}


def test_the_image_runs_as_a_normal_user() -> None:
    command = ["docker", "image", "inspect", "--format", "{{.Config.User}}", MEDIA_IMAGE]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "nightreel"


def test_a_file_that_vanishes_between_the_stages_is_rejected_and_the_other_goes_on(
    archive: Path, tmp_path: Path
) -> None:
    probed = probe(archive, tmp_path, "speech.mp4", "tone.mp3")
    items = make_items(archive, ["speech.mp4", "tone.mp3"], Stage.EXTRACT, EXTRACT_PARAMETERS, earlier=probed)
    (archive / "speech.mp4").unlink()
    extracted = run_container(archive, items, Stage.EXTRACT, EXTRACT_PARAMETERS, tmp_path)
    assert reason(extracted, "speech.mp4") is Reason.VANISHED
    assert reason(extracted, "tone.mp3") is None


def test_a_file_that_changes_between_the_stages_is_rejected(archive: Path, tmp_path: Path) -> None:
    probed = probe(archive, tmp_path, "tone.mp3")
    items = make_items(archive, ["tone.mp3"], Stage.EXTRACT, EXTRACT_PARAMETERS, earlier=probed)
    with (archive / "tone.mp3").open("ab") as file:
        file.write(b"more")
    extracted = run_container(archive, items, Stage.EXTRACT, EXTRACT_PARAMETERS, tmp_path)
    assert reason(extracted, "tone.mp3") is Reason.CHANGED
    assert extracted.outcome.exit_code == ExitCode.ALL_REJECTED


def test_a_file_that_the_stage_may_not_read_is_rejected_with_a_remedy(archive: Path, tmp_path: Path) -> None:
    items = make_items(archive, ["tone.mp3"], Stage.PROBE, PROBE_PARAMETERS)
    (archive / "tone.mp3").chmod(0o000)
    shard = run_container(archive, items, Stage.PROBE, PROBE_PARAMETERS, tmp_path)
    assert reason(shard, "tone.mp3") is Reason.UNREADABLE
    assert "read permission" in shard.outcome.items[0].message


def test_a_link_that_leads_out_of_the_archive_is_not_followed(archive: Path, tmp_path: Path) -> None:
    items = make_items(archive, ["tone.mp3"], Stage.PROBE, PROBE_PARAMETERS)
    (archive / "tone.mp3").unlink()
    (archive / "tone.mp3").symlink_to("/etc/passwd")
    shard = run_container(archive, items, Stage.PROBE, PROBE_PARAMETERS, tmp_path)
    assert reason(shard, "tone.mp3") is Reason.OUTSIDE_ARCHIVE


def test_max_duration_is_kept_to(archive: Path, tmp_path: Path) -> None:
    parameters = PROBE_PARAMETERS | {"max_duration_s": 4.0}
    items = make_items(archive, ["speech.mp4", "tone.mp3"], Stage.PROBE, parameters)
    shard = run_container(archive, items, Stage.PROBE, parameters, tmp_path)
    assert (reason(shard, "speech.mp4"), reason(shard, "tone.mp3")) == (Reason.TOO_LARGE, None)


def test_complete_results_are_reused(archive: Path, tmp_path: Path) -> None:
    first, second = probe(archive, tmp_path, "tone.mp3"), probe(archive, tmp_path, "tone.mp3")
    assert second.outcome.items[0].outcome is ItemOutcome.REUSED
    assert second.results == first.results


@pytest.mark.parametrize("playlist", ["local.m3u8", "concat.mp4", "session.sdp", "dash.mpd"])
def test_ffprobe_alone_would_refuse_a_playlist_too(playlist: str, corpus: Path) -> None:
    # The look at the content is one guard, the lists of formats and protocols given to ffprobe are another.
    program = (
        "import os; from media_stage import ffprobe; from media_stage.media_file import MediaFile; "
        f"run = ffprobe.describe_file(MediaFile(os.open('/media/archive/{playlist}', os.O_RDONLY))); "
        "print(run.exit_code, run.stdout, run.stderr)"
    )
    mount = ("--volume", f"{corpus / 'playlists'}:/media/archive:ro")
    command = ["docker", "run", "--rm", *RESTRICTIONS, *mount, "--entrypoint", "python", MEDIA_IMAGE, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("1 ")
    assert MARKER not in told
    assert "Format not on whitelist" in told or "Invalid data" in told
