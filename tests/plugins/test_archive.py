"""The archive's pages and files as a person gets them."""

import os
import re
import struct
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from nightreel_ui.thumbnails import _sheet_size
from operators import settings
from operators.publish import publish_asset
from stage_contract.outputs import (
    CONTACT_SHEET_FILE,
    PROBE_FILE,
    SRT_FILE,
    VTT_FILE,
    AudioStream,
    Entity,
    ProbeOutput,
    VideoStream,
)
from stage_contract.result import result_dir
from stage_contract.vocabulary import Reason, Stage
from stage_contract.workspace import ItemWorkspace
from tests.operators.sample_results import Fill, add_asset, make_result, showing, speaking
from tests.operators.views.archive_samples import add_film
from tests.plugins.conftest import Visitors

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{7*7}}"
JPEG = b"\xff\xd8\xff\xc0" + struct.pack(">HBHH", 11, 8, 404, 1300) + bytes(6)

Films = Callable[..., str]


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the archives are mounted; `archive` is there."""
    folder = tmp_path / "media"
    (folder / "archive").mkdir(parents=True)
    monkeypatch.setattr(settings, "MEDIA_MOUNT", folder)
    return folder


@pytest.fixture
def film(media_database: Engine, results: Path, media: Path, monkeypatch: pytest.MonkeyPatch) -> Films:
    """Adds a film that browsers play, with a transcript in all its forms and a contact sheet of four frames."""
    monkeypatch.setattr(settings, "RESULTS_MOUNT", results)
    _sheet_size.cache_clear()

    def add(name: str = "film.mp4", *sentences: str, **more) -> str:
        fills = {Stage.TRANSCRIBE: subtitled(*(sentences or ("Ask not.",))), Stage.ANALYZE: pictured(**more)}
        entities = more.pop("entities", ())
        return add_film(
            media_database, results, media / "archive", name, entities=entities, more=fills | more.pop("fills", {})
        )

    return add


@pytest.fixture
def viewer(visit: Visitors) -> TestClient:
    """Somebody who may look and nothing else."""
    return visit("viewer")


def subtitled(*sentences: str) -> Fill:
    def fill(workspace: ItemWorkspace) -> None:
        speaking(*sentences)(workspace)
        workspace.write_text(VTT_FILE, "WEBVTT\n")

    return fill


def pictured(label: str = "dog", screen: str = "BREAKING", **_: object) -> Fill:
    def fill(workspace: ItemWorkspace) -> None:
        showing(4, label=label, text=screen)(workspace)
        workspace.new_file(CONTACT_SHEET_FILE).write_bytes(JPEG)
        workspace.keep(CONTACT_SHEET_FILE)

    return fill


def probed(codec: str, container: str, tags: dict[str, str] | None = None) -> Fill:
    def fill(workspace: ItemWorkspace) -> None:
        probe = ProbeOutput(
            sha256=workspace.item.asset_id,
            size_bytes=6,
            container=container,
            duration_s=8.0,
            video=(VideoStream(index=0, codec=codec, width_px=320, height_px=240),),
            audio=(AudioStream(index=1, codec="aac", sample_rate_hz=44_100, channels=2),),
            tags=tags or {},
        )
        workspace.write_json(PROBE_FILE, probe)

    return fill


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
    assert re.findall("viewBox=\"([^\"]*)\"", page) == ["976.0 4 320.0 378.0"]
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


def test_the_file_comes_in_ranges_with_a_type_that_cannot_run(film: Films, viewer: TestClient, media: Path) -> None:
    path = f"/archive/asset/{film()}/media"
    content = (media / "archive/film.mp4").read_bytes()

    whole = viewer.get(path)
    part = viewer.get(path, headers={"Range": "bytes=2-5"})
    end = viewer.get(path, headers={"Range": "bytes=-3"})
    beyond = viewer.get(path, headers={"Range": "bytes=9999-"})

    assert (whole.status_code, whole.content) == (200, content)
    assert (part.status_code, part.content) == (206, content[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(content)}"
    assert (end.status_code, end.content) == (206, content[-3:])
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")
    for answer in (whole, part):
        assert answer.headers["content-type"] == "video/mp4"
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_stays_open(film: Films, viewer: TestClient) -> None:
    asset_id = film()
    paths = [f"/archive/asset/{asset_id}", f"/archive/asset/{asset_id}/media", "/archive?q=dog"]
    for path in paths:
        viewer.get(path)
    before = open_files()

    for path in paths:
        viewer.get(path)
        viewer.get(path, headers={"Range": "bytes=9999-"})

    assert open_files() <= before


def leads_out(file: Path) -> None:
    outside = file.parents[3] / "secret.mp4"
    file.rename(outside)
    file.symlink_to(outside)


def in_a_folder_that_leads_out(file: Path) -> None:
    outside = file.parents[3] / "elsewhere"
    file.parent.rename(outside)
    file.parent.symlink_to(outside)


def is_another(file: Path) -> None:
    stat = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def is_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("happens", [Path.unlink, leads_out, in_a_folder_that_leads_out, is_another, is_a_pipe])
def test_a_file_that_is_gone_or_another_or_leads_out_is_not_played(
    film: Films, viewer: TestClient, media: Path, happens: Callable[[Path], object]
) -> None:
    asset_id = film("2024/film.mp4")
    happens(media / "archive/2024/film.mp4")

    assert viewer.get(f"/archive/asset/{asset_id}/media").status_code == 404
    page = viewer.get(f"/archive/asset/{asset_id}").text
    assert "No file of it is there" in page
    assert '<audio id="media"' in page


def test_a_link_that_stays_inside_is_played(film: Films, viewer: TestClient, media: Path) -> None:
    asset_id = film()
    file = media / "archive/film.mp4"
    file.rename(media / "archive/real.mp4")
    file.symlink_to("real.mp4")

    assert viewer.get(f"/archive/asset/{asset_id}/media").status_code == 200


@pytest.mark.parametrize("path", ["../secret.mp4", "/etc/hostname", "a/../../secret.mp4", "no\\0name"])
def test_a_path_in_the_catalog_that_leads_out_is_not_followed(
    film: Films, viewer: TestClient, media: Path, media_database: Engine, path: str
) -> None:
    asset_id = film()
    (media / "archive/film.mp4").rename(media / "secret.mp4")
    with media_database.begin() as connection:
        connection.execute(text("update media_location set path = :path"), {"path": path})

    assert viewer.get(f"/archive/asset/{asset_id}/media").status_code == 404


def test_a_root_that_is_not_mounted_any_more_is_nothing_to_play(
    film: Films, viewer: TestClient, media_database: Engine
) -> None:
    asset_id = film()
    with media_database.begin() as connection:
        connection.execute(text("update media_location set root = 'tapes'"))

    assert viewer.get(f"/archive/asset/{asset_id}/media").status_code == 404


def test_more_archives_are_played(
    film: Films, viewer: TestClient, media_database: Engine, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset_id = film()
    (media / "archive").rename(media / "tapes")
    monkeypatch.setenv("NIGHTREEL_MORE_ARCHIVES", "tapes=/mnt/tapes")
    with media_database.begin() as connection:
        connection.execute(text("update media_location set root = 'tapes'"))

    assert viewer.get(f"/archive/asset/{asset_id}/media").status_code == 200


def test_what_browsers_do_not_play_is_said_and_its_sound_is_offered(film: Films, viewer: TestClient) -> None:
    asset_id = film(fills={Stage.PROBE: probed("mpeg2video", "mxf")})

    page = viewer.get(f"/archive/asset/{asset_id}", params={"t": 4}).text

    assert "browsers do not play files of the format mxf" in page
    (sound,) = re.findall(r'<audio id="media"[^>]+src="([^"#]+)#t=4.00"', page)
    answer = viewer.get(sound, headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (206, b"fL", "audio/flac")
    assert viewer.get(f"/archive/asset/{asset_id}/media").status_code == 404


def test_transcripts_are_downloaded_under_the_films_name(film: Films, viewer: TestClient) -> None:
    page = viewer.get(f"/archive/asset/{film('The Moon.mp4')}").text

    links = [unescape(link) for link in re.findall(r'<a href="([^"]+)" download', page)]
    offered = {link.split("?")[0].rpartition("/")[2]: viewer.get(link) for link in links}

    assert {SRT_FILE, VTT_FILE, "transcript.json"} <= set(offered)
    assert offered[VTT_FILE].text == "WEBVTT\n"
    names = {name: answer.headers["content-disposition"] for name, answer in offered.items()}
    assert names[SRT_FILE] == "attachment; filename*=utf-8''The%20Moon.srt"
    assert names["transcript.json"] == "attachment; filename*=utf-8''The%20Moon.transcript.json"
    assert {answer.headers["content-type"] for answer in offered.values()} == {"application/octet-stream"}


@pytest.mark.parametrize(
    "name", ["result.json", "..%2Fresult.json", "../../../secret", "%2Fetc%2Fpasswd", "transcript.srt%00", "none.srt"]
)
def test_only_files_that_a_current_result_lists_can_be_had(
    film: Films, viewer: TestClient, results: Path, name: str
) -> None:
    asset_id = film()
    (result,) = (results / "assets" / asset_id / "audio.transcribe").iterdir()
    base = f"/archive/asset/{asset_id}/file/audio.transcribe"
    assert viewer.get(f"{base}/{result.name}/{SRT_FILE}").status_code == 200

    assert viewer.get(f"{base}/{result.name}/{name}").status_code == 404
    assert viewer.get(f"{base}/{'0' * 24}/{SRT_FILE}").status_code == 404
    assert viewer.get(f"/archive/asset/{asset_id}/file/media.extract/{result.name}/{SRT_FILE}").status_code == 404
    assert viewer.get(f"/archive/asset/{'0' * 64}/file/audio.transcribe/{result.name}/{SRT_FILE}").status_code == 404


def test_a_result_that_leads_elsewhere_is_not_given_out(
    film: Films, viewer: TestClient, results: Path, tmp_path: Path
) -> None:
    asset_id = film()
    (result,) = (results / "assets" / asset_id / "audio.transcribe").iterdir()
    (tmp_path / "secret").write_text("secret")
    (result / SRT_FILE).unlink()
    (result / SRT_FILE).symlink_to(tmp_path / "secret")

    assert viewer.get(f"/archive/asset/{asset_id}/file/audio.transcribe/{result.name}/{SRT_FILE}").status_code == 404


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
