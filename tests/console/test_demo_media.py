"""The demo's archive is real media, the same bytes every time, and left alone once it is in place."""

import json
import subprocess
from pathlib import Path

import pytest

from console import demo_media
from console.content import sha256_of
from console.demo_media import KENNEDY, LONG_AUDIO, LONG_TEXT, STATEMENT, choose_narration, make_demo_media
from console.images import build_images


@pytest.fixture(scope="module", autouse=True)
def media_image() -> None:
    build_images(["media"])


@pytest.fixture
def short_narration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The narration that is to be had anywhere, composed in the test's own folder."""
    monkeypatch.setattr(demo_media, "DEMO", tmp_path / "demo")
    monkeypatch.setattr(demo_media, "choose_narration", lambda: KENNEDY)


def probe(file: Path) -> subprocess.CompletedProcess[str]:
    """What ffprobe in the media image says of a file."""
    mount = ["--volume", f"{file.parent}:/in:ro"]
    command = ["docker", "run", "--rm", "--network", "none", *mount, "--entrypoint", "ffprobe", demo_media.MEDIA_IMAGE]
    show = ["-v", "error", "-show_entries", "format=duration:stream=codec_type", "-of", "json", f"/in/{file.name}"]
    return subprocess.run([*command, *show], capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("short_narration")
def test_the_archive_gets_a_statement_a_narrated_film_and_a_broken_upload(tmp_path: Path) -> None:
    statement, film, broken = make_demo_media(tmp_path / "archive")
    assert sha256_of(statement.path) == STATEMENT.sha256

    told = json.loads(probe(film.path).stdout)
    assert {stream["codec_type"] for stream in told["streams"]} == {"audio", "video"}
    assert float(told["format"]["duration"]) == pytest.approx(11.0, abs=0.5)
    assert film.known_text == KENNEDY.text
    assert (tmp_path / "demo" / f"{film.path.stem}.txt").read_text().strip() == KENNEDY.text

    assert probe(broken.path).returncode != 0
    assert film.path.read_bytes().startswith(broken.path.read_bytes())


@pytest.mark.usefixtures("short_narration")
def test_a_second_run_leaves_every_file_untouched_and_restores_a_damaged_one(tmp_path: Path) -> None:
    files = [file.path for file in make_demo_media(tmp_path / "archive")]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns, sha256_of(path)) for path in files]
    make_demo_media(tmp_path / "archive")
    assert [(path.stat().st_ino, path.stat().st_mtime_ns, sha256_of(path)) for path in files] == before

    files[0].write_bytes(b"damaged")
    make_demo_media(tmp_path / "archive")
    assert sha256_of(files[0]) == STATEMENT.sha256


@pytest.mark.usefixtures("short_narration")
def test_composing_the_film_anew_gives_the_same_bytes(tmp_path: Path) -> None:
    first = sha256_of(make_demo_media(tmp_path / "archive")[1].path)
    for made in ("film.mp4", "slides.mp4"):
        (tmp_path / "demo" / made).unlink()
    assert sha256_of(make_demo_media(tmp_path / "other")[1].path) == first


def test_the_long_narration_is_taken_where_it_lies_with_its_text(tmp_path: Path) -> None:
    assert choose_narration(tmp_path) == KENNEDY
    (tmp_path / LONG_AUDIO).touch()
    assert choose_narration(tmp_path) == KENNEDY
    (tmp_path / LONG_TEXT).write_text("Printing, in the only sense\n")
    narration = choose_narration(tmp_path)
    assert (narration.audio_name, narration.text) == (LONG_AUDIO, "Printing, in the only sense")
