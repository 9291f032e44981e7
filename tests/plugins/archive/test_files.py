"""The files that the archive's pages give out: what can be had, how, and what cannot."""

import os
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from stage_contract.outputs import (
    SRT_FILE,
    VTT_FILE,
)
from stage_contract.vocabulary import Stage
from tests.plugins.archive.conftest import Films, probed


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
