"""The archive's pages as a person gets them."""

import re
from html import unescape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from operators.publish import publish_asset
from stage_contract.outputs import (
    CONTACT_SHEET_FILE,
    Entity,
)
from stage_contract.result import result_dir
from stage_contract.vocabulary import Reason, Stage
from tests.operators.sample_results import add_asset, make_result
from tests.plugins.archive.conftest import Films, probed

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{7*7}}"


def shown(page: str) -> str:
    """What a person reads."""
    blocks_apart = re.sub(r"</?(?:td|th|li|p|h\d|div)\b[^>]*>", " ", page)
    return " ".join(unescape(re.sub(r"<[^>]*>", "", blocks_apart)).split())


def test_an_empty_archive_says_how_to_fill_it(media_database: Engine, viewer: TestClient) -> None:
    page = viewer.get("/archive")

    assert page.status_code == 200
    assert "Nothing was processed yet" in page.text
    assert "make process" in page.text
    assert "Nothing was found" in viewer.get("/archive", params={"q": "moon"}).text


def test_without_a_search_the_newest_are_shown_and_what_one_can_search_for(film: Films, viewer: TestClient) -> None:
    asset_id = film("moon.mp4", label="traffic light")

    page = viewer.get("/archive").text

    assert f'href="/archive/asset/{asset_id}"' in page
    assert "moon.mp4" in shown(page)
    assert "?q=%22traffic+light%22&amp;in=objects" in page or "?q=%22traffic%20light%22&amp;in=objects" in page
    assert CONTACT_SHEET_FILE in page


def test_a_hit_is_shown_with_its_words_marked_its_picture_and_a_way_to_its_time(
    film: Films, viewer: TestClient
) -> None:
    asset_id = film("moon.mp4", "Good evening.", "We go to the Moon.", "Thank you.")

    page = viewer.get("/archive", params={"q": "moon", "in": "speech"}).text

    assert "We go to the <mark>Moon</mark>." in page
    assert "Good evening." in page
    assert "Thank you." in page
    (link,) = re.findall(r'href="(/archive/asset/[^"]+#player)"', page)
    assert unescape(link) == f"/archive/asset/{asset_id}?q=moon&in=speech&t=4.00#player"
    # Of the four frames, one a second, the last is nearest: a tile in the only row of four.
    assert re.findall(r'viewBox="([^"]*)"', page) == ["0 0 320.0 378.0", "976.0 4.0 320.0 378.0"]
    assert f"/archive/asset/{asset_id}/file/vision.analyze/" in page


def test_what_was_asked_for_stays_in_the_form_and_a_link_to_the_next_page_asks_the_same(
    film: Films, viewer: TestClient
) -> None:
    for number in range(11):
        film(f"{number}.mp4", "The moon.")

    page = viewer.get("/archive", params={"q": "moon", "in": "speech", "language": "en", "folder": "archive"}).text

    assert 'value="moon"' in page
    assert '<option value="speech" selected>' in page
    assert "<option selected>en</option>" in page
    assert page.count("<article") == 10
    (after,) = re.findall(r'rel="next" href="([^"]+)"', page)
    assert viewer.get(unescape(after)).text.count("<article") == 1
    found = re.findall(r'href="(/archive/asset/[^"#]+)"', page)[0]
    (back,) = re.findall(r'href="([^"]+)">← What was found', viewer.get(unescape(found)).text)
    assert viewer.get(unescape(back)).text == page


def test_a_search_that_cannot_be_is_refused_on_the_page(film: Films, viewer: TestClient) -> None:
    asset_id = film()

    for path in ("/archive", f"/archive/asset/{asset_id}"):
        page = viewer.get(path, params={"q": "-moon"})
        assert (page.status_code, "a search must have a word that is to be found" in page.text) == (200, True)


def test_an_assets_page_plays_it_at_the_hit_and_shows_what_was_found(film: Films, viewer: TestClient) -> None:
    kennedy = Entity(segment_index=1, start=0, end=7, text="Kennedy", label="PER")
    asset_id = film("film.mp4", "Ask not.", "Kennedy said so.", entities=(kennedy,))

    page = viewer.get(f"/archive/asset/{asset_id}", params={"t": "4.5", "q": "dog"}).text

    assert f'src="/archive/asset/{asset_id}/media#t=4.50"' in page
    assert re.search(r'<track kind="captions"[^>]+transcript\.vtt"', page)
    assert re.search(r'<li id="line-1" data-from="4.0" data-to="8.0" class="now"', page)
    assert 'class="now"' not in viewer.get(f"/archive/asset/{asset_id}").text
    read = shown(page)
    for told in (
        "Kennedy said so.", "PER", "key words", "BREAKING", "dog", "2 shots", "archive/film.mp4", "h264, 320",
        "aac, 44 100 Hz, 2 channels", "Found here", "90% sure", "media.extract",
    ):  # fmt: skip
        assert told in read, told


