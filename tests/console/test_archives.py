"""More archives than one: their rules, and what Compose makes of them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from console.archives import more_archives, require_folders, write_compose_file
from console.compose import docker_compose
from console.engine import ensure_engine
from console.settings import Settings, archives_file, complete, load_settings
from console.terminal import ConsoleError
from operators import settings as operators_settings

FIRST = "docker-compose.yaml"


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    complete(tmp_path / ".env")
    return tmp_path / ".env"


def settings_with(env_file: Path, **values: str) -> Settings:
    folders = {"NIGHTREEL_ARCHIVE": "/media/a", "NIGHTREEL_DATA": "/data", "COMPOSE_PROJECT_NAME": "nightreel-test"}
    return load_settings(env_file, {**folders, **values})


def test_there_are_no_more_archives_unless_named(env_file: Path) -> None:
    assert settings_with(env_file).more_archives == {}


def test_the_operators_read_the_same_archives_as_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "tapes=/mnt/two words,news-2=/srv/n=1"
    monkeypatch.setenv("NIGHTREEL_MORE_ARCHIVES", given)

    found = more_archives({"NIGHTREEL_MORE_ARCHIVES": given})

    assert found == {"tapes": Path("/mnt/two words"), "news-2": Path("/srv/n=1")}
    assert operators_settings.more_archives() == found


def test_stage_containers_are_given_every_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARCHIVE", "INBOX", "RESULTS", "WORK"):
        monkeypatch.setenv(f"NIGHTREEL_HOST_{name}", f"/host/{name.lower()}")
    monkeypatch.setenv("NIGHTREEL_MORE_ARCHIVES", "tapes=/mnt/tapes")

    folders = operators_settings.folders()

    assert folders.media_roots["tapes"] == Path("/media/tapes")
    assert folders.host_media_roots["tapes"] == Path("/mnt/tapes")
    assert set(folders.media_roots) == set(folders.host_media_roots) == {"archive", "inbox", "tapes"}


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ("tapes", "'tapes' is none"),
        ("Tapes=/mnt/t", "'Tapes=/mnt/t' is none"),
        ("tapes=/mnt/t,", "'' is none"),
        ("inbox=/mnt/t", "'inbox' is taken"),
        ("a=/mnt/t,a=/mnt/u", "'a' is taken"),
        ("tapes=mnt/t", "tapes=mnt/t does not"),
        ("tapes=/mnt/../t", "does not"),
    ],
)
def test_archives_that_break_the_rules_are_refused(env_file: Path, given: str, refused: str) -> None:
    with pytest.raises(ConsoleError, match=rf"NIGHTREEL_MORE_ARCHIVES must .*{refused}.*\.env"):
        settings_with(env_file, NIGHTREEL_MORE_ARCHIVES=given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NIGHTREEL_SCAN_INCLUDE", " ,"),
        ("NIGHTREEL_SCAN_INCLUDE", "*.mp4,/mnt/tapes/*"),
        ("NIGHTREEL_SCAN_EXCLUDE", "/mnt/tapes/*"),
        ("NIGHTREEL_SETTLE_S", "ten"),
    ],
)
def test_settings_of_scans_that_break_the_rules_are_refused(env_file: Path, name: str, value: str) -> None:
    with pytest.raises(ConsoleError, match=rf"{name} must .*\.env"):
        settings_with(env_file, **{name: value})


def test_an_archive_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    require_folders({"tapes": tmp_path})
    with pytest.raises(ConsoleError, match=r"tapes=.*gone is none; mount it"):
        require_folders({"tapes": tmp_path / "gone"})


def test_the_scheduler_and_the_api_server_see_every_archive_and_write_to_none(env_file: Path, tmp_path: Path) -> None:
    ensure_engine()
    file = tmp_path / "more.yaml"
    odd = tmp_path / 'it"s $HOME: #1'
    odd.mkdir()
    assert write_compose_file(file, {"tapes": odd, "news": tmp_path})
    settings = settings_with(env_file, NIGHTREEL_MORE_ARCHIVES=f"news={tmp_path}")
    given = replace(settings, values={**settings.values, "COMPOSE_FILE": f"{FIRST}:{file}"})

    services = json.loads(docker_compose(given, "config", "--format", "json"))["services"]

    for service in ("scheduler", "api-server"):
        mounts = {volume["target"]: volume for volume in services[service]["volumes"]}
        assert {"/media/archive", "/media/inbox", "/media/tapes", "/media/news", "/results"} <= set(mounts)
        # What Compose prints can be read by Compose: a dollar sign is doubled.
        assert mounts["/media/tapes"]["source"] == str(odd).replace("$", "$$")
        assert all(mounts[f"/media/{root}"]["read_only"] for root in ("archive", "inbox", "tapes", "news"))
    assert services["scheduler"]["environment"]["NIGHTREEL_MORE_ARCHIVES"] == f"news={tmp_path}"


def test_the_file_goes_when_the_archives_go(tmp_path: Path) -> None:
    file = tmp_path / "deployments" / "more.yaml"
    assert write_compose_file(file, {"tapes": tmp_path})
    assert not write_compose_file(file, {})
    assert not file.exists()


def test_each_deployment_has_a_file_of_its_own(env_file: Path) -> None:
    files = {archives_file(env_file, {"COMPOSE_PROJECT_NAME": name}) for name in ("nightreel", "nightreel-test")}
    assert len(files) == 2
    assert archives_file(env_file, {}) == env_file.with_name(".env.archives.yaml")
    assert os.fspath(env_file) not in map(os.fspath, files)
