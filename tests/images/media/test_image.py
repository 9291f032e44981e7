"""The media image by itself: what a request can ask, what changes under a stage's hands, what ffmpeg may open."""

import shutil
from pathlib import Path

import pytest

from stage_contract.vocabulary import ExitCode, ItemOutcome, Reason, Stage
from tests.corpus.cases import MARKER
from tests.corpus.make_corpus import MEDIA_IMAGE
from tests.stage_container import Finished, StageBench, read_only, run_program


@pytest.fixture
def bench(corpus: Path, tmp_path: Path) -> StageBench:
    """A small archive that a test may change."""
    bench = StageBench(tmp_path)
    for path in ("good/speech.mp4", "good/tone.mp3"):
        shutil.copyfile(corpus / path, bench.archive / Path(path).name)
    return bench


def probe(bench: StageBench, *paths: str, **parameters: float) -> Finished:
    return bench.run(bench.request(Stage.PROBE, [bench.source(path) for path in paths], dict(parameters)))


def reason(done: Finished, path: str) -> Reason | None:
    asset_id = done.item(path).asset_id
    return next(report.reason for report in done.outcome.items if report.asset_id == asset_id)


def test_a_file_that_vanishes_between_the_stages_is_rejected_and_the_other_goes_on(bench: StageBench) -> None:
    probed = probe(bench, "speech.mp4", "tone.mp3")
    sources = [bench.source(path, probed) for path in ("speech.mp4", "tone.mp3")]
    (bench.archive / "speech.mp4").unlink()
    extracted = bench.run(bench.request(Stage.EXTRACT, sources, {}))
    assert reason(extracted, "speech.mp4") is Reason.VANISHED
    assert reason(extracted, "tone.mp3") is None


def test_a_file_that_changes_between_the_stages_is_rejected(bench: StageBench) -> None:
    request = bench.request(Stage.EXTRACT, [bench.source("tone.mp3", probe(bench, "tone.mp3"))], {})
    with (bench.archive / "tone.mp3").open("ab") as file:
        file.write(b"more")
    extracted = bench.run(request)
    assert reason(extracted, "tone.mp3") is Reason.CHANGED
    assert extracted.exit_code == extracted.outcome.exit_code == ExitCode.ALL_REJECTED


def test_a_file_that_the_stage_may_not_read_is_rejected_with_a_remedy(bench: StageBench) -> None:
    request = bench.request(Stage.PROBE, [bench.source("tone.mp3")], {})
    (bench.archive / "tone.mp3").chmod(0o000)
    done = bench.run(request)
    assert reason(done, "tone.mp3") is Reason.UNREADABLE
    assert "read permission" in done.outcome.items[0].message


def test_a_link_that_leads_out_of_the_archive_is_not_followed(bench: StageBench) -> None:
    request = bench.request(Stage.PROBE, [bench.source("tone.mp3")], {})
    (bench.archive / "tone.mp3").unlink()
    (bench.archive / "tone.mp3").symlink_to("/etc/passwd")
    assert reason(bench.run(request), "tone.mp3") is Reason.OUTSIDE_ARCHIVE


def test_max_duration_is_kept_to(bench: StageBench) -> None:
    done = probe(bench, "speech.mp4", "tone.mp3", max_duration_s=4.0)
    assert (reason(done, "speech.mp4"), reason(done, "tone.mp3")) == (Reason.TOO_LARGE, None)


def test_complete_results_are_reused(bench: StageBench) -> None:
    first, result = probe(bench, "tone.mp3").result("tone.mp3"), probe(bench, "tone.mp3")
    assert result.outcome.items[0].outcome is ItemOutcome.REUSED
    assert result.result("tone.mp3") == first


@pytest.mark.parametrize("playlist", ["local.m3u8", "concat.mp4", "session.sdp", "dash.mpd"])
def test_ffprobe_alone_would_refuse_a_playlist_too(playlist: str, corpus: Path) -> None:
    # The look at the content is one guard, the lists of formats and protocols given to ffprobe are another.
    program = (
        "import os; from media_stage import ffprobe; from media_stage.media_file import MediaFile; "
        f"run = ffprobe.describe_file(MediaFile(os.open('/media/archive/{playlist}', os.O_RDONLY))); "
        "print(run.exit_code, run.stdout, run.stderr)"
    )
    media = read_only(corpus / "playlists", "/media/archive")
    ended = run_program(MEDIA_IMAGE, ["python", "-c", program], media)
    assert ended.exit_code == 0, ended.stderr
    told = ended.stdout
    assert told.startswith("1 ")
    assert MARKER not in told
    assert "Format not on whitelist" in told or "Invalid data" in told


def test_the_table_of_pixel_formats_is_what_the_images_ffprobe_tells() -> None:
    told = run_program(MEDIA_IMAGE, ["ffprobe", "-v", "error", "-show_pixel_formats", "-of", "json"])
    kept = run_program(MEDIA_IMAGE, ["cat", "/opt/nightreel/pixel_formats.json"])
    assert told.exit_code == kept.exit_code == 0
    assert kept.stdout == told.stdout
    assert "yuv420p10le" in kept.stdout