def test_nothing_from_names_speech_or_models_becomes_markup(film: Films, viewer: TestClient) -> None:
    name = EVIL.replace("/", "\N{DIVISION SLASH}")
    entity = Entity(segment_index=0, start=0, end=len(EVIL), text=EVIL, label=EVIL)
    fills = {Stage.PROBE: probed(EVIL, EVIL, {EVIL: EVIL})}
    asset_id = film(name + ".mp4", f"{EVIL} moon", label=EVIL, screen=f"{EVIL} moon", entities=(entity,), fills=fills)
    clean = viewer.get(f"/archive/asset/{film('clean.mp4', 'moon')}").text.count("<script")
    searches = [{}, {"q": "moon"}, {"q": EVIL}, {"q": EVIL, "in": "names"}, {"q": EVIL, "in": "objects"}]

    pages = [viewer.get("/archive", params=query).text for query in searches]
    pages += [viewer.get(f"/archive/asset/{asset_id}", params=query).text for query in searches]

    for page in pages:
        assert page.count("<script") in (clean, clean - 1)
        assert "<img src=x" not in page
        assert "49" not in re.findall(r"&\w+;(49)", page)
        for tag in re.findall(r"<[^>]*>", page):
            assert "onerror" not in re.sub(r'"[^"]*"', "", tag)
    assert f"{EVIL} moon" in shown(pages[1])
    for told in (EVIL, name):
        assert told in unescape(pages[len(searches)])


def test_a_rejected_asset_says_why(media_database: Engine, results: Path, media: Path, viewer: TestClient) -> None:
    asset_id = add_asset(media_database, media / "archive")
    refused = make_result(results, asset_id, Stage.PROBE, rejection=Reason.CORRUPT)
    publish_asset(media_database, results, asset_id, {Stage.PROBE: refused})

    read = shown(viewer.get(f"/archive/asset/{asset_id}").text)

    assert "media.probe gave nothing (corrupt): rejected: corrupt" in read


def test_an_asset_that_waits_says_so_and_one_that_failed_says_when_it_is_tried_again(
    media_database: Engine, media: Path, viewer: TestClient
) -> None:
    asset_id = add_asset(media_database, media / "archive")
    assert "It was not processed yet" in viewer.get(f"/archive/asset/{asset_id}").text
    with media_database.begin() as connection:
        failure = "insert into asset_failure values (:asset, 4, now(), null, 'no space left')"
        connection.execute(text(failure), {"asset": asset_id})

    read = shown(viewer.get(f"/archive/asset/{asset_id}").text)

    assert "It failed 4 times in backfills: no space left. It is parked" in read


def test_the_runs_of_an_asset_lead_to_airflow(film: Films, viewer: TestClient, media_database: Engine) -> None:
    asset_id = film()
    with media_database.begin() as connection:
        connection.execute(
            text(
                "insert into processing_run (dag_id, run_id, started_at, finished_at, outcome) "
                "values ('process_media', 'manual__1+2', now(), now(), 'failed')"
            )
        )
        connection.execute(
            text(
                "insert into run_item (dag_id, run_id, root, path, asset_id, outcome, message) "
                "values ('process_media', 'manual__1+2', 'archive', 'film.mp4', :asset, 'failed', 'it broke')"
            ),
            {"asset": asset_id},
        )

    page = viewer.get(f"/archive/asset/{asset_id}").text

    assert '<a href="/dags/process_media/runs/manual__1%2B2" target="_top">' in page
    assert "it broke" in page


def test_a_place_that_vanished_is_marked(film: Films, viewer: TestClient, media_database: Engine) -> None:
    asset_id = film()
    with media_database.begin() as connection:
        connection.execute(text("update media_location set vanished_at = timestamptz '2026-03-01 12:00Z'"))

    assert "Lay at archive/film.mp4 gone since 2026-03-01 13:00:00" in shown(
        viewer.get(f"/archive/asset/{asset_id}").text
    )


@pytest.mark.parametrize("asset_id", ["0" * 64, "nonsense", "%2E%2E"])
def test_an_unknown_asset_is_not_found(media_database: Engine, viewer: TestClient, asset_id: str) -> None:
    assert viewer.get(f"/archive/asset/{asset_id}").status_code == 404
    assert viewer.get(f"/archive/asset/{asset_id}/media").status_code == 404


@pytest.mark.parametrize("query", ["t=nan", "t=-1", "t=inf", "page=0", "in=somewhere", "lines=0", "q=" + "x" * 301])
def test_a_query_that_makes_no_sense_is_refused(film: Films, viewer: TestClient, query: str) -> None:
    path = "/archive" if query.split("=")[0] in ("page", "in", "q") else f"/archive/asset/{film()}"

    assert viewer.get(f"{path}?{query}").status_code == 422


def test_without_its_sheet_an_asset_is_found_without_pictures(film: Films, viewer: TestClient, results: Path) -> None:
    asset_id = film("moon.mp4", "The moon.")
    (result,) = (results / "assets" / asset_id / "vision.analyze").iterdir()
    assert result == result_dir(results, asset_id, Stage.ANALYZE, result.name)
    (result / CONTACT_SHEET_FILE).unlink()

    page = viewer.get("/archive", params={"q": "moon"})

    assert page.status_code == 200
    assert "<image" not in page.text
