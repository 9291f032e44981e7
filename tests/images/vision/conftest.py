"""The clips, and one run of the vision image over all of them."""

from pathlib import Path

import pytest

from tests.images.vision.vision_container import Finished, analyse, run_script

CLIPS = (
    "scenes.mp4",
    "rotated.mp4",
    "slides.mkv",
    "-ten bit,'ü'.mkv",
    "sound.flac",
    "damaged.mkv",
    "hollow.mkv",
    "large.png",
)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the clips; do not write to it."""
    folder = tmp_path_factory.mktemp("clips")
    run_script("make_clips.py", folder)
    return folder


@pytest.fixture(scope="session")
def analysed(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All clips, with the defaults, in one container."""
    return analyse(tmp_path_factory.mktemp("analysed"), clips, CLIPS)
