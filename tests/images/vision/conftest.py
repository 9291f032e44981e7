"""The clips, and one run of the vision image over all of them."""

from pathlib import Path

import pytest

from operators.settings import ContainerLimits
from tests.images.vision.analysis import analyse, run_script
from tests.images.vision.reference import reference_image
from tests.stage_container import Finished, StageBench

AMPLE = ContainerLimits(cpus=2, memory_mib=3072, pids=256)
CLIPS = (
    "scenes.mp4",
    "rotated.mp4",
    "slides.mkv",
    "standing.mp4",
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
    run_script("make_clips.py", folder, reference_image())
    return folder


@pytest.fixture(scope="session")
def analysed(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All clips, with the defaults, in one container."""
    return analyse(StageBench(tmp_path_factory.mktemp("analysed"), clips, AMPLE), *CLIPS)


@pytest.fixture
def bench(clips: Path, tmp_path: Path) -> StageBench:
    """The clips, and folders of the test's own."""
    return StageBench(tmp_path, clips, AMPLE)
