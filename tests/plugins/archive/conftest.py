"""Films in an archive, with all results, and somebody who looks at them."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from nightreel_ui.thumbnails import sheet_size
from operators import settings
from stage_contract.outputs import (
    CONTACT_SHEET_FILE,
    PROBE_FILE,
    VTT_FILE,
    AudioStream,
    ProbeOutput,
    VideoStream,
)
from stage_contract.vocabulary import Stage
from stage_contract.workspace import ItemWorkspace
from tests.operators.sample_results import Fill, showing, speaking
from tests.operators.views.archive_samples import add_film
from tests.plugins.conftest import Visitors

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
    sheet_size.cache_clear()

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
