from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images.audio.sounds import Sounds
from tests.stage_container import Finished, StageBench


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Sounds:
    return Sounds(StageBench(tmp_path_factory.mktemp("audio")), speech)


@dataclass(frozen=True)
class FirstRun:
    """One container's work on three assets: speech, speech around a long pause, and no speech at all."""

    spoken: str
    apart: str
    silent: str
    done: Finished


@pytest.fixture(scope="session")
def first_run(sounds: Sounds) -> FirstRun:
    spoken = sounds.add("spoken", "file:/speech")
    apart = sounds.add("apart", "silence:5", "file:/speech:0-3.25", "silence:30", "file:/speech:3.25-11")
    silent = sounds.add("silent", "silence:10", "tone:10", "noise:10")
    return FirstRun(spoken, apart, silent, sounds.bench.run(sounds.request(spoken, apart, silent)))
