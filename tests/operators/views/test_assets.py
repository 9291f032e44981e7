"""What is known about one asset, read from what was published."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.publish import publish_asset
from operators.views import asset_list, assets
from stage_contract.outputs import Entity
from stage_contract.vocabulary import Reason, Stage
from tests.operators.sample_results import add_asset, make_result
from tests.operators.views.archive_samples import add_film


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An empty archive."""
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


def test_all_that_was_found_is_told(media_database: Engine, results: Path, archive: Path) -> None:
    kennedy = Entity(segment_index=1, start=0, end=7, text="Kennedy", label="PER")
    asset_id = add_film(
        media_database, results, archive, "film.mp4", "Ask not.", "Kennedy said so.", label="dog", entities=(kennedy,)
    )

    asset = assets.read_asset(media_database, asset_id)

    assert asset is not None
    assert (asset.name, asset.duration_s, [place.shown for place in asset.places]) == (
        "film.mp4",
        8.0,
        ["archive/film.mp4"],
    )
    assert asset.probe is not None
    assert asset.probe.video[0].codec == "h264"
    assert {state.stage: state.status for state in asset.stages} == dict.fromkeys(Stage, "done")
    assert [file.name for file in asset.state(Stage.TRANSCRIBE).files] == ["transcript.json", "transcript.srt"]
    assert asset.speech is not None
    assert (asset.speech.language, asset.speech.speech_s) == ("en", 7.0)
    assert asset.tone is not None
    assert (asset.tone.label, asset.tone.engine) == ("positive", "vader")
    assert asset.analysis is not None
    assert (asset.analysis.frame_count, asset.analysis.shots, asset.analysis.interval_s) == (4, 2, 1.0)
    assert [(seen.label, seen.frames, seen.runs, seen.spans) for seen in asset.objects] == [
        ("dog", 4, 1, ((0.0, 4.0),)),
        ("tie", 4, 1, ((0.0, 4.0),)),
    ]
    assert asset.names == (assets.Mention("Kennedy", "PER", 1, (4.0,)),)
    assert asset.screen_texts == (assets.ScreenText("BREAKING", 4, 0.0),)
    assert asset.phrases == ("key words",)
    assert [tag.label for tag in asset.tags] == ["speech"]
    assert asset.shots == ((0.0, 2.0), (2.0, 4.0))
    assert asset.loudness_lufs == -23.1


def test_an_object_that_comes_and_goes_has_a_span_for_each_time(
    media_database: Engine, results: Path, archive: Path
) -> None:
    asset_id = add_film(media_database, results, archive, "film.mp4", "Hello.", frames=8)
    with media_database.begin() as connection:
        connection.execute(text("delete from detection where frame_index in (0, 3, 4)"))

    asset = assets.read_asset(media_database, asset_id)

    assert asset is not None
    assert [(seen.frames, seen.spans) for seen in asset.objects] == [(5, ((1.0, 3.0), (5.0, 8.0)))]


def test_a_rejection_is_told_with_its_reason_and_a_stage_that_did_not_run_with_none(
    media_database: Engine, results: Path, archive: Path
) -> None:
    asset_id = add_asset(media_database, archive)
    refused = make_result(results, asset_id, Stage.PROBE, rejection=Reason.CORRUPT)
    publish_asset(media_database, results, asset_id, {Stage.PROBE: refused})

    asset = assets.read_asset(media_database, asset_id)

    assert asset is not None
    probed = asset.state(Stage.PROBE)
    assert (probed.status, probed.reason, probed.message) == ("rejected", "corrupt", "rejected: corrupt")
    assert {state.status for state in asset.stages[1:]} == {""}
    assert (asset.probe, asset.speech, asset.analysis, asset.objects, asset.shots) == (None, None, None, (), ())


def test_places_where_it_still_is_come_first(media_database: Engine, archive: Path) -> None:
    asset_id = add_asset(media_database, archive, name="a.mp4")
    add_asset(media_database, archive, name="b.mp4")
    with media_database.begin() as connection:
        connection.execute(text("update media_location set vanished_at = now() where path = 'a.mp4'"))

    places = assets.read_places(media_database, asset_id)

    assert [(place.path, place.vanished_at is None) for place in places] == [("b.mp4", True), ("a.mp4", False)]


def test_names_that_would_turn_or_hide_text_are_written_out(media_database: Engine, archive: Path) -> None:
    asset_id = add_asset(media_database, archive, name="evil\u202e4pm.exe")

    asset = assets.read_asset(media_database, asset_id)

    assert asset is not None
    assert (asset.name, asset.places[0].path) == ("evil\\u202e4pm.exe", "evil\u202e4pm.exe")


def test_a_probe_of_another_version_is_left_out(media_database: Engine, archive: Path) -> None:
    asset_id = add_asset(media_database, archive)
    with media_database.begin() as connection:
        connection.execute(text("""update media_asset set probe = '{"of": "long ago"}'"""))

    asset = assets.read_asset(media_database, asset_id)

    assert asset is not None
    assert asset.probe is None


def test_an_unknown_asset_is_none(media_database: Engine) -> None:
    assert assets.read_asset(media_database, "0" * 64) is None
    assert assets.read_asset(media_database, "nonsense") is None
    assert assets.read_file(media_database, "nonsense") == (None, ())


def test_the_transcript_is_read_in_pages_that_a_time_leads_to(
    media_database: Engine, results: Path, archive: Path
) -> None:
    asset_id = add_film(media_database, results, archive, "film.mp4", *(f"Line {number}." for number in range(6)))

    lines = assets.read_utterances(media_database, asset_id, 2, 3)

    assert [(line.index, line.start_s, line.end_s, line.text) for line in lines] == [
        (3, 12.0, 16.0, "Line 3."),
        (4, 16.0, 20.0, "Line 4."),
    ]
    assert [assets.utterances_before(media_database, asset_id, time_s) for time_s in (0, 15.9, 16, 1e6)] == [0, 3, 4, 5]


def test_what_was_published_last_is_the_newest(media_database: Engine, results: Path, archive: Path) -> None:
    ids = [add_film(media_database, results, archive, f"{number}.mp4", "Hello.") for number in range(3)]

    found = asset_list.newest(media_database, 2)

    assert [card.asset_id for card in found] == [ids[2], ids[1]]
    assert found[0].sheet is not None
    assert (found[0].sheet.frame_count, found[0].language, found[0].place) == (4, "en", "archive/2.mp4")
    assert asset_list.totals(media_database) == asset_list.Totals(3, 3, 3, 24.0)


def test_an_empty_archive_has_nothing(media_database: Engine) -> None:
    assert asset_list.newest(media_database, 5) == []
    assert asset_list.totals(media_database) == asset_list.Totals(0, 0, 0, 0.0)
